#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived_info
short_description: Tell whether a host has the virtual address, and whether keepalived is well
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks keepalived's VRRP process, in its container, how it is, and compares that with the addresses that the host has.
extends_documentation_fragment:
  - neural.platform.cluster_info
options:
  address:
    description: The virtual address.
    type: str
    required: true
  container:
    description: Name of keepalived's container.
    type: str
    default: neural-keepalived
  config_version:
    description: The version of the configuration that keepalived has to run with (end of C(router_id)). Empty for any.
    type: str
    default: ""
  settled:
    description: For how many seconds keepalived has to be in its state.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Wait until it is clear who has the address
  neural.platform.keepalived_info:
    address: 192.0.2.10
    settled: 2
    wait_timeout: 30
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
members:
  description: This host, as the only member.
  type: list
  elements: dict
  returned: always
  contains:
    state:
      description: V(MASTER), V(BACKUP), V(FAULT) or V(INIT); empty when keepalived does not answer.
      type: str
    holds:
      description: Whether the host has the address.
      type: bool
    interface:
      description: The interface that the address belongs to.
      type: str
    priority:
      description: The priority at this moment.
      type: int
    since:
      description: When the state began, in seconds since 1970.
      type: float
address:
  description: The virtual address.
  type: str
  returned: always
config_version:
  description: The version of the configuration that keepalived runs with; empty when it was not asked for or not told.
  type: str
  returned: always
waited:
  description: Seconds spent until the state was reached.
  type: float
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import wait_until
from ansible_collections.neural.platform.plugins.module_utils.keepalived import KeepalivedError, Wanted, read_state


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "container": {"type": "str", "default": "neural-keepalived"},
            "config_version": {"type": "str", "default": ""},
            "settled": {"type": "float", "default": 0},
            "wait_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params

    def run(command: list[str]) -> str:
        try:
            code, output, error = module.run_command(command, handle_exceptions=False)
        except OSError as failure:
            raise KeepalivedError(f"{command[0]}: {failure.strerror}") from failure
        if code != 0:
            raise KeepalivedError((error or output).strip() or f"{' '.join(command)} ended with {code}")
        return str(output)

    wanted = Wanted(params["address"], params["settled"], params["config_version"])
    timeout = params["wait_timeout"]
    try:
        state, reached, waited = wait_until(
            lambda: read_state(run, params["container"], wanted, time.time), lambda state: state.healthy, timeout
        )
    except KeepalivedError as error:
        module.fail_json(msg=f"Cannot look at the host's addresses: {error}.")
    result = {**state.result(), "waited": waited}
    if not reached and timeout > 0:
        module.fail_json(msg=f"keepalived is not as wanted after {waited:g} s: {' '.join(state.problems)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
