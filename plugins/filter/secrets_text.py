# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter that gives secrets other values in the text of their file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.neural.platform.plugins.plugin_utils import secrets_file

DOCUMENTATION = r"""
name: secrets_text
short_description: Give secrets other values in the text of their file
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - Replaces, adds or removes names and values at the top of a YAML text. All else, comments too, stays as it is.
  - A text that it cannot edit so is an error, which shows no value.
positional: changes
options:
  _input:
    description: The text of the file, not encrypted; empty for a new one.
    type: str
    required: true
  changes:
    description:
      - Values by name, each a text or a list of texts; nothing (C(none)) for a name that goes. A new name comes last.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write another value
  ansible.builtin.copy:
    content: >-
      {{ lookup('ansible.builtin.unvault', file) | neural.platform.secrets_text({'neural_redis_password': password}) }}
    dest: "{{ file }}"
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def plain(value: Any) -> Any:
    """Return a value without anything of Ansible in it."""
    if value is None:
        return None
    return str(value) if isinstance(value, str) else [str(item) for item in value]


def secrets_text(text: str, changes: Mapping[str, Any]) -> str:
    """Return the text with other values."""
    try:
        return secrets_file.edited(str(text), {str(name): plain(value) for name, value in changes.items()})
    except secrets_file.SecretsFileError as error:
        raise AnsibleFilterError(f"the file of the secrets cannot be edited: {error}") from None


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"secrets_text": secrets_text}
