"""What Patroni clusters said, as recorded from real ones, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState
from ansible_collections.neural.platform.plugins.module_utils.patroni import (
    Endpoints,
    Expected,
    Turns,
    best_candidate,
    config_patch,
    evaluate,
    member_works,
    next_restart,
    patched,
    version_text,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "patroni"
ENDPOINTS = Endpoints({"db1": "10.77.0.11", "app2": "10.77.0.12", "app3": "10.77.0.13"}, 8008, None)
NO_SYNCHRONOUS = "No replica is synchronous, expected is one at least: an acknowledged write could be lost."


def recorded(name: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return answers


def state_of(name: str, expected: Expected | None = None) -> ClusterState:
    return evaluate(ENDPOINTS, recorded(name), expected or Expected())


def test_a_healthy_cluster_has_no_problems() -> None:
    state = state_of("healthy")
    assert state.healthy
    assert state.details == {"leader": "db1", "paused": False}
    assert [member["role"] for member in state.members] == ["leader", "sync_standby", "replica"]
    assert state.members[1] == {
        "name": "app2",
        "host": "10.77.0.12",
        "answers": True,
        "role": "sync_standby",
        "state": "streaming",
        "timeline": 1,
        "lag": 0,
        "tags": {"failover_priority": 2, "config": "a583b79ad138"},
        "pending_restart": False,
        "version": "17.12",
        "patroni_version": "4.0.7",
    }


@pytest.mark.parametrize(
    ("name", "leader", "sentences"),
    [
        (
            "single",
            "db1",
            [
                "PostgreSQL member app2 (10.77.0.12:8008) does not answer: Connection refused.",
                "PostgreSQL member app3 (10.77.0.13:8008) does not answer: Connection refused.",
                NO_SYNCHRONOUS,
            ],
        ),
        (
            "copying",
            "db1",
            [
                "PostgreSQL member app2 (10.77.0.12:8008) is a replica in state creating replica, expected streaming.",
                "PostgreSQL member app3 (10.77.0.13:8008) is a replica in state creating replica, expected streaming.",
                NO_SYNCHRONOUS,
            ],
        ),
        ("after_switchover", "app2", [NO_SYNCHRONOUS]),
        (
            "member_hangs",
            "app2",
            ["PostgreSQL member app3 (10.77.0.13:8008) does not answer: no answer in time."],
        ),
        (
            "leader_killed",
            "app2",
            [
                "PostgreSQL member db1 (10.77.0.11:8008) is a replica in state running, expected streaming.",
                "PostgreSQL member app2 (10.77.0.12:8008) does not answer: Connection refused.",
                "PostgreSQL member app3 (10.77.0.13:8008) is a replica in state running, expected streaming.",
            ],
        ),
        (
            "after_failover",
            "app3",
            [
                "PostgreSQL member db1 (10.77.0.11:8008) is a replica in state running, expected streaming.",
                "PostgreSQL member app2 (10.77.0.12:8008) does not answer: Connection refused.",
                NO_SYNCHRONOUS,
            ],
        ),
        (
            "isolated_leader",
            "app3",
            [
                "PostgreSQL member db1 (10.77.0.11:8008) does not answer: no answer in time.",
                "PostgreSQL member app2 (10.77.0.12:8008) does not answer: no answer in time.",
                "PostgreSQL member app3 (10.77.0.13:8008) is the leader, but calls itself primary (stopping),"
                " expected primary (running).",
            ],
        ),
        (
            "paused",
            "app2",
            ["The PostgreSQL cluster is paused: Patroni does not fail over, expected is that it does."],
        ),
        ("pending_restart", "db1", []),
    ],
)
def test_what_is_wrong_is_said(name: str, leader: str, sentences: list[str]) -> None:
    state = state_of(name)
    assert state.problems == sentences
    assert state.details["leader"] == leader


def test_nobody_answers() -> None:
    silence = {name: {"error": "Connection refused"} for name in ENDPOINTS.members}
    state = evaluate(ENDPOINTS, silence, Expected())
    assert state.problems[-1] == "The PostgreSQL cluster has no leader (nobody answers)."
    assert len(state.problems) == 4


def test_ignored_members_and_asynchronous_clusters() -> None:
    assert state_of("member_hangs", Expected(ignore=["app3"])).healthy
    assert state_of("single", Expected(synchronous=False, ignore=["app2", "app3"])).healthy
    assert state_of("after_switchover", Expected(synchronous=False)).healthy


def test_a_waiting_restart_is_told() -> None:
    assert all(member["pending_restart"] for member in state_of("pending_restart").members)


def changed_member(name: str, **changes: Any) -> dict[str, Any]:
    found = recorded("healthy")
    for answers in found.values():
        for member in answers["cluster"]["members"]:
            if member["name"] == name:
                member.update(changes)
    return found


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lag": 20000000}, "is 20000000 bytes behind, expected 16777216 at most."),
        ({"lag": "unknown"}, "has an unknown lag, expected 16777216 bytes at most."),
        ({"timeline": 7}, "is on timeline 7, expected the leader's 1."),
    ],
)
def test_a_replica_that_is_behind(changes: dict[str, Any], sentence: str) -> None:
    state = evaluate(ENDPOINTS, changed_member("app3", **changes), Expected())
    assert state.problems == [f"PostgreSQL member app3 (10.77.0.13:8008) {sentence}"]


def test_a_member_that_the_cluster_or_the_inventory_does_not_know() -> None:
    endpoints = Endpoints({"db1": "10.77.0.11", "app2": "10.77.0.12"}, 8008, None)
    found = recorded("healthy")
    del found["app3"]
    assert evaluate(endpoints, found, Expected()).problems == [
        "The PostgreSQL cluster has a member app3 (10.77.0.13) that the inventory does not know; it knows db1, app2."
    ]
    found = recorded("healthy")
    for answers in found.values():
        answers["cluster"]["members"] = [one for one in answers["cluster"]["members"] if one["name"] != "app3"]
    assert evaluate(ENDPOINTS, found, Expected()).problems == [
        "PostgreSQL member app3 (10.77.0.13:8008) is not in the cluster, its state is running;"
        " the cluster has app2, db1."
    ]


def test_two_primaries_are_a_problem() -> None:
    found = recorded("healthy")
    found["app3"]["patroni"]["role"] = "primary"
    problems = evaluate(ENDPOINTS, found, Expected()).problems
    assert problems == ["More than one member calls itself primary: db1, app3, expected is one."]


def test_the_best_candidate() -> None:
    assert best_candidate(state_of("healthy")) == "app2"
    assert best_candidate(state_of("after_switchover")) == "db1"
    assert best_candidate(state_of("copying")) == ""
    state = state_of("healthy")
    state.members[1]["role"] = "replica"
    assert best_candidate(state) == "app2"
    state.members[1]["tags"]["failover_priority"] = 0
    assert best_candidate(state) == "app3"
    state.members[2]["tags"]["nofailover"] = True
    assert best_candidate(state) == ""


def test_the_order_of_restarts() -> None:
    state = state_of("pending_restart")
    assert next_restart(state, []) == "app2"
    assert next_restart(state, ["app2"]) == "app3"
    assert next_restart(state, ["app2", "app3"]) == "db1"
    assert next_restart(state, ["app2", "app3", "db1"]) == "app2"
    assert next_restart(state, ["app2", "app3", "db1", "app2"]) == "app3"
    assert next_restart(state, ["app2", "app3", "db1", "app2", "app3"]) == ""
    assert next_restart(state_of("healthy"), []) == ""
    state.members[0]["pending_restart"] = False
    assert next_restart(state, ["app2", "app3"]) == ""


def test_when_a_member_works() -> None:
    healthy = state_of("healthy")
    assert member_works(healthy, "db1", {})
    assert member_works(healthy, "app2", {"config": "a583b79ad138"})
    assert not member_works(healthy, "app2", {"config": "other"})
    assert not member_works(state_of("copying"), "app2", {})
    assert not member_works(state_of("leader_killed"), "app2", {})
    assert not member_works(healthy, "unknown", {})


def test_turns_are_counted() -> None:
    turns = Turns()
    assert turns.completed() == 0
    for seen in (100, 100, 105, 105, 110):
        turns.see({"db1": {"patroni": {"dcs_last_seen": seen}}, "app2": {"error": "no answer in time"}})
    assert turns.completed() == 2


def test_the_patch_is_the_smallest() -> None:
    found = {"ttl": 30, "loop_wait": 5, "pause": True, "postgresql": {"parameters": {"a": "1", "b": 2}, "x": True}}
    wanted = {"ttl": 20, "loop_wait": "5", "pause": None, "postgresql": {"parameters": {"a": 1, "c": "on"}, "x": True}}
    patch = config_patch(found, wanted)
    assert patch == {"ttl": 20, "pause": None, "postgresql": {"parameters": {"c": "on"}}}
    assert config_patch(found, wanted, ["postgresql.parameters"])["postgresql"] == {
        "parameters": {"c": "on", "b": None}
    }
    after = patched(found, patch)
    assert after == {
        "ttl": 20,
        "loop_wait": 5,
        "postgresql": {"parameters": {"a": "1", "b": 2, "c": "on"}, "x": True},
    }
    assert config_patch(after, wanted) == {}


def test_true_is_not_the_word_true() -> None:
    assert config_patch({"synchronous_mode": "true"}, {"synchronous_mode": True}) == {"synchronous_mode": True}
    assert config_patch({}, {"slots": {}}) == {"slots": {}}
    assert config_patch({"ignore_slots": []}, {"ignore_slots": [{"name": "x"}]}) == {"ignore_slots": [{"name": "x"}]}


def test_versions() -> None:
    assert version_text(170012) == "17.12"
    assert version_text(0) == ""
