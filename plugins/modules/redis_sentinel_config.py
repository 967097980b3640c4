#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_config
short_description: Give a Sentinel its settings
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Compares the settings that one Sentinel works with to the wanted ones, and sets those that differ
    through C(SENTINEL SET).
  - Sentinel keeps them in its own file, which nobody else may write once it exists.
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
  members:
    description: Name and address of the one host whose Sentinel is set.
  quorum:
    description: How many Sentinels must agree that the master is down.
    type: int
  down_after_milliseconds:
    description: How long the master must be silent to be thought down.
    type: int
  failover_timeout:
    description: How long a failover may take, in milliseconds.
    type: int
  parallel_syncs:
    description: How many replicas may copy the new master's data at the same time.
    type: int
"""

EXAMPLES = r"""
- name: Fail over after five seconds of silence
  neural.platform.redis_sentinel_config:
    members: {app1: 192.0.2.11}
    password: "{{ neural_redis_password }}"
    down_after_milliseconds: 5000
"""

RETURN = r"""
settings:
  description: The settings that differ, with what was found and what is wanted.
  type: dict
  returned: always
  sample: {down-after-milliseconds: {found: "30000", wanted: "5000"}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    CONNECTION_OPTIONS,
    SENTINEL_SETTINGS,
    RedisError,
    Target,
    configure_sentinel,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "quorum": {"type": "int"},
            "down_after_milliseconds": {"type": "int"},
            "failover_timeout": {"type": "int"},
            "parallel_syncs": {"type": "int"},
            **CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    members = module.params["members"]
    if len(members) != 1:
        module.fail_json(msg=f"members: found {len(members)} hosts, expected is exactly one.")
    ((name, address),) = members.items()
    wanted = {option: module.params[option] for option in SENTINEL_SETTINGS if module.params[option] is not None}
    try:
        differences = configure_sentinel(Target.from_params(module.params), address, wanted, module.check_mode)
    except (OSError, RedisError) as error:
        module.fail_json(msg=f"The Sentinel on {name} ({address}:{module.params['sentinel_port']}) refuses: {error}.")
    module.exit_json(
        changed=bool(differences),
        settings={key: {"found": found, "wanted": value} for key, (found, value) in differences.items()},
        diff={
            "before": "".join(f"{key}: {found}\n" for key, (found, _value) in differences.items()),
            "after": "".join(f"{key}: {value}\n" for key, (_found, value) in differences.items()),
            "before_header": f"Sentinel on {name}",
            "after_header": f"Sentinel on {name}",
        },
    )


if __name__ == "__main__":
    main()
