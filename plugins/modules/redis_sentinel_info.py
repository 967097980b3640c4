#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_info
short_description: Tell whether Redis and its Sentinels are healthy
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks every Redis and every Sentinel over mutual TLS, all at the same time.
  - Healthy is one master that every Sentinel names, every replica linked to it, and every Sentinel seeing all others.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.redis_sentinel
  - neural.platform.service_tls
options:
  quorum:
    description: The quorum that every Sentinel should work with; not looked at where nothing is said.
    type: int
"""

EXAMPLES = r"""
- name: Wait until Redis is healthy
  neural.platform.redis_sentinel_info:
    members: {app1: 192.0.2.11, app2: 192.0.2.12, cache1: 192.0.2.31}
    password: "{{ neural_redis_password }}"
    quorum: 2
    wait_timeout: 60
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
master:
  description:
    - The master that the Sentinels name; where none answers, the only Redis that is one.
    - Empty strings if there is none.
  type: dict
  returned: always
  sample: {name: cache1, address: 192.0.2.31, port: 6379}
members:
  description: Every host, with what its Redis and its Sentinel say.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the host.
      type: str
    address:
      description: Its address.
      type: str
    role:
      description: V(master), V(replica) or V(unknown).
      type: str
    version:
      description: Version of Redis.
      type: str
    link:
      description: State of a replica's link to its master.
      type: str
    follows:
      description: Address of a replica's master.
      type: str
    offset:
      description: Position in the stream of writes.
      type: int
    lag_bytes:
      description: How far behind the master this position is.
      type: int
    connected_replicas:
      description: Number of replicas that follow this Redis.
      type: int
    priority:
      description: A replica's priority; the lowest is promoted first, 0 never. A master does not say its own.
      type: int
    used_memory:
      description: Memory that the data take, in bytes.
      type: int
    certificate:
      description: SHA-256 of the certificate, in PEM form, that Redis presents.
      type: str
    error:
      description: Why Redis did not answer.
      type: str
    sentinel:
      description: What the host's Sentinel says of the master, the other Sentinels and the replicas, and its settings.
      type: dict
waited:
  description: Seconds spent until the state was reached.
  type: float
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import wait_until
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    CONNECTION_OPTIONS,
    Target,
    read_state,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "quorum": {"type": "int"},
            "wait_timeout": {"type": "float", "default": 0},
            **CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    try:
        target = Target.from_params(module.params)
    except OSError as error:
        module.fail_json(msg=f"Cannot read the TLS files: {error}.")
    timeout = module.params["wait_timeout"]
    state, reached, waited = wait_until(
        lambda: read_state(target, module.params["quorum"]), lambda state: state.healthy, timeout
    )
    result = {**state.result(), "waited": waited}
    if not reached and timeout > 0:
        module.fail_json(msg=f"Redis is not healthy after {waited:g} s: {' '.join(state.problems)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
