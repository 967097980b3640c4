#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# The work is done by the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_inventory
short_description: Validate the inventory of the platform, without a connection
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Works out every variable of every host that a role of this collection reads, role defaults included, and checks
    groups, addresses, secrets, certificates, types, ports and what the services demand.
  - All problems are reported at once, a sentence each that names the host or group, the variable, what was found and
    what is expected. The value of a secret is never shown.
  - All hosts are validated, whatever the play's hosts or C(--limit) are.
options:
  foreign_variables:
    description:
      - Variables of yours whose names look like those of this collection's roles, and which are to be left alone.
      - A name may end with V(*).
    type: list
    elements: str
    default: []
attributes:
  action:
    support: full
    description:
      - Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - This action does not modify state.
  diff_mode:
    support: none
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""

EXAMPLES = r"""
- name: Validate the inventory
  neural.platform.validate_inventory:
  run_once: true
"""

RETURN = r"""
hosts:
  description: The hosts that were validated.
  returned: success
  type: list
  elements: str
ports:
  description: By host, where programs of the platform listen; for M(neural.platform.host_check).
  returned: success
  type: dict
peers:
  description: The hosts as M(neural.platform.host_check) asks for them.
  returned: success
  type: list
  elements: dict
"""
