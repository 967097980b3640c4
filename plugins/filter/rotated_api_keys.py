# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter that gives an owner of API keys another key, or takes the old ones away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.neural.platform.plugins.plugin_utils import secrets_file

DOCUMENTATION = r"""
name: rotated_api_keys
short_description: Give an owner of API keys another key, or take the old ones away
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - Puts a new key before the present one of an owner, both of which are then good; or leaves only the first of them.
  - A key without a name is known by the first 16 digits of its SHA-256, as the application knows it. The key that comes
    after it carries them as its name, so that it sees the jobs of the one before.
positional: new, owner, retire
options:
  _input:
    description: The list of keys, as in C(neural_api_keys).
    type: list
    elements: str
    required: true
  new:
    description: The new key.
    type: str
    required: true
  owner:
    description: Whose key it is; may be empty where there is one owner only.
    type: str
    default: ""
  retire:
    description: Whether the keys after an owner's first one go, instead of a new one coming.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Put a new key before that of alice
  ansible.builtin.set_fact:
    rotated: "{{ neural_api_keys | neural.platform.rotated_api_keys(new_key, 'alice') }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: C(api_keys), the list, and C(problem), a sentence that says what is wrong, else empty.
  type: dict
"""


def rotated_api_keys(keys: Sequence[str], new: str, owner: str = "", retire: bool = False) -> dict[str, Any]:
    """Return the keys and what is wrong."""
    rotated, problem = secrets_file.rotated_keys([str(key) for key in keys], str(new), str(owner), bool(retire))
    return {"api_keys": rotated, "problem": problem}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"rotated_api_keys": rotated_api_keys}
