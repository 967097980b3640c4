"""Filter that makes Docker's list of containers readable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: containers
short_description: Make Docker's list of containers readable
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - Reduces what M(community.docker.docker_host_info) returns to what the roles of this collection need.
  - C(service) is the label C(neural.service), empty where there is none. C(created) is in seconds since 1970.
    C(live_secrets) is whether the image says, by the label C(neural.secrets=live), that it reads the files of its
    secrets anew when they change.
options:
  _input:
    description: RV(community.docker.docker_host_info#module:containers).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show our containers
  ansible.builtin.debug:
    msg: "{{ __found.containers | neural.platform.containers | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description: Containers, sorted by name.
  type: list
  elements: dict
  sample:
    - name: neural-etcd
      image: "192.0.2.31:5000/neural/etcd:0123456789ab"
      labels: {neural.platform: neural}
      service: ""
      config: ""
      created: 1798761600
      live_secrets: false
      state: running
      health: healthy
"""


def health(status: str) -> str:
    """Return healthy, unhealthy, starting or none, from a status like 'Up 5 minutes (healthy)'."""
    for word in ("unhealthy", "healthy", "starting"):
        if word in status:
            return word
    return "none"


def containers(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is told of each container, sorted by name."""
    result = [
        {
            "name": str(container["Names"][0]).removeprefix("/"),
            "image": str(container["Image"]),
            "labels": dict(container.get("Labels") or {}),
            "service": str((container.get("Labels") or {}).get("neural.service", "")),
            "config": str((container.get("Labels") or {}).get("neural.config", "")),
            "created": int(container.get("Created") or 0),
            "live_secrets": (container.get("Labels") or {}).get("neural.secrets") == "live",
            "state": str(container.get("State", "unknown")),
            "health": health(str(container.get("Status", ""))),
        }
        for container in found
        if container.get("Names")
    ]
    return sorted(result, key=lambda container: container["name"])


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"containers": containers}
