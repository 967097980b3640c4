"""Filter that makes a table of the platform's status."""

from __future__ import annotations

from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.platform_status import status_lines

DOCUMENTATION = r"""
name: status_lines
short_description: Make a table of the platform's status
version_added: 0.1.0
author: The neural.platform maintainers
description: Returns the lines that a person reads - every service of every host, the queues, the problems, the verdict.
options:
  _input:
    description: What P(neural.platform.platform_status#filter) returned, with or without C(url).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table
  neural.platform.print_lines:
    lines: "{{ status | neural.platform.status_lines }}"
"""

RETURN = r"""
_value:
  description: Lines.
  type: list
  elements: str
"""


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"status_lines": status_lines}
