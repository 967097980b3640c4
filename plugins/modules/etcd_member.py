#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Find out how an etcd member without data has to start, and let it into the cluster
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks the other members whether there is a cluster, and decides whether the member is one of the first or joins.
  - A member that joins is put into the cluster's list; an entry with its name or peer URL is taken out first.
  - To be used only for a member whose data directory holds no write-ahead log.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  members:
    description: Address by name of the members that the cluster is expected to have.
    type: dict
    required: true
  member:
    description: Name of the member that has no data.
    type: str
    required: true
  all_new:
    description:
      - Whether it is known that none of O(members) has data.
      - Without that knowledge, and when no other member answers, the module fails rather than begin a second cluster.
    type: bool
    default: false
  port:
    description: Port on which members answer clients.
    type: int
    default: 2379
  peer_port:
    description: Port on which members talk to each other.
    type: int
    default: 2380
  wait_timeout:
    description: How long to ask, in seconds, until it is clear how the member starts.
    type: float
    default: 20
attributes:
  check_mode:
    details:
      - In check mode the cluster's list of members stays as it is.
"""

EXAMPLES = r"""
- name: Let this member into the cluster
  neural.platform.etcd_member:
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    member: app3
  register: start
"""

RETURN = r"""
state:
  description: The value for C(initial-cluster-state).
  type: str
  returned: success
  sample: existing
initial_cluster:
  description: The value for C(initial-cluster) of a member that joins; empty for one of the first.
  type: str
  returned: success
  sample: app1=https://192.0.2.11:2380,app3=https://192.0.2.13:2380
reason:
  description: A sentence that says why.
  type: str
  returned: success
  sample: app3 has lost its data, it joins the living cluster.
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
)
from ansible_collections.neural.platform.plugins.module_utils.etcd import (
    Endpoints,
    EtcdError,
    admit,
    ask_all,
    decide_start,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "member": {"type": "str", "required": True},
            "all_new": {"type": "bool", "default": False},
            "port": {"type": "int", "default": 2379},
            "peer_port": {"type": "int", "default": 2380},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 20},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["member"] not in params["members"]:
        module.fail_json(msg=f"member: found {params['member']}, expected one of {', '.join(params['members'])}.")
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
    except OSError as error:
        module.fail_json(msg=f"The files for TLS cannot be read: {error}")
    endpoints = Endpoints(params["members"], params["port"], params["peer_port"], tls, params["request_timeout"])

    deadline = time.monotonic() + params["wait_timeout"]
    while True:
        found = ask_all(endpoints, peers=True)
        start = decide_start(endpoints, params["member"], found, params["all_new"])
        complaint = start.reason
        if start.how != "unclear":
            try:
                # A cluster that has just elected refuses changes of its membership for a moment.
                if start.how == "add" and not module.check_mode:
                    admit(endpoints, params["member"], found, start)
                break
            except EtcdError as error:
                complaint = f"{start.reason} The cluster refuses: {error}."
        if time.monotonic() > deadline:
            module.fail_json(msg=complaint)
        time.sleep(0.5)
    module.exit_json(
        changed=start.how == "add",
        state="new" if start.how == "bootstrap" else "existing",
        initial_cluster=start.initial_cluster,
        reason=start.reason,
    )


if __name__ == "__main__":
    main()
