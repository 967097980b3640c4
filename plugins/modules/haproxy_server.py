#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: Drain servers of HAProxy, or give them requests again
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Sets the administrative state of servers through HAProxy's runtime socket, and waits for what that is for.
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
  servers:
    description:
      - The servers, as HAProxy writes them, C(backend/server). All get this state, and are waited for at the same time.
    type: list
    elements: str
    required: true
  state:
    description:
      - With V(ready) a server gets requests when its health check passes; with O(wait_timeout) that is waited for.
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
    servers: [api/slot1]
    state: drain
    wait_timeout: 300

- name: Give new ones of the API and the dashboard requests, and wait until they get them
  neural.platform.haproxy_server:
    servers: [api/slot2, dashboard/slot2]
    state: ready
    wait_timeout: 30
"""

RETURN = r"""
servers:
  description: The servers, each with its status, the result of its last check, and its sessions.
  type: list
  elements: dict
  returned: always
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.haproxy import (
    HAProxyError,
    ask,
    find_server,
    parse_admin_states,
    parse_stat,
    wanted_admin_state,
)


class Server:
    """A server of a backend; `tell` sends a command to the runtime socket. Methods raise OSError and HAProxyError."""

    def __init__(self, tell: Callable[[str], str], name: str) -> None:
        self._tell = tell
        self._backend, _slash, self._server = name.partition("/")
        self.name = name

    def look(self) -> dict[str, Any]:
        """Return its status, the result of its last check, and its sessions."""
        return find_server(parse_stat(self._tell("show stat")), self._backend, self._server)

    def is_set_to(self, state: str) -> bool:
        """Return whether its administrative state is this one."""
        states = parse_admin_states(self._tell(f"show servers state {self._backend}"), self._backend)
        return wanted_admin_state(states[self._server], state)

    def set_to(self, state: str) -> None:
        """Set its administrative state."""
        answer = self._tell(f"set server {self.name} state {state}").strip()
        if answer:
            raise HAProxyError(answer)


def lacks(found: dict[str, Any], state: str) -> str:
    """Return what a server lacks of what its state is for, as a clause; nothing where it lacks nothing."""
    if state == "drain":
        under_way = found["sessions"] + found["queued"]
        return f"it still has {under_way} requests under way" if under_way else ""
    if found["up"] or found["ejected"]:
        return ""
    return f"it is {found['status']} ({found['check'] or found['check_status'] or 'not checked yet'})"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/lib/neural/haproxy/admin.sock"},
            "servers": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["ready", "drain"], "required": True},
            "wait_timeout": {"type": "float", "default": 0},
            "request_timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    state, timeout = params["state"], params["wait_timeout"]

    def tell(command: str) -> str:
        return ask(params["socket"], command, params["request_timeout"])

    servers = [Server(tell, name) for name in params["servers"]]
    start = time.monotonic()
    server: Server | None = None
    try:
        changed = []
        for server in servers:
            # Asked for in any case: a server that there is not is told as such.
            server.look()
            if not server.is_set_to(state):
                changed.append(server.name)
                if not module.check_mode:
                    server.set_to(state)
        for server in servers if timeout > 0 and not module.check_mode else ():
            while lacking := lacks(server.look(), state):
                if time.monotonic() - start > timeout:
                    module.fail_json(
                        msg=f"HAProxy's server {server.name} was set to {state}, but after {timeout:g} s {lacking}."
                    )
                time.sleep(0.1)
        found = [server.look() for server in servers]
    except (OSError, HAProxyError) as error:
        module.fail_json(msg=f"HAProxy's server {server.name if server else ''} cannot be set to {state}: {error}.")
    module.exit_json(
        changed=bool(changed),
        servers=found,
        waited=round(time.monotonic() - start, 1),
        diff={"before": "", "after": "".join(f"{name}: {state}\n" for name in changed)} if changed else {},
    )


if __name__ == "__main__":
    main()
