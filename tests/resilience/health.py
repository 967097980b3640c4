"""Whether the platform is well: every service itself is asked, as status.yml does, but within a second."""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import labtools as lab
import redis
import yaml

from resilience import engine, netns
from resilience.clients import FAILURES
from resilience.credentials import Credentials, members
from resilience.samplers import haproxy_view

POLL_SECONDS = 1.0
ASK_SECONDS = 3.0
MASTER = "neural-redis"


class UnhealthyError(AssertionError):
    """The platform did not become well in time; the message says what was not."""


def virtual_address() -> str:
    """Return the address that clients use, as the inventory has it."""
    variables = yaml.safe_load((lab.INVENTORY / "02-addresses.yml").read_text())["all"]["vars"]
    return str(variables["neural_virtual_address"])


class Health:
    """Asks every service. `expected` is learnt by `learn()` from a platform that is well."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.expected: dict[str, set[str]] = {}
        # Kept: a new connection of theirs reads all of the machine's authorities.
        self._redis_clients: dict[tuple[str, int, str], redis.Redis] = {}

    # --- questions --------------------------------------------------------------------------------

    def get(self, url: str, context: ssl.SSLContext | None = None) -> Any:
        """Return the JSON that an HTTPS address answers with."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context or self._credentials.context("app1")),
        )
        with opener.open(url, timeout=ASK_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def containers(self, host: str) -> dict[str, str]:
        """Return the status of a server's containers, by name."""
        try:
            return engine.platform_containers(netns.pid(host), ASK_SECONDS)
        except OSError:
            # A server that was started again is another process.
            return engine.platform_containers(netns.pid(host, refresh=True), ASK_SECONDS)

    def patroni(self) -> list[dict[str, Any]]:
        """Return the members of the PostgreSQL cluster, as the first that answers sees them."""
        failure: Exception = OSError("no member")
        for host in members("patroni"):
            try:
                found: list[dict[str, Any]] = self.get(f"https://{lab.address(host)}:8008/cluster")["members"]
                return found
            except FAILURES as error:
                failure = error
        raise failure

    def settings(self, host: str) -> dict[str, Any]:
        """Return Patroni's dynamic configuration."""
        found: dict[str, Any] = self.get(f"https://{lab.address(host)}:8008/config")
        return found

    def primary(self) -> str:
        """Return the host that leads PostgreSQL."""
        return next(str(member["name"]) for member in self.patroni() if member["role"] == "leader")

    def redis(self, host: str, port: int = 6379) -> redis.Redis:
        """Return the client of a server's Redis or Sentinel; it connects anew where it has to."""
        password = self._credentials.secret("neural_redis_password")
        if (host, port, password) not in self._redis_clients:
            self._redis_clients[host, port, password] = self._redis_client(host, port, password)
        return self._redis_clients[host, port, password]

    def _redis_client(self, host: str, port: int, password: str) -> redis.Redis:
        files = self._credentials.files("app1")
        return redis.Redis(
            host=lab.address(host),
            port=port,
            password=password,
            ssl=True,
            ssl_ca_certs=str(files.ca),
            ssl_certfile=str(files.certificate),
            ssl_keyfile=str(files.key),
            socket_timeout=ASK_SECONDS,
            socket_connect_timeout=1,
            decode_responses=True,
        )

    def master(self) -> str:
        """Return the host that is Redis' master, as the Sentinels say."""
        hosts = {lab.address(host): host for host in lab.HOSTS}
        for host in members("redis"):
            try:
                found = self.redis(host, 26379).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                return hosts[found[0]]
            except redis.RedisError:
                continue
        raise UnhealthyError("no Sentinel names a master")

    def restarts(self) -> dict[str, int]:
        """Return how often each container was started again by its engine, by host/name."""
        found = {}
        for host in lab.HOSTS:
            names = sorted(self.expected[host])
            shown = lab.on(host, "docker", "inspect", "--format", "{{.Name}} {{.RestartCount}}", *names)
            for line in shown.splitlines():
                name, count = line.split()
                found[host + name] = int(count)
        return found

    # --- answers --------------------------------------------------------------------------------

    def learn(self) -> None:
        """Remember which containers each server has."""
        self.expected = {host: set(self.containers(host)) for host in lab.HOSTS}

    def _containers(self, host: str) -> list[str]:
        found = self.containers(host)
        wrong = [f"{host}: {name} {status}" for name, status in found.items() if "(healthy)" not in status]
        return wrong + [f"{host}: no {name}" for name in self.expected.get(host, set()) - set(found)]

    def _etcd(self, host: str) -> list[str]:
        answer = self.get(f"https://{lab.address(host)}:2379/health")
        return [] if answer["health"] == "true" else [f"etcd on {host}: {answer}"]

    def _postgresql(self) -> list[str]:
        found = {str(member["name"]): member for member in self.patroni()}
        roles = sorted(str(member["role"]) for member in found.values())
        wrong = [
            f"PostgreSQL on {name}: {member['role']} {member['state']}"
            for name, member in found.items()
            if member["state"] != ("running" if member["role"] == "leader" else "streaming")
        ]
        if len(found) != len(members("patroni")) or roles.count("leader") != 1:
            return [*wrong, f"PostgreSQL: the members are {roles}, expected are a leader and its replicas"]
        leader = next(name for name, member in found.items() if member["role"] == "leader")
        # With a quorum every replica counts, and only one that counts can be switched to.
        mode = self.settings(leader).get("synchronous_mode")
        wanted = {"quorum": len(found) - 1, True: 1}.get(mode or False, 0)
        synchronous = roles.count("sync_standby") + roles.count("quorum_standby")
        if synchronous < wanted:
            wrong.append(
                f"PostgreSQL: the members are {roles}, expected is {wanted} synchronous (synchronous_mode {mode})"
            )
        return wrong

    def _redis(self) -> list[str]:
        wrong = []
        master = self.master()
        for host in members("redis"):
            role: list[Any] = self.redis(host).execute_command("ROLE")
            if host == master:
                # Of a replica the third word is its master's port.
                replicas = len(role[2]) if role[0] == "master" else 0
                if replicas != len(members("redis")) - 1:
                    wrong.append(f"Redis on {host}: {role[0]} with {replicas} replicas, expected is the master with 2")
            elif role[0] != "slave" or role[1] != lab.address(master) or role[3] != "connected":
                wrong.append(f"Redis on {host}: {role[:4]}, expected is a connected replica of {master}")
            self.redis(host, 26379).execute_command("SENTINEL", "CKQUORUM", MASTER)
        return wrong

    def _haproxy(self, host: str) -> list[str]:
        view = haproxy_view(self._credentials, host)
        wanted = {"primary": [self.primary()], "master": [self.master()]}
        found = {"primary": view.primary, "master": view.master}
        return [] if found == wanted else [f"HAProxy on {host}: {found}, expected {wanted}"]

    def _public_way(self) -> list[str]:
        public = ssl.create_default_context(cafile=str(lab.INVENTORY / "ca.crt"))
        answer = self.get(f"https://{virtual_address()}/ready", public)
        return [] if answer["ready"] else [f"/ready: {answer}"]

    def problems(self) -> list[str]:
        """Return what is not well; nothing when all is."""
        questions: dict[str, Callable[[], list[str]]] = {"PostgreSQL": self._postgresql, "Redis": self._redis}
        for host in lab.HOSTS:
            questions[f"containers of {host}"] = partial(self._containers, host)
        for host in members("etcd"):
            questions[f"etcd on {host}"] = partial(self._etcd, host)
        for host in members("haproxy"):
            questions[f"HAProxy on {host}"] = partial(self._haproxy, host)
        questions["the way through the virtual address"] = self._public_way

        def ask(item: tuple[str, Callable[[], list[str]]]) -> list[str]:
            name, question = item
            try:
                return question()
            except (*FAILURES, redis.RedisError, AssertionError, KeyError, StopIteration, ValueError) as error:
                return [f"{name}: {' '.join(str(error).split())[-200:] or type(error).__name__}"]

        with ThreadPoolExecutor(max_workers=6) as pool:
            return [problem for found in pool.map(ask, questions.items()) for problem in found]

    def wait(self, seconds: float) -> str:
        """Wait until all is well; return what was well last. Raises UnhealthyError with what is not."""
        begin = time.monotonic()
        last: list[str] = []
        while True:
            found = self.problems()
            now = time.monotonic() - begin
            if not found:
                return "; ".join(last)
            last = found
            if now > seconds:
                raise UnhealthyError(f"after {now:.0f} s not well: " + "; ".join(found))
            time.sleep(POLL_SECONDS)


def log_lines(host: str, name: str, lines: int = 30) -> str:
    """Return the end of a container's log, for the person who looks into a failure."""
    done = lab.run("docker", "exec", f"{lab.PREFIX}-{host}", "docker", "logs", "--tail", str(lines), name, check=False)
    return (done.stdout + done.stderr)[-4000:]


def save_logs(directory: Path) -> None:
    """Keep the last lines of every container's log beside a drill that failed."""
    directory.mkdir(parents=True, exist_ok=True)
    for host in lab.HOSTS:
        try:
            names = lab.on(host, "docker", "ps", "--all", "--format", "{{.Names}}", timeout=10).split()
        except AssertionError:
            continue
        for name in names:
            (directory / f"{host}.{name}.log").write_text(log_lines(host, name, 300))
