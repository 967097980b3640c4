#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_restart
short_description: Restart PostgreSQL where changed settings wait for it
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Restarts PostgreSQL, one member after the other, where Patroni says that a changed setting waits for it.
  - Replicas come first, then the leader in its place, then the replicas that still wait, for a few settings can be
    lowered only after the leader's.
  - After each restart the whole cluster has to be healthy again.
  - Does nothing where nothing waits. One run a cluster is enough.
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
  synchronous:
    description: Whether a synchronous replica is part of a healthy cluster.
    type: bool
    default: true
  wait_timeout:
    description: How long one restart, and then the way back to health, may take, in seconds.
    default: 60
attributes:
  check_mode:
    details:
      - In check mode nothing is restarted.
"""

EXAMPLES = r"""
- name: Let all changed settings take effect
  neural.platform.patroni_restart:
    members: {db1: 192.0.2.21, app2: 192.0.2.12, app3: 192.0.2.13}
"""

RETURN = r"""
restarted:
  description: Names of the members in the order of their restarts; in check mode of those that wait.
  type: list
  elements: str
  returned: success
  sample: [app2, app3, db1]
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
    PatroniError,
    Turns,
    ask_all,
    evaluate,
    next_restart,
    request,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 8008},
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
    restarted: list[str] = []

    def wait_for_health(turns_wanted: int) -> ClusterState:
        turns = Turns()

        def probe() -> ClusterState:
            found = ask_all(endpoints)
            turns.see(found)
            return evaluate(endpoints, found, expected)

        state, reached, waited = wait_until(
            probe, lambda state: state.healthy and turns.completed() >= turns_wanted, params["wait_timeout"]
        )
        if not reached:
            done = f"after the restart of {restarted[-1]}" if restarted else "before any restart"
            module.fail_json(
                msg=f"The PostgreSQL cluster is not healthy {done}, {waited} s long: " + " ".join(state.problems),
                restarted=restarted,
                **state.result(),
            )
        return state

    state = evaluate(endpoints, ask_all(endpoints), expected)
    waiting = [member["name"] for member in state.members if member["pending_restart"]]
    if not waiting or module.check_mode:
        module.exit_json(changed=bool(waiting), restarted=waiting)
    state = wait_for_health(0)
    while name := next_restart(state, restarted):
        try:
            status, text = request(
                endpoints, name, "/restart", {"restart_pending": True}, timeout=params["wait_timeout"]
            )
        except PatroniError as error:
            module.fail_json(msg=f"{name} does not say how its restart went: {error}.", restarted=restarted)
        restarted.append(name)
        if status != 200:
            module.fail_json(msg=f"{name} did not restart: {text} (status {status}).", restarted=restarted)
        # Only after a turn of its loop a member knows whether the settings of a restarted leader let it follow.
        state = wait_for_health(1 if name == state.details["leader"] else 0)
    module.exit_json(changed=True, restarted=restarted)


if __name__ == "__main__":
    main()
