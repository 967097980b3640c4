"""Filter that maps hosts to their addresses on the private network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: addresses
short_description: Map hosts to their addresses on the private network
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - A host's address is its inventory variable C(neural_address), or C(ansible_host), or its name, in this order.
  - Only inventory variables are read, never facts, so that a run limited to one host renders what a full run renders.
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show every address
  ansible.builtin.debug:
    msg: "{{ groups['all'] | neural.platform.addresses(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Address by host name.
  type: dict
"""


def addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the address of each host, from inventory variables alone."""
    result = {}
    for host in hosts:
        known = hostvars[host]
        result[host] = str(known.get("neural_address") or known.get("ansible_host") or host)
    return result


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"addresses": addresses}
