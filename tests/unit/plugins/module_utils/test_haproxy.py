"""Judging and reloading HAProxy, on answers recorded from real ones (tests/unit/fixtures/haproxy)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.neural.platform.plugins.module_utils.haproxy import (
    Expectation,
    HAProxyError,
    ask,
    assess,
    find_server,
    parse_admin_states,
    parse_ejections,
    parse_info,
    parse_stat,
    read_state,
    reload,
    running_description,
    wait_for_description,
    wanted_admin_state,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "haproxy"
PRIMARY = Expectation("postgresql_primary", 1, 1)
REDIS = Expectation("redis_master", 1, 1)


def recorded(name: str) -> str:
    return (FIXTURES / name).read_text()


def test_healthy() -> None:
    state = assess(parse_stat(recorded("stat-healthy.csv")), [PRIMARY, REDIS, Expectation("postgresql_replicas", 1)])
    assert state.healthy, state.problems
    backends = {member["name"]: member for member in state.members}
    assert sorted(backends) == ["api", "dashboard", "postgresql_primary", "postgresql_replicas", "redis_master"]
    assert [server["name"] for server in backends["redis_master"]["servers"] if server["up"]] == ["app1"]
    assert backends["api"]["status"] == "DOWN"
    assert [server["name"] for server in backends["api"]["servers"]] == ["slot1", "slot2", "slot3", "slot4"]


def test_too_few_servers_are_named_with_the_result_of_their_check() -> None:
    state = assess(parse_stat(recorded("stat-healthy.csv")), [Expectation("api", 2)])
    assert state.problems == [
        "Backend api has 0 of 4 servers up, expected are at least 2: slot1 DOWN (Connection refused), "
        "slot2 DOWN (Connection refused), slot3 DOWN (Connection refused), slot4 DOWN (Connection refused)."
    ]


def test_just_started_two_masters_are_one_too_many() -> None:
    state = assess(parse_stat(recorded("stat-just-started.csv")), [REDIS])
    assert len(state.problems) == 1
    assert "Backend redis_master has 2 of 3 servers up, expected are exactly 1" in state.problems[0]
    assert "n2 UP 1/2" in state.problems[0]


def test_databases_down() -> None:
    state = assess(parse_stat(recorded("stat-databases-down.csv")), [PRIMARY, REDIS])
    assert len(state.problems) == 2
    assert all("0 of 3 servers up" in problem for problem in state.problems)


def test_a_backend_that_is_not_there() -> None:
    state = assess(parse_stat(recorded("stat-healthy.csv")), [Expectation("mysql", 1)])
    assert state.problems == [
        "There is no backend mysql; there are: api, dashboard, postgresql_primary, postgresql_replicas, redis_master."
    ]


def test_how_an_expectation_is_said() -> None:
    assert [str(Expectation("x", 1, 1)), str(Expectation("x", 2)), str(Expectation("x", 1, 3))] == [
        "exactly 1",
        "at least 2",
        "1 to 3",
    ]
    assert Expectation.from_params([{"name": "x", "minimum": 1, "maximum": None}]) == [Expectation("x", 1)]


def test_what_is_no_csv_is_a_problem() -> None:
    (problem,) = read_state(lambda: recorded("unknown-command.txt"), []).problems
    assert problem.startswith("HAProxy does not answer: found \"Unknown command: 'nonsense'")
    assert problem.endswith("expected are statistics in CSV.")


def test_a_socket_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    state = read_state(lambda: ask(str(tmp_path / "admin.sock"), "show stat", 1), [])
    assert not state.healthy
    assert "No such file" in state.problems[0]


def test_info() -> None:
    info = parse_info(recorded("info.txt"))
    assert info["Name"] == "HAProxy"
    assert info["Version"].startswith("3.0.")
    assert info["description"].startswith("neural ")


class RuntimeSocket:
    """A runtime socket that answers commands with what is prepared for them, and remembers them.

    And what the file `watched` held when it was asked, if there is one.
    """

    def __init__(self, path: Path, answers: dict[str, str], watched: Path | None = None) -> None:
        self.path, self.answers, self.asked = str(path), answers, list[str]()
        self.watched, self.seen = watched, ""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self._listener.accept()
            except OSError:
                return
            with peer:
                command = peer.recv(4096).decode().strip()
                self.asked.append(command)
                self.seen = self.watched.read_text() if self.watched else ""
                peer.sendall(self.answers[command].encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[RuntimeSocket]:
    server = RuntimeSocket(
        tmp_path / "admin.sock",
        {"show info": recorded("info.txt"), "show servers state": recorded("servers-state.txt")},
    )
    yield server
    server.close()


def test_reload_keeps_the_servers_states_for_this_once(tmp_path: Path, admin: RuntimeSocket) -> None:
    states = tmp_path / "server-state"
    answers = {"reload": "Success=1\n--\n[NOTICE] Loading success.\n"}
    master = RuntimeSocket(tmp_path / "master.sock", answers, states)
    assert reload(admin.path, master.path, str(states), 2) == "[NOTICE] Loading success."
    assert master.seen == recorded("servers-state.txt")
    assert states.read_text() == "1\n"
    master.close()


def test_a_refused_configuration_is_said_in_haproxys_words(tmp_path: Path, admin: RuntimeSocket) -> None:
    answer = "Success=0\n--\n[ALERT]    (1) : config : parsing [haproxy.cfg:5] : unknown keyword 'nonsense'\n"
    master = RuntimeSocket(tmp_path / "master.sock", {"reload": answer})
    with pytest.raises(HAProxyError, match="unknown keyword"):
        reload(admin.path, master.path, str(tmp_path / "server-state"), 2)
    master.close()


def test_description(admin: RuntimeSocket) -> None:
    description = running_description(admin.path, 2)
    assert wait_for_description(description, admin.path, 1)
    assert not wait_for_description("another", admin.path, 0.3)
    assert admin.asked[0] == "show info"


def test_administrative_states() -> None:
    found = parse_admin_states(recorded("servers-state.txt"), "api")
    assert found == {"slot1": 0, "slot2": 0, "slot3": 0, "slot4": 0}
    with pytest.raises(HAProxyError):
        parse_admin_states("Unknown command.", "api")


@pytest.mark.parametrize(
    ("found", "ready", "drained"), [(0, True, False), (0x08, False, True), (0x01, False, False), (0x09, False, False)]
)
def test_wanted_administrative_state(found: int, ready: bool, drained: bool) -> None:
    assert wanted_admin_state(found, "ready") is ready
    assert wanted_admin_state(found, "drain") is drained


def test_one_server() -> None:
    rows = parse_stat(recorded("stat-healthy.csv"))
    assert find_server(rows, "redis_master", "app1")["status"] == "UP"
    with pytest.raises(HAProxyError, match=r"backend api has no server slot9; it has: slot1, slot2, slot3, slot4"):
        find_server(rows, "api", "slot9")


def with_ejected(name: str) -> list[dict[str, str]]:
    """Return recorded statistics, with an instance of the API that runs and has no weight, and another that runs."""
    rows = parse_stat(recorded("stat-healthy.csv"))
    for row in rows:
        if row["pxname"] == "api" and row["svname"] in (name, "slot2"):
            row.update(status="UP", check_status="L7OK", last_chk="HTTP status check returned code <200>")
            row["uweight"] = "0" if row["svname"] == name else "1"
    return rows


def test_an_ejected_instance_is_a_problem_that_says_when_it_is_back() -> None:
    state = assess(with_ejected("slot1"), [Expectation("api", 1)], {"slot1": 12})
    assert state.problems == ["Backend api: slot1 ejected by the circuit breaker, back in 12 s."]
    api = next(member for member in state.members if member["name"] == "api")
    assert (api["up"], [server["name"] for server in api["servers"] if server["ejected"]]) == (1, ["slot1"])


def test_an_ejected_instance_is_no_problem_where_the_api_is_not_asked_for() -> None:
    assert assess(with_ejected("slot1"), [PRIMARY]).healthy


def test_too_few_servers_because_one_is_ejected() -> None:
    (problem,) = assess(with_ejected("slot1"), [Expectation("api", 2)]).problems
    assert problem.startswith(
        "Backend api has 1 of 4 servers up, expected are at least 2: slot1 ejected by the circuit breaker, slot2 UP ("
    )


def test_ejections_as_the_circuit_breaker_tells_them() -> None:
    assert parse_ejections("slot1 12\nslot3 0\n\n") == {"slot1": 12, "slot3": 0}
    assert parse_ejections("\n") == {}
    assert parse_ejections(recorded("unknown-command.txt")) == {}
