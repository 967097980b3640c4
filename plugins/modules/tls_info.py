#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_info
short_description: Which certificate ports present
version_added: 0.2.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks ports for their certificates by TLS, showing the host's own, and tells whether each presents that of
    O(cert_file), signed by an authority in O(ca_file), and for how long.
  - With O(wait_timeout) it waits until all of them do.
  - Other than M(community.crypto.get_certificate) it speaks to PostgreSQL and to servers that ask for a certificate,
    and needs nothing but Python on the target.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  endpoints:
    description: Where to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: Address that the host itself reaches the ports at.
        type: str
        required: true
      ports:
        description: The ports.
        type: list
        elements: int
        required: true
      protocol:
        description: What is spoken before TLS; nothing, or PostgreSQL's request for it.
        type: str
        choices: [tls, postgresql]
        default: tls
      optional:
        description: Whether it is all right that nothing listens.
        type: bool
        default: false
  min_days:
    description: A certificate with fewer days left is a problem.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: See that everything presents the new certificate
  neural.platform.tls_info:
    endpoints:
      - {address: 192.0.2.11, ports: [6379, 26379]}
      - {address: 192.0.2.11, ports: [5432], protocol: postgresql}
    wait_timeout: 30
"""

RETURN = r"""
healthy:
  description: Whether there are no problems.
  type: bool
  returned: always
problems:
  description: What is wrong, in sentences.
  type: list
  elements: str
  returned: always
members:
  description: What each port presents.
  type: list
  elements: dict
  returned: always
  contains:
    address:
      description: The address.
      type: str
    port:
      description: The port.
      type: int
    fingerprint:
      description: SHA-256 of the certificate in DER form; empty where none was presented.
      type: str
    serial:
      description: The certificate's serial number, in hexadecimal digits.
      type: str
    not_after:
      description: The day on which it ends.
      type: str
    error:
      description: Why there is none.
      type: str
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
    wait_until,
)
from ansible_collections.neural.platform.plugins.module_utils.tls_info import Endpoint, read_state


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "address": {"type": "str", "required": True},
                    "ports": {"type": "list", "elements": "int", "required": True},
                    "protocol": {"type": "str", "choices": ["tls", "postgresql"], "default": "tls"},
                    "optional": {"type": "bool", "default": False},
                },
            },
            "min_days": {"type": "float", "default": 0},
            "wait_timeout": {"type": "float", "default": 0},
            **TLS_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    params = module.params
    endpoints = Endpoint.from_params(params["endpoints"])
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
        # The certificate itself is compared, so its names don't matter.
        tls.check_hostname = False
        state, reached, waited = wait_until(
            lambda: read_state(endpoints, tls, params["cert_file"], params["request_timeout"], params["min_days"]),
            lambda found: found.healthy,
            params["wait_timeout"],
        )
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The certificate of this host cannot be used: {error}.")
    if params["wait_timeout"] and not reached:
        module.fail_json(msg=f"After {waited:g} s: {' '.join(state.problems)}", waited=waited, **state.result())
    module.exit_json(changed=False, waited=waited, **state.result())


if __name__ == "__main__":
    main()
