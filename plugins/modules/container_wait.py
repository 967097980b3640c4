#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: container_wait
short_description: Wait until the program in a container works, and goes on working
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks the program, at O(url) or by a O(command) in its container, until it answers well and has done so for
    O(stable) seconds.
  - Ends at once when the container ends or is started again, and then says how, with the last lines that it wrote.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
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
    description: How long it has to go on answering well, in seconds.
    type: float
    default: 0
  log_lines:
    description: How many of the container's last lines a failure shows.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Wait until an instance of the API is ready, and see it live for five seconds
  neural.platform.container_wait:
    name: neural-api-2
    url: https://127.0.0.1:8002/ready
    stable: 5
    wait_timeout: 120

- name: Wait until a worker consumes
  neural.platform.container_wait:
    name: neural-worker-general-1
    command: [python, -m, neural.api.worker_health]
    wait_timeout: 120
"""

RETURN = r"""
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
answer:
  description: What the program last answered.
  type: str
  returned: always
log:
  description: The last lines that the container wrote.
  type: list
  elements: str
  returned: on failure
"""

import http.client

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
    http_request,
)
from ansible_collections.neural.platform.plugins.module_utils.container_wait import Answer, Life, watch

# An answer is shown in a sentence.
SHOWN = 400


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "url": {"type": "str"},
            "command": {"type": "list", "elements": "str"},
            "stable": {"type": "float", "default": 0},
            "log_lines": {"type": "int", "default": 20},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 0},
        },
        required_one_of=[("url", "command")],
        mutually_exclusive=[("url", "command")],
        supports_check_mode=True,
    )
    params = module.params
    docker = module.get_bin_path("docker", True)
    tls = None
    if params["url"]:
        try:
            tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
        except OSError as error:
            module.fail_json(msg=f"Cannot read the TLS files: {error}.")

    def life() -> Life | None:
        code, out, _err = module.run_command(
            [docker, "inspect", "--type", "container", "--format", Life.FORMAT, params["name"]]
        )
        return Life.parse(out) if code == 0 else None

    def ask() -> Answer:
        if params["command"]:
            code, out, err = module.run_command([docker, "exec", params["name"], *params["command"]])
            return Answer(code == 0, " ".join(f"{out} {err}".split())[-SHOWN:])
        try:
            status, text = http_request(params["url"], tls, timeout=params["request_timeout"])
        except (OSError, http.client.HTTPException) as error:
            return Answer(False, str(error))
        return Answer(status < 400, f"status {status} {' '.join(text.split())[:SHOWN]}")

    outcome = watch(params["name"], life, ask, params["wait_timeout"], params["stable"])
    result = {"changed": False, "waited": outcome.waited, "answer": outcome.answer}
    if outcome.problem:
        _code, out, err = module.run_command([docker, "logs", "--tail", str(params["log_lines"]), params["name"]])
        log = (out + err).splitlines()[-params["log_lines"] :]
        module.fail_json(
            msg="\n".join([f"{outcome.problem}; its last answer: {outcome.answer}. Its last lines:", *log]),
            log=log,
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
