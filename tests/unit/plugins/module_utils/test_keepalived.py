"""Judging keepalived, on what real ones and their hosts answered (tests/unit/fixtures/keepalived)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState
from ansible_collections.neural.platform.plugins.module_utils.keepalived import (
    KeepalivedError,
    Wanted,
    assess,
    has_address,
    parse_state,
    read_state,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keepalived"
ADDRESS = "192.0.2.10"


def recorded(name: str) -> str:
    return (FIXTURES / name).read_text()


def since(name: str) -> float:
    return float(json.loads(recorded(f"{name}.json"))[0]["data"]["last_transition"])


def judged(name: str, addresses: str = "", age: float = 60, version: str = "", **wanted: str | float) -> ClusterState:
    """Judge what was recorded as name, the host's addresses those of another where that is said."""
    found = recorded(f"{addresses or name}.addresses")
    asked = Wanted(ADDRESS, float(wanted.get("settled", 0)), str(wanted.get("config_version", "")))
    return assess(recorded(f"{name}.json"), found, version, since(name) + age, asked)


def test_the_host_that_has_the_address() -> None:
    state = judged("master", settled=2)
    assert state.healthy, state.problems
    member = state.members[0]
    assert (member["state"], member["holds"], member["interface"], member["name"]) == ("MASTER", True, "eth0", "neural")
    assert state.result()["address"] == ADDRESS


def test_a_host_that_is_ready() -> None:
    state = judged("backup", settled=2)
    assert state.healthy, state.problems
    assert (state.members[0]["state"], state.members[0]["holds"]) == ("BACKUP", False)


def test_nginx_does_not_answer() -> None:
    state = judged("fault")
    assert [problem.partition(":")[0] for problem in state.problems] == ["keepalived is in state FAULT"]
    assert state.members[0]["holds"] is False


def test_a_state_that_has_just_begun_is_not_settled() -> None:
    state = judged("master", age=0.5, settled=2)
    assert state.problems == ["keepalived is MASTER for 0.5 s only (expected for 2 s)."]
    assert judged("master", age=0.5).healthy


def test_master_without_the_address() -> None:
    state = judged("master", addresses="backup")
    assert state.problems == [f"keepalived is in state MASTER, but the host does not have the address {ADDRESS}."]


def test_backup_with_the_address() -> None:
    state = judged("backup", addresses="master")
    assert state.problems == [f"keepalived is in state BACKUP, but the host has the address {ADDRESS}."]


def test_another_configuration() -> None:
    state = judged("backup", version="aaaa", config_version="bbbb")
    assert state.problems == ["keepalived runs with the configuration aaaa (expected bbbb)."]
    assert state.details["config_version"] == "aaaa"
    assert judged("backup", version="bbbb", config_version="bbbb").healthy


def test_no_answer_of_keepaliveds() -> None:
    state = assess("Killed", recorded("master.addresses"), "", 0, Wanted(ADDRESS))
    assert not state.healthy
    assert "found 'Killed', expected" in state.problems[0]
    assert state.members == [{"state": "", "holds": True}]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '[{"data": {}}]', '[{"data": {"state": "x"}}]'])
def test_what_is_no_state(text: str) -> None:
    with pytest.raises(KeepalivedError, match="expected is the state of an instance"):
        parse_state(text)


def test_an_address_is_not_the_beginning_of_another() -> None:
    assert has_address(recorded("master.addresses"), ADDRESS)
    assert not has_address(recorded("master.addresses"), "192.0.2.1")
    assert not has_address(recorded("backup.addresses"), ADDRESS)


def test_the_container_and_the_host_are_asked() -> None:
    asked = []

    def run(command: list[str]) -> str:
        asked.append(command)
        if command[0] == "ip":
            return recorded("master.addresses")
        return "abcd\n" if command[-1] == "version" else recorded("master.json")

    state = read_state(run, "name", Wanted(ADDRESS, config_version="abcd"), lambda: since("master") + 60)
    assert state.healthy, state.problems
    assert asked[1:] == [
        ["docker", "exec", "name", "keepalived-state", "version"],
        ["docker", "exec", "name", "keepalived-state"],
    ]


def test_a_container_that_is_not_there_may_have_left_the_address() -> None:
    def run(command: list[str]) -> str:
        if command[0] == "ip":
            return recorded("master.addresses")
        raise KeepalivedError("No such container: name")

    state = read_state(run, "name", Wanted(ADDRESS), lambda: 0)
    assert state.problems == ["keepalived does not answer: No such container: name."]
    assert state.members[0]["holds"]
