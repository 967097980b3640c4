#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_passwords
short_description: Change the passwords of Redis and Sentinel while they run
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Makes every Redis and every Sentinel take O(password) and O(others) and no other password, and log in to each other
    with O(password).
  - No server is restarted, and no connection is cut off; at no moment is a server refused by another one.
  - Sentinel keeps this in its own file. That of Redis is somebody else's, and has to say the same before Redis starts
    again.
extends_documentation_fragment:
  - neural.platform.redis_sentinel
  - neural.platform.service_tls
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Returns details on what has changed, or needs changing in C(check_mode), when in diff mode.
options:
  password:
    description: The password that replicas and Sentinels log in with.
    required: true
  others:
    description: Further passwords that are taken. These, too, are tried to log in with.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Take a new password as well
  neural.platform.redis_passwords:
    members: {app1: 192.0.2.11, app2: 192.0.2.12, cache1: 192.0.2.31}
    password: "{{ old_password }}"
    others: ["{{ new_password }}"]

- name: Use it, and take the old one no more
  neural.platform.redis_passwords:
    members: {app1: 192.0.2.11, app2: 192.0.2.12, cache1: 192.0.2.31}
    password: "{{ new_password }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: always
  sample: [Redis on app1 takes 1 more, Sentinel on app1 takes 1 more]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.redis_passwords import PasswordsError, change_passwords
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import CONNECTION_OPTIONS, Target


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "others": {"type": "list", "elements": "str", "default": [], "no_log": True},
            **CONNECTION_OPTIONS,
            "password": {"type": "str", "no_log": True, "required": True},
        },
        supports_check_mode=True,
    )
    password, others = module.params["password"], module.params["others"]
    try:
        actions = change_passwords(Target.from_params(module.params), password, others, module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"The host's certificate cannot be used: {error}.")
    except PasswordsError as error:
        module.fail_json(msg=f"{error}. The passwords in use before are good still; the same run again goes on.")
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
