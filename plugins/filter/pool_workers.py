"""Filter that turns pools of workers into the workers of one host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: pool_workers
short_description: Turn pools of workers into the workers of one host
version_added: 0.1.0
author: The neural.platform maintainers
description: Returns one entry for each worker that a host runs, from the variable C(neural_worker_pools).
positional: host, groups, overrides
options:
  _input:
    description: Pools by name.
    type: dict
    required: true
  host:
    description: Name of the host.
    type: str
    required: true
  groups:
    description: Ansible's C(groups).
    type: dict
    required: true
  overrides:
    description: Settings by pool, laid over the pools.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the workers of this host
  ansible.builtin.debug:
    msg: "{{ neural_worker_pools | neural.platform.pool_workers(inventory_hostname, groups) | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description: Workers, in the order of the pools.
  type: list
  elements: dict
"""

DEFAULTS: dict[str, Any] = {
    "concurrency": 2,
    "max_tasks_per_child": 50,
    "replicas": 1,
    "cpus": 1,
    "memory": "2G",
    "stop_timeout": 120,
    "group": "neural_worker",
}


def pool_workers(
    pools: Mapping[str, Mapping[str, Any]],
    host: str,
    groups: Mapping[str, Sequence[str]],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return the workers that the host runs: each has the pool's settings, and pool, name and node (Celery's name)."""
    overrides = overrides or {}
    unknown = sorted(set(overrides) - set(pools))
    if unknown:
        raise ValueError(
            f"neural_worker_overrides names the pool {unknown[0]}, which is not in neural_worker_pools"
            f" (expected one of: {', '.join(pools)})"
        )
    result = []
    for pool, declared in pools.items():
        settings = {**DEFAULTS, **declared, **overrides.get(pool, {})}
        surplus = sorted(set(settings) - set(DEFAULTS) - {"queues"})
        if surplus:
            raise ValueError(
                f"neural_worker_pools: the pool {pool} has the unknown setting {surplus[0]}"
                f" (expected: {', '.join(['queues', *DEFAULTS])})"
            )
        if not settings.get("queues") or isinstance(settings["queues"], str):
            raise ValueError(f"neural_worker_pools: the pool {pool} has no queues (expected a list with at least one)")
        if host not in groups.get(settings["group"], []):
            continue
        result.extend(
            {**settings, "pool": pool, "name": f"neural-worker-{pool}-{n}", "node": f"{pool}-{n}@{host}"}
            for n in range(1, int(settings["replicas"]) + 1)
        )
    return result


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"pool_workers": pool_workers}
