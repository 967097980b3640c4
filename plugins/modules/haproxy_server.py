#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: Drain a server of HAProxy, or give it requests again
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Sets the administrative state of one server of a backend through HAProxy's runtime socket, and waits for what
    that is for.
  - A state lasts over a reload of HAProxy, as M(neural.platform.haproxy_reload) keeps it; not over a restart.
  - The module C(community.general.haproxy) knows no check mode, and waits in vain for a server to drain that is down.
extends_documentation_fragment:
  - neural.platform.cluster_info
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - In check mode nothing is changed, and nothing waited for.
  diff_mode:
    support: full
    description: Returns details on what has changed, or needs changing in C(check_mode), when in diff mode.
options:
  socket:
    description: Path on the target of the runtime socket.
    type: path
    default: /var/lib/neural/haproxy/admin.sock
  backend:
    description: Name of the backend.
    type: str
    required: true
  server:
    description: Name of the server.
    type: str
    required: true
  state:
    description:
      - With V(ready) the server gets requests when its health check passes; with O(wait_timeout) that is waited for.
        That the circuit breaker has ejected it for a while is not waited for, nor changed.
      - With V(drain) it gets no new requests, its health checks go on; with O(wait_timeout) the module waits until
        those under way have ended.
    type: str
    choices: [ready, drain]
    required: true
  wait_timeout:
    description: How long to wait, in seconds; V(0) does not wait. The module fails when the time is over.
    type: float
    default: 0
  request_timeout:
    description: How long one request to HAProxy may take, in seconds.
    type: float
    default: 3
"""

EXAMPLES = r"""
- name: Let the requests of an instance of the API end
  neural.platform.haproxy_server:
    backend: api
    server: slot1
    state: drain
    wait_timeout: 300

- name: Give the new one requests, and wait until it gets them
  neural.platform.haproxy_server:
    backend: api
    server: slot2
    state: ready
    wait_timeout: 30
"""

RETURN = r"""
server:
  description: The server, with its status, the result of its last check, and its sessions.
  type: dict
  returned: always
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.haproxy import (
    HAProxyError,
    ask,
    find_server,
    parse_admin_states,
    parse_stat,
    wanted_admin_state,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/lib/neural/haproxy/admin.sock"},
            "backend": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["ready", "drain"], "required": True},
            "wait_timeout": {"type": "float", "default": 0},
            "request_timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    backend, name, state, timeout = params["backend"], params["server"], params["state"], params["wait_timeout"]

    def tell(command: str) -> str:
        return ask(params["socket"], command, params["request_timeout"])

    start = time.monotonic()
    try:
        found = find_server(parse_stat(tell("show stat")), backend, name)
        changed = not wanted_admin_state(
            parse_admin_states(tell(f"show servers state {backend}"), backend)[name], state
        )
        if changed and not module.check_mode:
            answer = tell(f"set server {backend}/{name} state {state}").strip()
            if answer:
                raise HAProxyError(answer)
        while timeout > 0 and not module.check_mode:
            found = find_server(parse_stat(tell("show stat")), backend, name)
            given = found["up"] or found["ejected"]
            if given if state == "ready" else found["sessions"] + found["queued"] == 0:
                break
            if time.monotonic() - start > timeout:
                seen = (
                    f"it is {found['status']} ({found['check'] or found['check_status'] or 'not checked yet'})"
                    if state == "ready"
                    else f"it still has {found['sessions']} requests under way"
                )
                module.fail_json(
                    msg=f"HAProxy's server {backend}/{name} was set to {state}, but after {timeout:g} s {seen}."
                )
            time.sleep(0.1)
    except (OSError, HAProxyError) as error:
        module.fail_json(msg=f"HAProxy's server {backend}/{name} cannot be set to {state}: {error}.")
    module.exit_json(
        changed=changed,
        server=found,
        waited=round(time.monotonic() - start, 1),
        diff={"before": "", "after": f"{backend}/{name}: {state}\n"} if changed else {},
    )


if __name__ == "__main__":
    main()
