"""The deploy lock: what an etcd said to the very requests, and who may take a lock over."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils import deploy_lock
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import (
    Holder,
    Lock,
    duration,
    parse_time,
    read_lock,
    refusal,
    release_lock,
    take_lock,
    takeover,
    takeover_reason,
)
from ansible_collections.neural.platform.plugins.module_utils.etcd import Endpoints, EtcdError

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "deploy" / "etcd.json").read_text())
ENDPOINTS = Endpoints({"app1": "192.0.2.11", "app3": "192.0.2.13"}, 2379, 0, None)
KEY = "/neural/neural/deploy-lock"
ALICE = Holder(
    who="alice",
    controller="admin1",
    controller_boot_id="5d0e4a1e-8ad3-4a4c-8c6b-6d7a3a0f2b11",
    controller_pid_namespace="pid:[4026531836]",
    pid=4711,
    pid_started="123456",
    playbook="site",
    what="site.yml",
    since="2026-01-31T12:00:00Z",
    run="run-a",
)
BOB = replace(ALICE, who="bob", what="etcd.yml --limit app2", run="run-b")
NOW = datetime.datetime(2026, 1, 31, 13, 5, tzinfo=datetime.UTC)


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Replay what etcd said, after asserting that it is asked the same; members in silent do not answer."""

    def replay(name: str, silent: tuple[str, ...] = ()) -> list[str]:
        left, asked = [*RECORDED[name]], []

        def ask(_endpoints: Endpoints, member: str, path: str, body: dict[str, Any]) -> Any:
            asked.append(member)
            if member in silent:
                raise EtcdError("no answer in time")
            exchange = left.pop(0)
            assert (path, body) == (exchange["path"], exchange["request"])
            if exchange["status"] >= 400:
                raise EtcdError(exchange["answer"]["message"])
            return exchange["answer"]

        monkeypatch.setattr(deploy_lock, "ask", ask)
        return asked

    return replay


def test_a_free_lock_is_taken(etcd: Callable[..., list[str]]) -> None:
    etcd("read_free")
    assert read_lock(ENDPOINTS, KEY) is None
    etcd("taken")
    assert take_lock(ENDPOINTS, KEY, ALICE) == Lock(2, ALICE)


def test_a_lock_that_is_held_is_not_taken(etcd: Callable[..., list[str]]) -> None:
    etcd("held")
    assert take_lock(ENDPOINTS, KEY, BOB) == Lock(2, ALICE)
    etcd("read_held")
    assert read_lock(ENDPOINTS, KEY) == Lock(2, ALICE)


def test_a_member_that_is_silent_is_passed_over(etcd: Callable[..., list[str]]) -> None:
    asked = etcd("taken", silent=("app1",))
    assert take_lock(ENDPOINTS, KEY, ALICE) == Lock(2, ALICE)
    assert asked == ["app1", "app3"]


def test_a_lost_answer_does_no_harm(etcd: Callable[..., list[str]]) -> None:
    """The first member took the lock and its answer was lost: the second one finds this run's own."""
    etcd("held", silent=("app1",))
    assert take_lock(ENDPOINTS, KEY, BOB).holder.run == ALICE.run


def test_an_etcd_that_does_not_answer_is_told_with_all_reasons(etcd: Callable[..., list[str]]) -> None:
    etcd("taken", silent=("app1", "app3"))
    with pytest.raises(EtcdError, match=r"^app1: no answer in time; app3: no answer in time$"):
        take_lock(ENDPOINTS, KEY, ALICE)


def test_an_etcd_without_space_is_told(etcd: Callable[..., list[str]]) -> None:
    etcd("no_space", silent=("app1",))
    with pytest.raises(EtcdError, match="app3: etcdserver: mvcc: database space exceeded"):
        take_lock(ENDPOINTS, KEY, ALICE)


def test_a_lock_is_taken_over_where_it_is_still_the_same(etcd: Callable[..., list[str]]) -> None:
    etcd("taken_over")
    assert take_lock(ENDPOINTS, KEY, BOB, revision=2) == Lock(3, BOB)
    etcd("taken_over_too_late")
    assert take_lock(ENDPOINTS, KEY, ALICE, revision=2) == Lock(3, BOB)
    etcd("taken_over_after_release")
    assert take_lock(ENDPOINTS, KEY, ALICE, revision=3) == Lock(5, ALICE)


def test_only_the_own_lock_is_released(etcd: Callable[..., list[str]]) -> None:
    etcd("released_too_late")
    assert release_lock(ENDPOINTS, KEY, 2) == Lock(3, BOB)
    etcd("released")
    assert release_lock(ENDPOINTS, KEY, 3) is None
    etcd("released_again")
    assert release_lock(ENDPOINTS, KEY, 3) is None


def test_a_value_of_another_kind_is_an_unknown_holder(etcd: Callable[..., list[str]]) -> None:
    etcd("held_by_unknown")
    lock = take_lock(ENDPOINTS, KEY, BOB)
    assert lock.holder == Holder()
    assert lock.holder.described(NOW) == (
        "somebody unknown on an unknown host, running something unknown since an unknown time"
    )


@pytest.mark.parametrize("text", ["", "[]", "null", '{"pid": "4711", "who": 3, "since": null, "more": 1}'])
def test_what_a_holder_lacks_is_empty(text: str) -> None:
    assert Holder.from_json(text) == Holder()


def test_a_holder_survives_its_json() -> None:
    assert Holder.from_json(ALICE.to_json()) == ALICE


def test_a_holder_is_described_without_control_characters() -> None:
    assert "\x1b" not in replace(ALICE, who="al\x1b[2Jice").described(NOW)


# --- whether a lock is stale -------------------------------------------------------------------------------------

ELSEWHERE = replace(ALICE, controller="admin2")
REBOOTED = replace(ALICE, controller_boot_id="another")
CONTAINER = replace(ALICE, controller_pid_namespace="pid:[4026532001]")
LONG_AGO = "2026-01-31T11:00:00Z"


@pytest.mark.parametrize(
    ("holder", "lives", "force", "reason"),
    [
        (ALICE, True, False, ""),
        (replace(ALICE, since=LONG_AGO), True, False, ""),
        (ALICE, True, True, "deploy_lock_force is set"),
        (ALICE, False, False, "that process has ended"),
        (ELSEWHERE, False, False, ""),
        (REBOOTED, False, False, ""),
        (CONTAINER, False, False, ""),
        (ELSEWHERE, False, True, "deploy_lock_force is set"),
        (replace(ELSEWHERE, since=LONG_AGO), True, False, "that is longer than deploy_lock_timeout (7200 s)"),
        (replace(ELSEWHERE, since="2026-02-01T00:00:00Z"), True, False, ""),
        (Holder(), False, False, ""),
        (Holder(), False, True, "deploy_lock_force is set"),
    ],
)
def test_who_may_be_taken_over(holder: Holder, lives: bool, force: bool, reason: str) -> None:
    assert takeover_reason(holder, BOB, lambda _holder: lives, NOW, 7200, force) == reason


def test_controllers_that_cannot_tell_are_not_the_same() -> None:
    blind = replace(ALICE, controller_boot_id="", controller_pid_namespace="")
    assert not blind.same_controller(blind)
    assert not blind.same_process(blind)


def test_the_same_process_is_known() -> None:
    assert ALICE.same_process(BOB)
    assert not ALICE.same_process(replace(BOB, pid=4712))
    assert not ALICE.same_process(replace(BOB, pid_started="123457"))


def test_a_refusal_says_who_from_where_with_what_since_when_and_what_to_do() -> None:
    assert refusal(ALICE, BOB, NOW, 7200) == (
        "The deploy lock is held by alice on admin1, running site.yml since 2026-01-31T12:00:00Z, for 65 min:"
        " wait until that run has ended (process 4711 of this controller),"
        " or take the lock over with -e deploy_lock_force=true if you know that it is dead."
    )
    assert "(its lock counts as stale after 7200 s, deploy_lock_timeout)" in refusal(ELSEWHERE, BOB, NOW, 7200)


def test_a_takeover_is_told() -> None:
    assert takeover(ALICE, "that process has ended", NOW) == (
        "The deploy lock is taken over from alice on admin1, running site.yml since 2026-01-31T12:00:00Z, for 65 min:"
        " that process has ended."
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z"])
def test_what_is_no_time(text: str) -> None:
    assert parse_time(text) is None
