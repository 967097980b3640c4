#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_failover
short_description: Move the Redis master away from a host, losing nothing
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Does nothing where the host is not the master.
  - Otherwise it holds writes until a replica has all of them, lets Sentinel promote a replica, makes the host
    a replica of the new master, and waits until all of them are healthy again. Clients see a pause of a few seconds.
extends_documentation_fragment:
  - neural.platform.redis_sentinel
  - neural.platform.service_tls
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: full
    description: Returns details on what has changed, or needs changing in C(check_mode), when in diff mode.
options:
  member:
    description: Name, among O(members), of the host that must not be the master.
    type: str
    required: true
  candidate:
    description: Name, among O(members), of the host that is to be the master. By default Sentinel chooses.
    type: str
  wait_timeout:
    description: How long the move may take, in seconds, and then again how long until all members are healthy.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Move the master away before this host is restarted
  neural.platform.redis_sentinel_failover:
    members: "{{ neural_addresses }}"
    member: cache1
    password: "{{ neural_redis_password }}"
"""

RETURN = r"""
master:
  description: The master afterwards; in check mode the present one.
  type: dict
  returned: always
  sample: {name: app1, address: 192.0.2.11, port: 6379}
waited:
  description: Seconds from the new master's promotion until all members were healthy.
  type: float
  returned: when changed, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import wait_until
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    CONNECTION_OPTIONS,
    FailoverError,
    RedisError,
    Target,
    move_master,
    read_state,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "member": {"type": "str", "required": True},
            "candidate": {"type": "str"},
            "wait_timeout": {"type": "float", "default": 30},
            **CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    member, timeout = module.params["member"], module.params["wait_timeout"]
    members, candidate = module.params["members"], module.params["candidate"]
    for option, name in (("member", member), ("candidate", candidate)):
        if name and name not in members:
            module.fail_json(msg=f"{option}: found {name}, expected is one of {', '.join(sorted(members))}.")
    try:
        target = Target.from_params(module.params)
    except OSError as error:
        module.fail_json(msg=f"Cannot read the TLS files: {error}.")
    state = read_state(target)
    master = state.details["master"]
    if master["name"] != member or candidate == member:
        module.exit_json(changed=False, master=master)
    diff = {"before": f"master: {member}\n", "after": f"master: {candidate or 'another host'}\n"}
    if module.check_mode:
        module.exit_json(changed=True, master=master, diff=diff)
    try:
        move_master(target, master["address"], timeout, members[candidate] if candidate else "")
    except (FailoverError, OSError, RedisError) as error:
        module.fail_json(
            msg=f"The Redis master could not be moved away from {member}: {error}. {' '.join(state.problems)}".strip()
        )
    state, reached, waited = wait_until(lambda: read_state(target), lambda state: state.healthy, timeout)
    if not reached:
        module.fail_json(
            msg=f"The master has been moved away from {member}, but after {waited:g} s: {' '.join(state.problems)}",
            **state.result(),
        )
    master = state.details["master"]
    module.exit_json(changed=True, master=master, waited=waited, diff={**diff, "after": f"master: {master['name']}\n"})


if __name__ == "__main__":
    main()
