"""Judging Redis and Sentinel, on answers recorded from three real nodes (tests/unit/fixtures/redis)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils import redis_sentinel
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState
from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    Connection,
    FailoverError,
    Node,
    RedisError,
    Target,
    assess,
    configure_sentinel,
    find_master,
    move_master,
    pairs,
    parse_info,
    reload_certificate,
    setting_differences,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "redis"


def recorded(name: str) -> list[Node]:
    nodes = []
    for answers in json.loads((FIXTURES / f"{name}.json").read_text()):
        nodes.append(
            Node(
                name=answers["name"],
                address=answers["address"],
                info=parse_info("\n".join(answers.get("INFO", []))),
                redis_error=answers.get("redis_error", ""),
                sentinel=pairs(answers.get("SENTINEL MASTER", [])),
                sentinel_error=answers.get("sentinel_error", ""),
                quorum_error=answers.get("CKQUORUM", ""),
            )
        )
    return nodes


def state_of(name: str, quorum: int | None = 2) -> ClusterState:
    return assess(recorded(name), 6379, quorum)


def test_healthy_cluster_has_one_master_and_linked_replicas() -> None:
    state = state_of("healthy")
    assert state.healthy, state.problems
    assert state.details["master"] == {"name": "n3", "address": "172.30.77.13", "port": 6379}
    assert [member["role"] for member in state.members] == ["replica", "replica", "master"]
    assert [member["link"] for member in state.members] == ["up", "up", ""]
    assert all(member["version"].startswith("8.") for member in state.members)
    assert all(member["sentinel"]["sentinels"] == 3 for member in state.members)
    assert state.members[2]["connected_replicas"] == 2
    assert state.members[0]["priority"] == 100
    assert state.members[0]["lag_bytes"] is not None


def test_killed_master_is_no_master_and_its_replicas_have_no_link() -> None:
    problems = state_of("master-killed").problems
    assert "No Redis is master." in problems
    assert any("does not answer" in problem for problem in problems)
    assert sum("has had no link to its master" in problem for problem in problems) == 2


def test_after_the_failover_only_the_dead_node_is_a_problem() -> None:
    state = state_of("one-replica-down")
    assert state.details["master"]["name"] == "n3"
    assert len(state.problems) == 1
    assert "Redis on n1" in state.problems[0]


def test_an_old_master_that_returns_is_a_replica_that_has_no_link_yet() -> None:
    state = state_of("old-master-returns")
    assert state.members[0]["role"] == "replica"
    assert state.problems == ["Redis on n1 (172.30.77.11) has had no link to its master n3 since it started."]


def test_two_masters() -> None:
    state = state_of("two-masters")
    assert "More than one Redis says that it is master: n1, n3." in state.problems
    assert state.details["master"]["name"] == "n3"


def test_a_sentinel_with_another_quorum() -> None:
    assert state_of("quorum-changed").problems == [
        "Sentinel on n1 (172.30.77.11) works with a quorum of 3, expected is 2."
    ]
    assert state_of("quorum-changed", quorum=None).healthy


def test_sentinels_whose_clock_was_set_back_are_blind() -> None:
    problems = state_of("sentinels-after-a-clock-jump").problems
    assert problems[0] == "More than one Redis says that it is master: app1, cache1."
    assert sum("is blind for the next" in problem for problem in problems) == 3


def test_a_sentinel_that_has_stopped_asking() -> None:
    nodes = recorded("healthy")
    nodes[0].sentinel["info-refresh"] = "75000"
    assert assess(nodes, 6379).problems == ["Sentinel on n1 (172.30.77.11) has not asked the master anything for 75 s."]


def test_a_sentinel_that_is_down() -> None:
    problems = state_of("sentinel-down").problems
    assert len(problems) == 1
    assert problems[0].startswith("Sentinel on n2 (172.30.77.12) does not answer")


def test_no_quorum() -> None:
    assert any("finds no quorum" in problem for problem in state_of("no-quorum").problems)


def test_nobody_answers() -> None:
    state = state_of("all-down")
    assert state.details["master"] == {"name": "", "address": "", "port": 0}
    assert len(state.problems) == 7
    assert [member["role"] for member in state.members] == ["unknown"] * 3


def test_a_first_start_is_not_healthy_before_the_sentinels_know_the_replicas() -> None:
    nodes = recorded("healthy")
    nodes[0].sentinel["num-slaves"] = "0"
    nodes[1].sentinel["num-other-sentinels"] = "1"
    assert assess(nodes, 6379).problems == [
        "Sentinel on n1 (172.30.77.11) knows 0 replicas, expected are 2.",
        "Sentinel on n2 (172.30.77.12) knows 2 Sentinels, expected are 3.",
    ]


def test_a_replica_of_the_wrong_node() -> None:
    nodes = recorded("healthy")
    nodes[0].info["master_host"] = "172.30.77.12"
    assert assess(nodes, 6379).problems == ["Redis on n1 (172.30.77.11) follows n2, but the master is n3."]


def test_loading_and_a_full_disk() -> None:
    nodes = recorded("healthy")
    nodes[0].info["loading"] = "1"
    nodes[2].info["aof_last_write_status"] = "err"
    assert assess(nodes, 6379).problems == [
        "Redis on n1 (172.30.77.11) is still loading its data.",
        "Redis on n3 (172.30.77.13) cannot write its append-only file.",
    ]


def test_the_newest_configuration_names_the_master() -> None:
    nodes = recorded("healthy")
    nodes[1].sentinel.update({"ip": "172.30.77.11", "config-epoch": "7"})
    assert find_master(nodes) == "172.30.77.11"


def test_without_sentinels_the_only_master_is_the_master() -> None:
    nodes = recorded("healthy")
    for node in nodes:
        node.sentinel = {}
    assert find_master(nodes) == "172.30.77.13"
    nodes[0].info["role"] = "master"
    assert find_master(nodes) == ""


def test_settings_that_differ() -> None:
    view = recorded("quorum-changed")[0].sentinel
    wanted = {"quorum": 2, "down_after_milliseconds": 5000, "parallel_syncs": 1}
    assert setting_differences(view, wanted) == {"quorum": ("3", "2"), "down-after-milliseconds": ("4000", "5000")}
    assert setting_differences(recorded("healthy")[0].sentinel, {"quorum": 2}) == {}


class Server:
    """A server that answers each connection with prepared bytes, and keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.asked = b""
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _address = self._listener.accept()
        with peer:
            for answer in self._answers:
                self.asked += peer.recv(4096)
                peer.sendall(answer)
        self._listener.close()


def test_connection_speaks_resp() -> None:
    server = Server(b"+OK\r\n", b"*4\r\n$2\r\nip\r\n$-1\r\n:7\r\n*-1\r\n", b"-ERR no\r\n", b"$5\r\nab")
    with Connection("127.0.0.1", server.port, None, "se cret", 2) as connection:
        assert server.asked == b"*2\r\n$4\r\nAUTH\r\n$7\r\nse cret\r\n"
        assert connection.command("PING") == ["ip", None, 7, None]
        with pytest.raises(RedisError, match="ERR no"):
            connection.command("PING")
        with pytest.raises(ConnectionError):
            connection.command("PING")


def test_connection_refuses_what_is_no_redis() -> None:
    server = Server(b"HTTP/1.1 400 Bad Request\r\n")
    with (
        Connection("127.0.0.1", server.port, None, None, 2) as connection,
        pytest.raises(ConnectionError, match="not an answer"),
    ):
        connection.command("PING")


class Fake:
    """Stands for the connections to a small cluster: old master a, replica b, one Sentinel."""

    def __init__(self, *, offset: int = 100, promotes: bool = True) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.offset = offset
        self.promotes = promotes
        self.master = "a"
        self.unnoticed = ""
        self.priorities = {"b": "100", "c": "100"}

    def connection(self, address: str, port: int, *_rest: Any) -> FakeConnection:
        return FakeConnection(self, address, port)


class FakeConnection:
    def __init__(self, cluster: Fake, address: str, port: int) -> None:
        self.cluster, self.address, self.port = cluster, address, port

    def __enter__(self) -> FakeConnection:
        return self

    def __exit__(self, *_details: object) -> None:
        return

    def command(self, *words: str) -> Any:
        cluster = self.cluster
        cluster.asked.append((f"{self.address}:{self.port}", words))
        if words[0] == "INFO":
            return (
                "role:master\r\nmaster_repl_offset:100\r\n"
                f"slave0:ip=b,port=6379,state=online,offset={cluster.offset},lag=0\r\n"
            )
        if words[:2] == ("SENTINEL", "FAILOVER") and cluster.promotes:
            cluster.master = "b"
        if words[:2] == ("SENTINEL", "GET-MASTER-ADDR-BY-NAME"):
            return [cluster.master, "6379"]
        if words[:2] == ("SENTINEL", "MASTER"):
            return ["ip", "a", "quorum", "2", "down-after-milliseconds", "30000"]
        if words[:2] == ("SENTINEL", "REPLICAS"):
            return [["ip", ip, "slave-priority", priority] for ip, priority in cluster.priorities.items()]
        if words[:2] == ("CONFIG", "GET"):
            return ["replica-priority", cluster.priorities[self.address]]
        if words[:2] == ("CONFIG", "SET"):
            cluster.priorities[self.address] = words[3]
        if words[0] == "ROLE":
            return ["master" if self.address in (cluster.master, cluster.unnoticed) else "slave"]
        return "OK"


def target_of(monkeypatch: pytest.MonkeyPatch, cluster: Fake) -> Target:
    monkeypatch.setattr(redis_sentinel, "Connection", cluster.connection)
    return Target({"one": "a", "two": "b"}, 6379, 26379, "neural-redis", "secret", None, 1)


def test_the_master_moves_only_after_a_replica_has_every_write(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Fake()
    assert move_master(target_of(monkeypatch, cluster), "a", 5) == "b"
    told = [words for where, words in cluster.asked if where == "a:6379"]
    assert told[0][:2] == ("CLIENT", "PAUSE")
    assert told[-2:] == [("REPLICAOF", "b", "6379"), ("CLIENT", "UNPAUSE")]


def test_the_master_moves_to_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Fake()
    assert move_master(target_of(monkeypatch, cluster), "a", 5, "b") == "b"
    asked = [words for _where, words in cluster.asked]
    assert asked.index(("CONFIG", "SET", "replica-priority", "1")) < asked.index(("CLIENT", "PAUSE", "20000", "WRITE"))
    assert cluster.priorities == {"b": "100", "c": "100"}


def test_a_candidate_that_sentinel_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sentinel, "PRIORITY_SECONDS", 0.3)
    cluster = Fake()
    cluster.priorities["d"] = "100"
    target = target_of(monkeypatch, cluster)
    monkeypatch.setattr(FakeConnection, "command", without_replica("d", FakeConnection.command))
    with pytest.raises(FailoverError, match="does not know d as a replica"):
        move_master(target, "a", 5, "d")
    assert cluster.priorities["d"] == "100"
    assert all(words[:2] != ("CLIENT", "PAUSE") for _where, words in cluster.asked)


def without_replica(address: str, command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command of a connection whose Sentinel does not list a replica."""

    def answer(self: FakeConnection, *words: str) -> Any:
        found = command(self, *words)
        return [row for row in found if row[1] != address] if words[:2] == ("SENTINEL", "REPLICAS") else found

    return answer


def test_the_master_stays_when_no_replica_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Fake(offset=90)
    with pytest.raises(FailoverError, match="no replica caught up"):
        move_master(target_of(monkeypatch, cluster), "a", 0.3)
    asked = [words for _where, words in cluster.asked]
    assert ("SENTINEL", "FAILOVER", "neural-redis") not in asked
    assert asked[-1] == ("CLIENT", "UNPAUSE")


def test_a_promotion_that_nobody_notices_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Fake(promotes=False)
    cluster.unnoticed = "b"
    with pytest.raises(FailoverError, match="b, promoted without being noticed, follows it again"):
        move_master(target_of(monkeypatch, cluster), "a", 0.3)
    assert ("b:6379", ("REPLICAOF", "a", "6379")) in cluster.asked


def test_a_promotion_that_does_not_come_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Fake(promotes=False)
    with pytest.raises(FailoverError, match="noticed no promotion"):
        move_master(target_of(monkeypatch, cluster), "a", 0.3)
    assert cluster.asked[-1][1] == ("CLIENT", "UNPAUSE")


@pytest.mark.parametrize("check_mode", [True, False])
def test_sentinel_is_told_only_what_differs(monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    cluster = Fake()
    wanted = {"quorum": 2, "down_after_milliseconds": 5000}
    found = configure_sentinel(target_of(monkeypatch, cluster), "a", wanted, check_mode)
    assert found == {"down-after-milliseconds": ("30000", "5000")}
    told = [words for _where, words in cluster.asked if words[:2] == ("SENTINEL", "SET")]
    assert told == ([] if check_mode else [("SENTINEL", "SET", "neural-redis", "down-after-milliseconds", "5000")])


class OneRedis:
    """A Redis that presents a certificate, and another one when it was told to read its files."""

    def __init__(self, certificate: str, then: str) -> None:
        self.certificate = certificate
        self.then = then
        self.commands: list[tuple[str, ...]] = []

    def __enter__(self) -> OneRedis:
        return self

    def __exit__(self, *_details: object) -> None:
        pass

    def redis(self, _address: str) -> OneRedis:
        return self

    def command(self, *words: str) -> str:
        self.commands.append(words)
        self.certificate = self.then
        return "OK"


def test_redis_reads_its_files_where_it_presents_another_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sentinel, "read_der", lambda _path: b"new")
    new = redis_sentinel.fingerprint(b"new")
    files = {"tls-cert-file": "host.crt", "tls-key-file": "host.key", "tls-ca-cert-file": "ca.crt"}

    redis: Any = OneRedis(new, new)
    assert reload_certificate(redis, "192.0.2.11", files, check_mode=False) == (False, new)
    assert redis.commands == []

    redis = OneRedis("old", new)
    assert reload_certificate(redis, "192.0.2.11", files, check_mode=True) == (True, "old")
    assert redis.commands == []
    assert reload_certificate(redis, "192.0.2.11", files, check_mode=False) == (True, new)
    assert redis.commands == [
        ("CONFIG", "SET", "tls-cert-file", "host.crt", "tls-key-file", "host.key", "tls-ca-cert-file", "ca.crt")
    ]

    redis = OneRedis("old", "old")
    with pytest.raises(RedisError, match=r"another certificate than that of host\.crt"):
        reload_certificate(redis, "192.0.2.11", files, check_mode=False)
