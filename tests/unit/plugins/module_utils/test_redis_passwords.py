"""Changing the passwords of three Redis and three Sentinels, which are stood in for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils import redis_sentinel
from ansible_collections.neural.platform.plugins.module_utils.redis_passwords import (
    PasswordsError,
    change_passwords,
    hashed,
)
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import RedisError, Target

MEMBERS = {"n1": "a", "n2": "b", "n3": "c"}


class Cluster:
    """What every server takes and logs in with, and after each change whether all of them can still do so."""

    def __init__(self, *passwords: str) -> None:
        self.taken = {f"{address}:{port}": hashed(passwords) for address in "abc" for port in (6379, 26379)}
        self.own = dict.fromkeys(self.taken, passwords[0])
        self.kept = {where: list(found) for where, found in self.taken.items()}
        self.changes = 0
        self.fails_after = 1000

    def changed(self) -> None:
        self.changes += 1
        for password in set(self.own.values()):
            assert all(hashed([password])[0] in found for found in self.taken.values()), "a server is refused"
        if self.changes >= self.fails_after:
            raise OSError("cut off")


class FakeConnection:
    cluster: Cluster

    def __init__(self, address: str, port: int, _tls: None, password: str, _timeout: float) -> None:
        self.where = f"{address}:{port}"
        if hashed([password])[0] not in self.cluster.taken[self.where]:
            raise RedisError("WRONGPASS invalid username-password pair or user is disabled.")

    def close(self) -> None:
        pass

    def command(self, *words: str) -> Any:
        cluster, where = self.cluster, self.where
        match words:
            case ("ACL", "GETUSER", "default"):
                return ["flags", ["on"], "passwords", list(cluster.taken[where]), "commands", "+@all"]
            case ("ACL", "SETUSER", "default", *rules):
                for rule in rules:
                    getattr(cluster.taken[where], {"#": "append", "!": "remove"}[rule[0]])(rule[1:])
                cluster.changed()
            case ("SENTINEL", "FLUSHCONFIG"):
                assert where.endswith(":26379")
                cluster.kept[where] = list(cluster.taken[where])
            case ("CONFIG", "GET", "masterauth"):
                return ["masterauth", cluster.own[where]]
            case ("CONFIG", "SET", "masterauth", password) | ("SENTINEL", "SET", "neural-redis", "auth-pass", password):
                cluster.own[where] = password
                cluster.changed()
            case ("SENTINEL", "CONFIG", "SET", "sentinel-pass", _password):
                pass
            case _:
                raise AssertionError(words)
        return "OK"


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(redis_sentinel, "Connection", FakeConnection)
    return Target(MEMBERS, 6379, 26379, "neural-redis", None, None, 1)


def test_a_rotation_leaves_nobody_outside(target: Target) -> None:
    cluster = FakeConnection.cluster = Cluster("old")
    assert change_passwords(target, "old", ["new"], False)
    assert all(found == hashed(["old", "new"]) for found in cluster.taken.values())
    assert set(cluster.own.values()) == {"old"}
    assert change_passwords(target, "old", ["new"], False) == []
    assert change_passwords(target, "new", [], False)
    assert all(found == hashed(["new"]) for found in cluster.taken.values())
    assert set(cluster.own.values()) == {"new"}
    assert all(found == hashed(["new"]) for where, found in cluster.kept.items() if where.endswith(":26379"))
    assert change_passwords(target, "new", [], False) == []


def test_check_mode_changes_nothing_and_foretells(target: Target) -> None:
    cluster = FakeConnection.cluster = Cluster("old")
    assert len(change_passwords(target, "old", ["new"], True)) == 6
    # What a run would do afterwards, told without the step before it.
    assert change_passwords(target, "new", ["old"], True)
    assert cluster.changes == 0


@pytest.mark.parametrize("moment", range(1, 19))
def test_a_run_that_is_cut_off_is_taken_up(target: Target, moment: int) -> None:
    cluster = FakeConnection.cluster = Cluster("old")
    for password, others in (("old", ["new"]), ("new", [])):
        cluster.fails_after = cluster.changes + moment
        try:
            change_passwords(target, password, others, False)
        except PasswordsError as error:
            assert "cut off" in str(error)
        cluster.fails_after = 1000
        change_passwords(target, password, others, False)
    assert all(found == hashed(["new"]) for found in cluster.taken.values())
    assert set(cluster.own.values()) == {"new"}


def test_a_server_that_takes_no_password_is_named(target: Target) -> None:
    cluster = FakeConnection.cluster = Cluster("old")
    cluster.taken["b:26379"] = hashed(["another"])
    with pytest.raises(PasswordsError, match=r"Sentinel on n2 \(b\) takes none of the passwords: WRONGPASS"):
        change_passwords(target, "old", ["new"], False)
    assert cluster.changes == 0
