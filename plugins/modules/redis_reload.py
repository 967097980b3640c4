#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_reload
short_description: Let Redis load the host's certificate, where it presents another one
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks one Redis for its certificate. Where it is not that of O(cert_file), Redis is given the names of its
    certificate, key and authorities once more (C(CONFIG SET)), which makes it read the files. Connections that are
    open go on.
  - Sentinel cannot do that; it has to be started anew.
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
  members:
    description:
      - Name and address of the one host whose Redis is meant.
      - The files have the same paths for that Redis as on the target.
"""

EXAMPLES = r"""
- name: Let Redis load a renewed certificate
  neural.platform.redis_reload:
    members: {app1: 192.0.2.11}
    password: "{{ neural_redis_password }}"
"""

RETURN = r"""
certificate:
  description: SHA-256 of the certificate, in PEM form, that Redis presents at the end.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    CONNECTION_OPTIONS,
    RedisError,
    Target,
    reload_certificate,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"members": {"type": "dict", "required": True}, **CONNECTION_OPTIONS},
        supports_check_mode=True,
    )
    params = module.params
    members = params["members"]
    if len(members) != 1:
        module.fail_json(msg=f"members: found {len(members)} hosts, expected is exactly one.")
    ((name, address),) = members.items()
    files = {
        "tls-cert-file": params["cert_file"],
        "tls-key-file": params["key_file"],
        "tls-ca-cert-file": params["ca_file"],
    }
    try:
        changed, certificate = reload_certificate(Target.from_params(params), address, files, module.check_mode)
    except (OSError, ValueError, RedisError) as error:
        module.fail_json(
            msg=f"The Redis on {name} ({address}:{params['port']}) does not load its certificate: {error}."
        )
    module.exit_json(changed=changed, certificate=certificate)


if __name__ == "__main__":
    main()
