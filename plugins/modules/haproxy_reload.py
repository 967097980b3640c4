#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_reload
short_description: Let HAProxy load its configuration, where it runs with another one
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Compares the description (C(description) in the section C(global)) that HAProxy runs with to the wanted one,
    in which a hash of the configuration is. Where they are equal nothing is done, so a reload that was missed
    is made up for.
  - Reloads through the master socket, which tells whether the configuration was taken. If not, HAProxy goes on
    with the old one and the module fails.
  - Connections go on. Before the reload each server's state is written to a file (C(server-state-file)), so that
    no server is taken for healthy that is not, and what is drained stays so.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: full
    description: Returns details on what has changed, or needs changing in C(check_mode), when in diff mode.
options:
  description:
    description: The description that is in the configuration file. One that is empty there as well is an error.
    type: str
    required: true
  admin_socket:
    description: Path on the target of the runtime socket.
    type: path
    default: /var/lib/neural/haproxy/admin.sock
  master_socket:
    description: Path on the target of the master's socket.
    type: path
    default: /var/lib/neural/haproxy/master.sock
  state_file:
    description: Path on the target of the file with the servers' states.
    type: path
    default: /var/lib/neural/haproxy/server-state
  wait_timeout:
    description: How long HAProxy may take to answer with the new configuration, in seconds.
    type: float
    default: 15
  request_timeout:
    description: How long one request may take, in seconds; the reload itself may take O(wait_timeout).
    type: float
    default: 3
"""

EXAMPLES = r"""
- name: Load the configuration that was written
  neural.platform.haproxy_reload:
    description: "neural {{ haproxy_configuration_hash }}"
"""

RETURN = r"""
description:
  description: The description that HAProxy ran with before.
  type: str
  returned: always
messages:
  description: What HAProxy says about the configuration.
  type: str
  returned: when changed, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.haproxy import (
    HAProxyError,
    reload,
    running_description,
    wait_for_description,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "description": {"type": "str", "required": True},
            "admin_socket": {"type": "path", "default": "/var/lib/neural/haproxy/admin.sock"},
            "master_socket": {"type": "path", "default": "/var/lib/neural/haproxy/master.sock"},
            "state_file": {"type": "path", "default": "/var/lib/neural/haproxy/server-state"},
            "wait_timeout": {"type": "float", "default": 15},
            "request_timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted, timeout = params["description"], params["wait_timeout"]
    if not wanted:
        module.fail_json(msg="description: found nothing, expected is the description in the configuration.")
    try:
        running = running_description(params["admin_socket"], params["request_timeout"])
    except OSError as error:
        module.fail_json(msg=f"HAProxy does not answer at {params['admin_socket']}: {error}.")
    diff = {"before": f"{running}\n", "after": f"{wanted}\n"}
    if running == wanted:
        module.exit_json(changed=False, description=running)
    if module.check_mode:
        module.exit_json(changed=True, description=running, diff=diff)
    try:
        messages = reload(params["admin_socket"], params["master_socket"], params["state_file"], timeout)
    except (OSError, HAProxyError) as error:
        module.fail_json(msg=f"HAProxy does not take the configuration and goes on with the old one: {error}")
    if not wait_for_description(wanted, params["admin_socket"], timeout):
        module.fail_json(
            msg=f"HAProxy was reloaded, but {timeout:g} s later it does not run with {wanted!r}: {messages}"
        )
    module.exit_json(changed=True, description=running, messages=messages, diff=diff)


if __name__ == "__main__":
    main()
