"""Which workers a host runs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.filter.containers import containers
from ansible_collections.neural.platform.plugins.filter.pool_workers import pool_workers

GROUPS = {"neural_worker": ["app1", "app2"], "gpu": ["app2"]}
POOLS: dict[str, dict[str, Any]] = {
    "compilation": {"queues": ["compilation"], "concurrency": 4, "replicas": 2},
    "training": {"queues": ["training"], "group": "gpu"},
}


def names(host: str, **more: Any) -> list[str]:
    return [worker["name"] for worker in pool_workers(POOLS, host, GROUPS, **more)]


def test_every_replica_of_every_pool_of_the_host() -> None:
    assert names("app1") == ["neural-worker-compilation-1", "neural-worker-compilation-2"]
    assert names("app2")[-1] == "neural-worker-training-1"
    assert names("db1") == []


def test_a_worker_has_the_pools_settings_and_its_own_names() -> None:
    worker = pool_workers(POOLS, "app2", GROUPS)[1]
    assert (worker["node"], worker["pool"], worker["concurrency"]) == ("compilation-2@app2", "compilation", 4)
    assert worker["memory"] == "2G"


def test_one_value_can_be_laid_over() -> None:
    assert names("app1", overrides={"compilation": {"replicas": 1}}) == ["neural-worker-compilation-1"]
    assert names("app1", overrides={"compilation": {"replicas": 0}}) == []


@pytest.mark.parametrize(
    ("pools", "overrides", "words"),
    [
        ({"x": {}}, {}, "the pool x has no queues"),
        ({"x": {"queues": "x"}}, {}, "the pool x has no queues"),
        ({"x": {"queues": ["x"], "replica": 2}}, {}, "unknown setting replica"),
        ({"x": {"queues": ["x"]}}, {"y": {}}, "names the pool y"),
    ],
)
def test_mistakes_are_named(pools: dict[str, Any], overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pool_workers(pools, "app1", GROUPS, overrides)


def test_dockers_list_is_made_readable() -> None:
    found = [
        {"Names": ["/neural-b"], "Labels": None, "State": "running", "Status": "Up 1 second (health: starting)"},
        {
            "Names": ["/neural-a"],
            "Created": 1798761600,
            "Labels": {"x": "y", "neural.secrets": "live", "neural.service": "api"},
            "State": "running",
            "Status": "Up 2 hours (unhealthy)",
        },
        {"Names": ["/neural-c"], "Labels": {}, "State": "exited", "Status": "Exited (1) 2 hours ago"},
        {"Names": ["/neural-d"], "Labels": {}, "State": "running", "Status": "Up 3 days (healthy)"},
    ]
    made = containers({**item, "Image": "registry:5000/neural/x:1"} for item in found)
    assert [item["name"] for item in made] == ["neural-a", "neural-b", "neural-c", "neural-d"]
    assert [item["health"] for item in made] == ["unhealthy", "starting", "none", "healthy"]
    assert made[0]["labels"] == {"x": "y", "neural.secrets": "live", "neural.service": "api"}
    assert [item["service"] for item in made] == ["api", "", "", ""]
    assert [(item["created"], item["live_secrets"]) for item in made[:2]] == [(1798761600, True), (0, False)]
    assert made[1]["labels"] == {}
