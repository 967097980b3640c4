# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter that makes a table of the history of deployments."""

from __future__ import annotations

from typing import Any

from ansible_collections.neural.platform.plugins.plugin_utils import deploy

DOCUMENTATION = r"""
name: deploy_history
short_description: Make a table of the history of deployments
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - Returns the lines that a person reads - the last events of all hosts, newest last, and who holds the deploy lock.
  - An event of a run that several hosts have is one line, with their names.
options:
  _input:
    description: By host, what M(neural.platform.deploy_info) returned; empty for a host that was not reached.
    type: dict
    required: true
  lines:
    description: How many events to show.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Show the history
  neural.platform.print_lines:
    lines: "{{ reports | neural.platform.deploy_history }}"
"""

RETURN = r"""
_value:
  description: Lines.
  type: list
  elements: str
"""


def deploy_history(reports: dict[str, dict[str, Any]], lines: int = 20) -> list[str]:
    """Return the table's lines."""
    return deploy.history_lines(reports, lines, deploy.now())


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"deploy_history": deploy_history}
