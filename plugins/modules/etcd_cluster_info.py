#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_cluster_info
short_description: Read the state of an etcd cluster, or wait for one
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks every expected member of an etcd cluster over mutual TLS through its JSON gateway, and compares what they say.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  members:
    description: Address by name of the members that the cluster is expected to have.
    type: dict
    required: true
  port:
    description: Port on which members answer clients.
    type: int
    default: 2379
  peer_port:
    description: Port on which members talk to each other.
    type: int
    default: 2380
  ignore:
    description: Names of members whose state is no problem, for instance of one that is about to be repaired.
    type: list
    elements: str
    default: []
  max_raft_lag:
    description: How many raft entries a member may be behind the furthest one.
    type: int
    default: 1000
  member:
    description: Name of the member that O(wait_for=member) is about.
    type: str
  wait_for:
    description:
      - What to wait for.
      - V(healthy) is a cluster without any problem, V(quorum) one that can be written to,
        V(member) one that can be written to and of which O(member) is a working part.
    type: str
    choices: [healthy, quorum, member]
    default: healthy
"""

EXAMPLES = r"""
- name: Wait until all members work
  neural.platform.etcd_cluster_info:
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    wait_timeout: 60
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
  sample: ["etcd member app3 (192.0.2.13:2379) does not answer: Connection refused."]
members:
  description: The expected members.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the member.
      type: str
    address:
      description: Address of the member.
      type: str
    id:
      description: Identifier of the member, in decimal; empty when it does not answer.
      type: str
    answers:
      description: Whether the member answers.
      type: bool
    leader:
      description: Whether the member leads.
      type: bool
    version:
      description: Version of the program.
      type: str
    db_size:
      description: Size of the database file in bytes.
      type: int
    db_size_in_use:
      description: Bytes of the database file that are in use.
      type: int
    raft_index:
      description: Index of the member's last raft entry.
      type: int
    raft_term:
      description: The member's raft term.
      type: int
    learner:
      description: Whether the member has no vote yet.
      type: bool
    alarms:
      description: Alarms that the member has raised.
      type: list
      elements: str
leader:
  description: Name of the leader; empty when there is no quorum.
  type: str
  returned: always
  sample: app1
quorum:
  description: Whether more than half of the members work together.
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
from ansible_collections.neural.platform.plugins.module_utils.etcd import Endpoints, ask_all, evaluate


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 2379},
            "peer_port": {"type": "int", "default": 2380},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "max_raft_lag": {"type": "int", "default": 1000},
            "member": {"type": "str"},
            "wait_for": {"type": "str", "choices": ["healthy", "quorum", "member"], "default": "healthy"},
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
    endpoints = Endpoints(params["members"], params["port"], params["peer_port"], tls, params["request_timeout"])

    def probe() -> ClusterState:
        return evaluate(endpoints, ask_all(endpoints), params["ignore"], params["max_raft_lag"])

    def wanted(state: ClusterState) -> bool:
        if params["wait_for"] == "healthy":
            return state.healthy
        if params["wait_for"] == "quorum" or not state.details["quorum"]:
            return bool(state.details["quorum"])
        names = [member["name"] for member in state.members if member["answers"]]
        complaint = f"etcd member {params['member']} "
        return params["member"] in names and not any(problem.startswith(complaint) for problem in state.problems)

    state, reached, waited = wait_until(probe, wanted, params["wait_timeout"])
    if params["wait_timeout"] > 0 and not reached:
        module.fail_json(
            msg=f"After {waited} s the etcd cluster is not what is waited for ({params['wait_for']}): "
            + " ".join(state.problems),
            waited=waited,
            **state.result(),
        )
    module.exit_json(changed=False, waited=waited, **state.result())


if __name__ == "__main__":
    main()
