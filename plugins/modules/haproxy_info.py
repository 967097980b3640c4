#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_info
short_description: Tell which servers HAProxy sees, and whether they are enough
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Reads the statistics from HAProxy's runtime socket, or from its statistics page where O(url) is given.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  socket:
    description: Path on the target of the runtime socket.
    type: path
    default: /var/lib/neural/haproxy/admin.sock
  url:
    description: Address of the statistics page, such as C(https://192.0.2.11:7000/). Used in place of O(socket).
    type: str
  user:
    description: User of the statistics page.
    type: str
    default: neural
  password:
    description: Password of the statistics page.
    type: str
  backends:
    description: The backends that have to be there, and how many of their servers have to be up.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the backend.
        type: str
        required: true
      minimum:
        description: How many servers have to be up at least.
        type: int
        default: 1
      maximum:
        description: How many servers may be up at most.
        type: int
"""

EXAMPLES = r"""
- name: Wait until HAProxy sees one primary, one Redis master and two API instances
  neural.platform.haproxy_info:
    backends:
      - {name: postgresql_primary, minimum: 1, maximum: 1}
      - {name: redis_master, minimum: 1, maximum: 1}
      - {name: api, minimum: 2}
    wait_timeout: 30
"""

RETURN = r"""
healthy:
  description: Whether there is no problem.
  type: bool
  returned: always
problems:
  description: What is wrong, a sentence each.
  type: list
  elements: str
  returned: always
members:
  description: Every backend.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the backend.
      type: str
    status:
      description: V(UP) or V(DOWN).
      type: str
    up:
      description: How many of its servers are up.
      type: int
    sessions:
      description: Sessions at this moment.
      type: int
    servers:
      description: >-
        Every server of the backend, with status, result of the last check, sessions, and whether the circuit breaker
        has C(ejected) it; the status then says in how many seconds it gets requests again, with O(socket) only.
      type: list
      elements: dict
waited:
  description: Seconds spent until the state was reached.
  type: float
  returned: always
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
    http_request,
    wait_until,
)
from ansible_collections.neural.platform.plugins.module_utils.haproxy import Expectation, HAProxyError, ask, read_state


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/lib/neural/haproxy/admin.sock"},
            "url": {"type": "str"},
            "user": {"type": "str", "default": "neural"},
            "password": {"type": "str", "no_log": True},
            "backends": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "minimum": {"type": "int", "default": 1},
                    "maximum": {"type": "int"},
                },
            },
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    request_timeout, timeout = params["request_timeout"], params["wait_timeout"]
    if params["url"]:
        try:
            tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
        except OSError as error:
            module.fail_json(msg=f"Cannot read the TLS files: {error}.")

        def read() -> str:
            url = f"{params['url'].rstrip('/')}/;csv"
            status, text = http_request(
                url, tls, user=params["user"], password=params["password"], timeout=request_timeout
            )
            if status != 200:
                raise HAProxyError(f"the statistics page answers with status {status}")
            return text

        read_ejections = str
    else:

        def read() -> str:
            return ask(params["socket"], "show stat", request_timeout)

        read_ejections = partial(ask, params["socket"], "show circuit-breaker", request_timeout)

    expected = Expectation.from_params(params["backends"])
    state, reached, waited = wait_until(
        lambda: read_state(read, expected, read_ejections), lambda state: state.healthy, timeout
    )
    result = {**state.result(), "waited": waited}
    if not reached and timeout > 0:
        module.fail_json(msg=f"HAProxy is not as wanted after {waited:g} s: {' '.join(state.problems)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
