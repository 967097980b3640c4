"""What etcd clusters said, as recorded from real ones, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.etcd import (
    Endpoints,
    answers_well,
    decide_start,
    evaluate,
    has_quorum,
    host_part,
    reason_of,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "etcd"
ENDPOINTS = Endpoints({"app2": "10.77.0.12", "app3": "10.77.0.13", "db1": "10.77.0.11"}, 2379, 2380, None)
FULL_CLUSTER = "app2=https://10.77.0.12:2380,app3=https://10.77.0.13:2380,db1=https://10.77.0.11:2380"


def recorded(name: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return answers


def test_a_healthy_cluster_has_no_problems() -> None:
    state = evaluate(ENDPOINTS, recorded("healthy"))
    assert state.healthy
    assert state.details == {"leader": "db1", "quorum": True}
    leader = next(member for member in state.members if member["leader"])
    assert leader["name"] == "db1"
    assert leader["address"] == "10.77.0.11"
    assert leader["version"] == "3.5.16"
    assert leader["db_size"] == 20480
    assert leader["raft_index"] > 0
    assert not leader["alarms"]


@pytest.mark.parametrize(
    ("name", "leader", "sentences"),
    [
        ("leader_killed", "app2", ["etcd member db1 (10.77.0.11:2379) does not answer: no answer in time."]),
        ("member_hangs", "app3", ["etcd member app2 (10.77.0.12:2379) does not answer: no answer in time."]),
        ("alarm", "db1", ["etcd member app2 has raised the alarm NOSPACE, expected no alarm."]),
        (
            "unknown_member",
            "app3",
            [
                "The etcd cluster has a member 9014795632258682297 (https://10.77.0.14:2380) that the inventory"
                " does not know; it knows app2, app3, db1."
            ],
        ),
        (
            "readded",
            "app2",
            [
                "etcd member app3 (10.77.0.13:2379) does not answer: no answer in time.",
                "etcd member app3 (https://10.77.0.13:2380) is in the cluster but has never started.",
            ],
        ),
    ],
)
def test_a_broken_cluster_with_a_quorum(name: str, leader: str, sentences: list[str]) -> None:
    state = evaluate(ENDPOINTS, recorded(name))
    assert state.problems == sentences
    assert state.details == {"leader": leader, "quorum": True}


@pytest.mark.parametrize("name", ["electing", "no_quorum"])
def test_a_cluster_without_quorum(name: str) -> None:
    state = evaluate(ENDPOINTS, recorded(name))
    assert state.details == {"leader": "", "quorum": False}
    assert "has no quorum: 0 of" in state.problems[-1]


def test_no_quorum_names_who_sees_no_leader() -> None:
    assert "etcd member db1 (10.77.0.11:2379) sees no leader." in evaluate(ENDPOINTS, recorded("no_quorum")).problems


def test_an_ignored_member_is_no_problem() -> None:
    assert evaluate(ENDPOINTS, recorded("readded"), ignore=["app3"]).healthy
    assert not evaluate(ENDPOINTS, recorded("readded"), ignore=["app2"]).healthy


def test_a_member_far_behind_is_a_problem() -> None:
    found = recorded("healthy")
    found["app3"]["status"]["raftIndex"] = str(int(found["app3"]["status"]["raftIndex"]) - 5)
    assert evaluate(ENDPOINTS, found, max_raft_lag=5).healthy
    assert evaluate(ENDPOINTS, found, max_raft_lag=4).problems == [
        "etcd member app3 is 5 raft entries behind the furthest member, expected 4 at most."
    ]


def test_members_of_two_clusters() -> None:
    found = recorded("healthy")
    found["app3"]["status"]["header"]["cluster_id"] = "1"
    assert any("belong to different clusters" in problem for problem in evaluate(ENDPOINTS, found).problems)


def test_an_expected_member_that_the_cluster_does_not_have() -> None:
    endpoints = Endpoints({**ENDPOINTS.members, "cache1": "10.77.0.15"}, 2379, 2380, None)
    state = evaluate(endpoints, {**recorded("healthy"), "cache1": {"error": "Connection refused"}})
    assert state.problems[0] == "etcd member cache1 (10.77.0.15:2379) does not answer: Connection refused."
    assert state.problems[1].startswith("etcd host cache1 (https://10.77.0.15:2380) is not a member of the cluster")
    assert state.details["quorum"]


def test_first_members_begin_a_cluster() -> None:
    silence = {name: {"error": "Connection refused"} for name in ENDPOINTS.members}
    assert decide_start(ENDPOINTS, "app3", silence, all_new=True).how == "bootstrap"
    assert decide_start(ENDPOINTS, "app3", silence, all_new=False).how == "unclear"


@pytest.mark.parametrize("name", ["first_of_three", "two_of_three"])
def test_a_first_member_that_comes_late_begins_too(name: str) -> None:
    assert decide_start(ENDPOINTS, "app3", recorded(name), all_new=False).how == "bootstrap"


def test_a_member_that_lost_its_data_is_put_in_again() -> None:
    start = decide_start(ENDPOINTS, "app3", recorded("data_lost"), all_new=False)
    assert (start.how, start.remove, start.initial_cluster) == ("add", ["8933932716659225891"], FULL_CLUSTER)
    start = decide_start(ENDPOINTS, "app3", recorded("readded"), all_new=False)
    assert (start.how, start.remove, start.initial_cluster) == ("join", [], FULL_CLUSTER)


def test_a_new_host_joins_a_living_cluster() -> None:
    endpoints = Endpoints({**ENDPOINTS.members, "cache1": "10.77.0.15"}, 2379, 2380, None)
    start = decide_start(endpoints, "cache1", {**recorded("healthy"), "cache1": {"error": "-"}}, all_new=False)
    assert (start.how, start.remove) == ("add", [])
    assert start.initial_cluster == "app2=https://10.77.0.12:2380,app3=https://10.77.0.13:2380," + (
        "cache1=https://10.77.0.15:2380,db1=https://10.77.0.11:2380"
    )


def test_nobody_joins_a_cluster_without_quorum() -> None:
    start = decide_start(ENDPOINTS, "app3", recorded("no_quorum"), all_new=False)
    assert start.how == "unclear"
    assert "no quorum to let it in: 0 of 4 members" in start.reason


def test_small_helpers() -> None:
    assert host_part("fd00::1") == "[fd00::1]"
    assert reason_of(TimeoutError()) == "no answer in time"
    assert reason_of(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert not answers_well({"error": "x"})
    assert not has_quorum({})
