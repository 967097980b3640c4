#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# The work is done by the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: print_lines
short_description: Print lines as they are
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Prints lines to the controller's output without quoting or indenting them, so that a table stays a table.
options:
  lines:
    description: What to print.
    type: list
    elements: str
    required: true
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
- name: Show a table
  neural.platform.print_lines:
    lines:
      - HOST  SERVICE
      - app1  etcd
"""

RETURN = r"""#"""
