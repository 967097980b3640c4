"""Filter that makes one picture of the platform of what its hosts report."""

from __future__ import annotations

from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.platform_status import platform_status

DOCUMENTATION = r"""
name: platform_status
short_description: Make one picture of the platform of what its hosts report
version_added: 0.1.0
author: The neural.platform maintainers
description: >-
  Compares what every host reports with what the groups of the inventory say it should run, and returns every service of
  every host, every problem as a sentence, and the length of every queue.
positional: groups, hosts, more_problems
options:
  _input:
    description: >-
      Reports by host; a host that was not reached has none. A report has C(containers) and, as far as they apply, the
      results of the C(*_info) modules by C(etcd), C(patroni), C(redis), C(haproxy), C(celery), C(keepalived) and
      C(tls), and C(problems), C(workers), C(api_instances) and C(virtual_address).
    type: dict
    required: true
  groups:
    description: Ansible's C(groups).
    type: dict
    required: true
  hosts:
    description: The hosts that were asked.
    type: list
    elements: str
    required: true
  more_problems:
    description: Problems that no host reports.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ (reports | neural.platform.platform_status(groups, ansible_play_hosts_all)).problems }}"
"""

RETURN = r"""
_value:
  description: C(healthy), C(problems), C(services) and C(queues).
  type: dict
"""


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"platform_status": platform_status}
