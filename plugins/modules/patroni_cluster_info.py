#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_cluster_info
short_description: Read the state of a PostgreSQL cluster that Patroni manages, or wait for one
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks every expected member over mutual TLS through Patroni's REST API, and compares what they say.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  members:
    description: Address by name of the members that the cluster is expected to have.
    type: dict
    required: true
  port:
    description: Port of the REST API.
    type: int
    default: 8008
  synchronous:
    description: Whether a synchronous replica is expected.
    type: bool
    default: true
  max_lag:
    description: How many bytes a replica may be behind.
    type: int
    default: 16777216
  ignore:
    description: Names of members whose state is no problem, for instance of one that is about to be repaired.
    type: list
    elements: str
    default: []
  member:
    description: Name of the member that O(wait_for=member) is about.
    type: str
  tags:
    description: Tags that O(member) has to show for O(wait_for=member).
    type: dict
    default: {}
  turns:
    description:
      - How many turns of its control loop each member has to begin while the module waits.
      - After the second one, a dynamic configuration that was changed before is in effect.
    type: int
    default: 0
  wait_for:
    description:
      - What to wait for.
      - V(healthy) is a cluster without any problem, V(leader) one with a leader,
        V(member) one with a leader in which O(member) leads or streams.
    type: str
    choices: [healthy, leader, member]
    default: healthy
"""

EXAMPLES = r"""
- name: Wait until the leader leads and all replicas stream
  neural.platform.patroni_cluster_info:
    members: {db1: 192.0.2.21, app2: 192.0.2.12, app3: 192.0.2.13}
    wait_timeout: 120
"""

RETURN = r"""
healthy:
  description: Whether there is no problem.
  type: bool
  returned: always
  sample: false
problems:
  description: What is wrong, each as a sentence that names the member, what was found and what was expected.
  type: list
  elements: str
  returned: always
  sample: ["PostgreSQL member app3 (192.0.2.13:8008) is a replica in state starting, expected streaming."]
members:
  description: The expected members.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the member.
      type: str
    host:
      description: Address of its PostgreSQL.
      type: str
    answers:
      description: Whether its REST API answers.
      type: bool
    role:
      description: V(leader), V(sync_standby) or V(replica); empty when the cluster does not know it.
      type: str
    state:
      description: State such as V(running) of a leader and V(streaming) of a replica.
      type: str
    timeline:
      description: Its timeline.
      type: int
    lag:
      description: Bytes that it is behind the leader; null when that is not known.
      type: int
    tags:
      description: Its tags.
      type: dict
    pending_restart:
      description: Whether a changed setting waits for a restart of PostgreSQL.
      type: bool
    version:
      description: Version of PostgreSQL.
      type: str
    patroni_version:
      description: Version of Patroni.
      type: str
leader:
  description: Name of the leader; empty when there is none.
  type: str
  returned: always
  sample: db1
paused:
  description: Whether Patroni is told not to fail over.
  type: bool
  returned: always
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    ClusterState,
    client_tls,
    wait_until,
)
from ansible_collections.neural.platform.plugins.module_utils.patroni import (
    Endpoints,
    Expected,
    Turns,
    ask_all,
    evaluate,
    member_works,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 8008},
            "synchronous": {"type": "bool", "default": True},
            "max_lag": {"type": "int", "default": 16777216},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "member": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "turns": {"type": "int", "default": 0},
            "wait_for": {"type": "str", "choices": ["healthy", "leader", "member"], "default": "healthy"},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 0},
        },
        required_if=[("wait_for", "member", ["member"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
    except OSError as error:
        module.fail_json(msg=f"The files for TLS cannot be read: {error}")
    endpoints = Endpoints(params["members"], params["port"], tls, params["request_timeout"])
    expected = Expected(params["synchronous"], params["max_lag"], params["ignore"])
    turns = Turns()

    def probe() -> ClusterState:
        found = ask_all(endpoints)
        turns.see(found)
        return evaluate(endpoints, found, expected)

    def wanted(state: ClusterState) -> bool:
        if turns.completed() < params["turns"]:
            return False
        if params["wait_for"] == "healthy":
            return state.healthy
        if params["wait_for"] == "leader":
            return bool(state.details["leader"])
        return member_works(state, params["member"], params["tags"])

    state, reached, waited = wait_until(probe, wanted, params["wait_timeout"])
    if params["wait_timeout"] > 0 and not reached:
        seen = [f"{member['name']}: {member['role'] or 'no role'} ({member['state']})" for member in state.members]
        module.fail_json(
            msg=f"After {waited} s the PostgreSQL cluster is not what is waited for ({params['wait_for']}): "
            + " ".join(state.problems or [f"{', '.join(seen)}."]),
            waited=waited,
            **state.result(),
        )
    module.exit_json(changed=False, waited=waited, **state.result())


if __name__ == "__main__":
    main()
