#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Move the leadership of a PostgreSQL cluster away from a member
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Does nothing when the member does not lead.
  - Otherwise waits until a replica is fit to lead, lets Patroni switch over to it, and waits until it leads
    and the member streams from it. A synchronous replica comes before others, then the highest priority counts.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  members:
    description: Address by name of the cluster's members.
    type: dict
    required: true
  port:
    description: Port of the REST API.
    type: int
    default: 8008
  member:
    description: Name of the member that is not to lead.
    type: str
    required: true
  candidate:
    description: Name of the member that is to lead. By default the best replica.
    type: str
  synchronous:
    description: Whether only a synchronous replica may take over.
    type: bool
    default: true
  wait_timeout:
    description: How long all of it may take, in seconds.
    default: 60
attributes:
  check_mode:
    details:
      - In check mode the leader stays where it is.
"""

EXAMPLES = r"""
- name: Let another member lead before this one is replaced
  neural.platform.patroni_switchover:
    members: {db1: 192.0.2.21, app2: 192.0.2.12, app3: 192.0.2.13}
    member: db1
"""

RETURN = r"""
leader:
  description: The leader afterwards; in check mode the one that would lead.
  type: str
  returned: success
  sample: app2
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    ClusterState,
    client_tls,
    wait_until,
)
from ansible_collections.neural.platform.plugins.module_utils.patroni import (
    SYNCHRONOUS_ROLES,
    Endpoints,
    Expected,
    PatroniError,
    ask_all,
    best_candidate,
    evaluate,
    member_works,
    request,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 8008},
            "member": {"type": "str", "required": True},
            "candidate": {"type": "str"},
            "synchronous": {"type": "bool", "default": True},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
    except OSError as error:
        module.fail_json(msg=f"The files for TLS cannot be read: {error}")
    endpoints = Endpoints(params["members"], params["port"], tls, params["request_timeout"])
    expected = Expected(params["synchronous"])
    member = params["member"]
    deadline = time.monotonic() + params["wait_timeout"]

    def probe() -> ClusterState:
        return evaluate(endpoints, ask_all(endpoints), expected)

    def candidate(state: ClusterState) -> str:
        if params["synchronous"] and not any(one["role"] in SYNCHRONOUS_ROLES for one in state.members):
            return ""
        return params["candidate"] or best_candidate(state)

    def settled(state: ClusterState) -> bool:
        return state.details["leader"] != member or bool(state.details["leader"] and candidate(state))

    state, _reached, _waited = wait_until(probe, settled, 0 if module.check_mode else params["wait_timeout"])
    leader = state.details["leader"]
    if leader != member:
        module.exit_json(changed=False, leader=leader)
    successor = candidate(state)
    if module.check_mode:
        module.exit_json(changed=True, leader=successor or member)
    if not successor:
        module.fail_json(
            msg=f"No replica is fit to take over from {member}: " + " ".join(state.problems), **state.result()
        )
    try:
        status, text = request(
            endpoints, member, "/switchover", {"leader": member, "candidate": successor}, timeout=params["wait_timeout"]
        )
    except PatroniError as error:
        module.fail_json(msg=f"{member} does not say how the switchover to {successor} went: {error}.")
    if status != 200:
        module.fail_json(msg=f"Patroni refuses the switchover from {member} to {successor}: {text} (status {status}).")

    def done(state: ClusterState) -> bool:
        return state.details["leader"] == successor and all(
            member_works(state, name, {}) for name in (successor, member)
        )

    state, reached, _waited = wait_until(probe, done, max(5.0, deadline - time.monotonic()))
    if not reached:
        module.fail_json(
            msg=f"After the switchover from {member} to {successor} the cluster is not whole: "
            + " ".join(state.problems),
            **state.result(),
        )
    module.exit_json(changed=True, leader=successor)


if __name__ == "__main__":
    main()
