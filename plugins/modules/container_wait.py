#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: container_wait
short_description: Wait until the programs in containers work, and go on working
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks each program, at its O(containers[].url) or by a O(containers[].command) in its container, until it answers
    well, has done so for O(containers[].stable) seconds, and has been running for O(containers[].lived) seconds.
  - Ends at once when one of the containers ends or is started again, and then says how, with the last lines that it
    wrote.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  containers:
    description: The containers, which are waited for at the same time.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the container.
        type: str
        required: true
      url:
        description: Address that answers with a status below 400 when the program works.
        type: str
      command:
        description: Program and arguments that are run in the container, and end with 0 when its program works.
        type: list
        elements: str
      stable:
        description: How long it has to go on answering well while it is watched, in seconds.
        type: float
        default: 0
      lived:
        description: How long it has to have been running since Docker started it, in seconds.
        type: float
        default: 0
      wait_timeout:
        description: How long to wait for this one, in seconds, where that is not O(wait_timeout).
        type: float
  log_lines:
    description: How many of the container's last lines a failure shows.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Wait until new instances of the API and the dashboard are ready, and see them live for five seconds
  neural.platform.container_wait:
    containers:
      - {name: neural-api-2, url: https://127.0.0.1:8002/ready, stable: 5}
      - {name: neural-dashboard-2, url: https://127.0.0.1:8052/dashboard/, stable: 5}
    wait_timeout: 120

- name: Wait until a worker consumes
  neural.platform.container_wait:
    containers:
      - {name: neural-worker-general-1, command: [python, -m, neural.api.worker_health]}
    wait_timeout: 120
"""

RETURN = r"""
containers:
  description:
    - How the wait for each container has ended, in that order. When one fails there is nothing of those that were still
      waited for.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the container.
      type: str
    waited:
      description: Seconds spent waiting.
      type: float
    answer:
      description: What the program last answered.
      type: str
log:
  description: The last lines that the container wrote that does not work.
  type: list
  elements: str
  returned: on failure
"""

import http.client
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
    http_request,
)
from ansible_collections.neural.platform.plugins.module_utils.container_wait import Answer, Container, Life, watch

# An answer is shown in a sentence.
SHOWN = 400


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "containers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "url": {"type": "str"},
                    "command": {"type": "list", "elements": "str"},
                    "stable": {"type": "float", "default": 0},
                    "lived": {"type": "float", "default": 0},
                    "wait_timeout": {"type": "float"},
                },
                "required_one_of": [("url", "command")],
                "mutually_exclusive": [("url", "command")],
            },
            "log_lines": {"type": "int", "default": 20},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    docker = module.get_bin_path("docker", True)
    tls = None
    if any(wanted["url"] for wanted in params["containers"]):
        try:
            tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
        except OSError as error:
            module.fail_json(msg=f"Cannot read the TLS files: {error}.")

    def life(name: str) -> Life | None:
        code, out, _err = module.run_command([docker, "inspect", "--type", "container", "--format", Life.FORMAT, name])
        return Life.parse(out) if code == 0 else None

    def ask(wanted: dict[str, Any]) -> Answer:
        if wanted["command"]:
            code, out, err = module.run_command([docker, "exec", wanted["name"], *wanted["command"]])
            return Answer(code == 0, " ".join(f"{out} {err}".split())[-SHOWN:])
        try:
            status, text = http_request(wanted["url"], tls, timeout=params["request_timeout"])
        except (OSError, http.client.HTTPException) as error:
            return Answer(False, str(error))
        return Answer(status < 400, f"status {status} {' '.join(text.split())[:SHOWN]}")

    def container(wanted: dict[str, Any]) -> Container:
        timeout = params["wait_timeout"] if wanted["wait_timeout"] is None else wanted["wait_timeout"]
        name = wanted["name"]
        return Container(name, partial(life, name), partial(ask, wanted), timeout, wanted["stable"], wanted["lived"])

    outcomes = watch([container(wanted) for wanted in params["containers"]])
    result = {
        "changed": False,
        "containers": [{"name": one.name, "waited": one.waited, "answer": one.answer} for one in outcomes],
    }
    failed = next((one for one in outcomes if one.problem), None)
    if failed:
        _code, out, err = module.run_command([docker, "logs", "--tail", str(params["log_lines"]), failed.name])
        log = (out + err).splitlines()[-params["log_lines"] :]
        module.fail_json(
            msg="\n".join([f"{failed.problem}; its last answer: {failed.answer}. Its last lines:", *log]),
            log=log,
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
