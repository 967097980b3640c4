"""How requests are spread over the hosts, by each method, and what the circuit breaker does to instances that fail.

`build/rolling/balancing.md` is the table of docs/operations/load-balancing.md.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import labtools as lab
import pytest

from resilience.credentials import Credentials, members
from resilience.drills import Stage, wait_for
from resilience.health import virtual_address
from rolling.conftest import OUTPUT
from rolling.standin import StandIn, ask, stand_ins

HOSTS = members("neural_api")
REQUESTS = 300
HAPROXY_PORT = 8000
EJECTED_SECONDS, TOLERANCE = 30, 2


def status_of(address: str, port: int, context: ssl.SSLContext, path: str = "/health") -> int:
    """Ask once, on a new connection; return the answer's status."""
    connection = http.client.HTTPSConnection(address, port, context=context, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def served(host: str) -> int:
    """Return how many requests a host's HAProxy has given to its instances; health checks are none."""
    header, *lines = ask(host, "show stat").splitlines()
    names = header.removeprefix("# ").split(",")
    rows = (dict(zip(names, line.split(","), strict=False)) for line in lines)
    return next(int(row["stot"]) for row in rows if (row.get("pxname"), row.get("svname")) == ("api", "BACKEND"))


def shares(at_once: int = 1, path: str = "/health") -> dict[str, float]:
    """Send requests through the load balancer; return which share of them each host had, in per cent."""
    context = ssl.create_default_context(cafile=str(lab.INVENTORY / "ca.crt"))
    before = {host: served(host) for host in HOSTS}
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(lambda _n: status_of(virtual_address(), 443, context, path), range(REQUESTS)))
    assert set(found) == {200}
    counts = {host: served(host) - before[host] for host in HOSTS}
    # Somebody else may have asked, too: a few, not many.
    assert REQUESTS <= sum(counts.values()) <= REQUESTS * 1.1, counts
    return {host: 100 * count / sum(counts.values()) for host, count in counts.items()}


def note(method: str, found: dict[str, float]) -> None:
    """Add a line to the table."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    cells = " | ".join(f"{found[host]:.0f} %" for host in HOSTS)
    with (OUTPUT / "balancing.md").open("a") as table:
        table.write(f"| {method} | {cells} |\n")


@pytest.fixture(scope="module", autouse=True)
def original(stage: Stage) -> Iterator[None]:
    """Leave nginx with the inventory's method."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "balancing.md").write_text(f"| method | {' | '.join(HOSTS)} |\n|{'---|' * (len(HOSTS) + 1)}\n")
    stage.health.wait(180)
    yield
    lab.playbook("nginx")
    stage.health.wait(180)


def set_method(method: str, weights: dict[str, int] | None = None) -> None:
    lab.playbook("nginx", "-e", json.dumps({"nginx_method": method, "nginx_weights": weights or {}}))


@pytest.mark.parametrize("method", ["round_robin", "least_conn"])
def test_even(method: str) -> None:
    set_method(method)
    found = shares()
    note(f"`{method}`, one request after the other", found)
    assert all(abs(share - 100 / len(HOSTS)) < 5 for share in found.values()), found


def test_least_conn_spares_a_slow_host() -> None:
    """One of the hosts is slow: with round_robin it gets its third all the same, with least_conn far less."""
    slow = HOSTS[-1]
    found = {}
    with stand_ins([slow], alone=True) as (one,):
        one.be(200, delay=0.3)
        for method in ("round_robin", "least_conn"):
            set_method(method)
            found[method] = shares(at_once=6, path="/ready")
            note(f"`{method}`, six at once, {slow} takes 0.3 s longer", found[method])
    assert abs(found["round_robin"][slow] - 100 / len(HOSTS)) < 5, found
    assert found["least_conn"][slow] < found["round_robin"][slow] / 2, found


def test_ip_hash_keeps_a_client_on_one_host() -> None:
    set_method("ip_hash")
    found = shares()
    note("`ip_hash`, one client", found)
    assert max(found.values()) > 95, found


@pytest.mark.parametrize("method", ["round_robin", "least_conn"])
def test_weights(method: str) -> None:
    weights = {HOSTS[0]: 3}
    set_method(method, weights)
    found = shares()
    note(f"`{method}`, `nginx_weights: {json.dumps(weights)}`", found)
    wanted = {host: 100 * weights.get(host, 1) / (len(HOSTS) + 2) for host in HOSTS}
    assert all(abs(found[host] - share) < 5 for host, share in wanted.items()), found


# --- the circuit breaker ----------------------------------------------------------------------------------------


class Clients:
    """Clients that ask the HAProxy of every host given, each with one request at a time; answers by host."""

    def __init__(self, credentials: Credentials, hosts: tuple[str, ...]) -> None:
        self.statuses: dict[str, list[int]] = {host: [] for host in hosts}
        self._context = credentials.context(hosts[0])
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(host,)) for host in hosts]

    def _ask(self, host: str) -> None:
        while not self._over.wait(0.05):
            self.statuses[host].append(status_of(lab.address(host), HAPROXY_PORT, self._context, "/ready"))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def ejected(one: StandIn) -> bool:
    return f"slot{one.slot} " in ask(one.host, "show circuit-breaker")


def test_an_instance_that_fails_is_ejected_and_comes_back(credentials: Credentials) -> None:
    host = HOSTS[0]
    context = credentials.context(host)
    with stand_ins([host], alone=True) as (one,):
        one.be(500)
        # No other client goes to it: its host is asked directly.
        statuses = [status_of(lab.address(host), HAPROXY_PORT, context, "/ready") for _number in range(4)]
        time.sleep(2)
        assert (statuses, ejected(one)) == ([500] * 4, False)
        assert status_of(lab.address(host), HAPROXY_PORT, context, "/ready") == 500
        wait_for(lambda: ejected(one), 5, "it is ejected after the fifth")
        begin = time.monotonic()
        one.be(200)
        before = int(one.row()["stot"])
        # The only instance of the host that takes requests is out: other hosts answer.
        assert {status_of(lab.address(host), HAPROXY_PORT, context, "/ready") for _number in range(20)} == {200}
        assert int(one.row()["stot"]) == before
        wait_for(lambda: not ejected(one), EJECTED_SECONDS + 10, "it is back")
        seconds = time.monotonic() - begin
        assert abs(seconds - EJECTED_SECONDS) <= TOLERANCE, seconds
        assert status_of(lab.address(host), HAPROXY_PORT, context, "/ready") == 200
        assert int(one.row()["stot"]) > before


def test_never_more_than_half_are_ejected(credentials: Credentials) -> None:
    with stand_ins(HOSTS, alone=True) as made:
        for one in made:
            one.be(500)
        seen = []
        with Clients(credentials, HOSTS), ThreadPoolExecutor(len(made)) as pool:
            begin = time.monotonic()
            while time.monotonic() - begin < EJECTED_SECONDS + 15:
                # Two looks, one after the other: what both see was ejected in between.
                looks = [list(pool.map(ejected, made)) for _look in range(2)]
                seen.append(sum(first and second for first, second in zip(*looks, strict=True)))
        assert max(seen) == len(HOSTS) // 2, seen
