#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_state
short_description: Keep what HAProxy knows of its servers for the HAProxy that replaces it
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Writes the state of every server to the file that the configuration names as C(server-state-file). A HAProxy that
    starts without it takes every server for healthy until its first check, and sends writes to replicas.
  - With O(state=cleared) the file is emptied, so that a later start does not take an old state for the present one.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: >-
      Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
options:
  state:
    description: Whether the state is written or emptied.
    type: str
    choices: [saved, cleared]
    required: true
  socket:
    description: Path on the target of the runtime socket.
    type: path
    default: /var/lib/neural/haproxy/admin.sock
  state_file:
    description: Path on the target of the file with the servers' states.
    type: path
    default: /var/lib/neural/haproxy/server-state
  request_timeout:
    description: How long a request to HAProxy may take, in seconds.
    type: float
    default: 3
"""

EXAMPLES = r"""
- name: Keep what HAProxy knows
  neural.platform.haproxy_state:
    state: saved
"""

RETURN = r"""#"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.haproxy import HAProxyError, clear_state, save_state


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["saved", "cleared"], "required": True},
            "socket": {"type": "path", "default": "/var/lib/neural/haproxy/admin.sock"},
            "state_file": {"type": "path", "default": "/var/lib/neural/haproxy/server-state"},
            "request_timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        if module.check_mode:
            changed = True
        elif params["state"] == "saved":
            changed = save_state(params["socket"], params["state_file"], params["request_timeout"])
        else:
            changed = clear_state(params["state_file"])
    except (OSError, HAProxyError) as error:
        module.fail_json(msg=f"The state of HAProxy's servers cannot be {params['state']}: {error}.")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
