"""Observers: what each PostgreSQL, Redis and HAProxy says of itself, several times a second.

Those of PostgreSQL and Redis sit inside the server and ask its own address, so they go on seeing a server whose network
is cut. A sample ends after `SAMPLE_SECONDS`, whatever the server does.
"""

from __future__ import annotations

import base64
import csv
import time
from abc import abstractmethod
from typing import Any, NamedTuple

import labtools as lab

from resilience import netns
from resilience.clients import (
    FAILURES,
    POSTGRESQL_NAME,
    AnswerError,
    Https,
    HttpsConnection,
    Load,
    Postgres,
    Redis,
    postgresql_parameters,
    remaining,
    tls_connect,
)
from resilience.credentials import Credentials
from resilience.events import Recorder

SAMPLE_SECONDS = 1.4
STEP_SECONDS = 1.0
# Of a question that is asked before others within the same sample.
FIRST_SECONDS = 0.7
PATRONI_PORT, HAPROXY_PORT = 8008, 7000
# A commit may wait for its standby, and is waited for: what gives up and asks anew would fill the server with waiters.
WRITE_SECONDS = 60.0
STATUS = """select pg_is_in_recovery(), case when pg_is_in_recovery() then (pg_control_checkpoint()).timeline_id
else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end"""


class Sampler(Load):
    """One thread that takes a sample every `interval` seconds, or as soon as the one before has ended."""

    what = ""

    def __init__(self, recorder: Recorder, credentials: Credentials, host: str, interval: float) -> None:
        super().__init__(recorder, f"{self.what} of {host}", 1 / interval)
        self.host = host
        self.credentials = credentials
        self.address = lab.address(host)
        self.interval = interval

    @abstractmethod
    def sample(self, begin: float) -> dict[str, Any]:
        """Return the fields of a sample, until `begin` + SAMPLE_SECONDS."""

    def close(self) -> None:
        """Close what is kept from sample to sample."""

    def work(self, number: int) -> None:
        for _tick in self.ticks(self.interval):
            begin = time.monotonic()
            fields = self.sample(begin)
            self.recorder.put("sample", what=self.what, host=self.host, begin=begin, end=time.monotonic(), **fields)
        self.close()


class _Inside(Sampler):
    """A sampler in the server's own network."""

    _refresh = False

    def enter(self) -> None:
        """Be in the server's network; when it is a new one, connections of the old one are none. Raises OSError."""
        if netns.enter(self.host, self._refresh):
            self.close()
        self._refresh = False


class PostgresSampler(_Inside):
    """Asks Patroni and PostgreSQL, and writes a row of its own while PostgreSQL is no standby.

    `acked`: during this sample such a write was acknowledged. A write that waits for a standby is waited for by the
    samples that follow, so there is never more than one. `install_tables()` comes before it.
    """

    what = "postgresql"

    def __init__(self, recorder: Recorder, credentials: Credentials, host: str, interval: float = 0.4) -> None:
        super().__init__(recorder, credentials, host, interval)
        self._context = credentials.context(host)
        self._parameters = postgresql_parameters(credentials, host, self.address)
        self._reader: Postgres | None = None
        self._writer: Postgres | None = None
        self._written: float | None = None

    def close(self) -> None:
        self._close_reader()
        self._close_writer()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._written = None

    def sample(self, begin: float) -> dict[str, Any]:
        deadline = begin + SAMPLE_SECONDS
        found: dict[str, Any] = {"rest": False, "recovery": None, "acked": False, "timeline": None}
        try:
            self.enter()
        except OSError:
            self._refresh = True
            return found
        try:
            found["recovery"], found["timeline"] = self._status(begin + FIRST_SECONDS)
        except FAILURES:
            self._close_reader()
            self._refresh = True
        sent = time.monotonic()
        try:
            if found["recovery"] is False and self._written is None:
                self._send(sent, min(deadline, sent + STEP_SECONDS))
        except FAILURES:
            self._close_writer()
        try:
            found["rest"] = self._rest(min(deadline, time.monotonic() + FIRST_SECONDS))
        except FAILURES:
            self._refresh = True
        written = self._written
        if self._writer is not None and written is not None:
            try:
                # What has been answered already is read even when no time is left.
                self._writer.answer(max(min(deadline, sent + STEP_SECONDS), time.monotonic() + 0.01))
                found["acked"] = True
                self._written = None
            except TimeoutError:
                if time.monotonic() - written > WRITE_SECONDS:
                    self._close_writer()
            except FAILURES:
                self._close_writer()
        return found

    def _status(self, deadline: float) -> tuple[bool, int | None]:
        if self._reader is None:
            self._reader = Postgres(self._parameters, deadline)
        recovery, timeline = self._reader.query(STATUS, deadline)[0]
        return recovery == "t", None if timeline is None else int(timeline)

    def _send(self, now: float, deadline: float) -> None:
        if self._writer is None:
            self._writer = Postgres(self._parameters, deadline)
        self._writer.send(
            f"insert into resilience_probe values ('{self.host}', {time.monotonic_ns()}) "
            "on conflict (host) do update set number = excluded.number",
            deadline,
        )
        self._written = now

    def _rest(self, deadline: float) -> bool:
        with tls_connect(self.address, PATRONI_PORT, self._context, POSTGRESQL_NAME, deadline) as connection:
            connection.settimeout(remaining(deadline))
            connection.sendall(b"OPTIONS /primary HTTP/1.0\r\n\r\n")
            return connection.recv(4096).split(b" ", 2)[1:2] == [b"200"]


class RedisSampler(_Inside):
    """Asks Redis for its role and sets a key of its own."""

    what = "redis"

    def __init__(self, recorder: Recorder, credentials: Credentials, host: str, interval: float = 0.3) -> None:
        super().__init__(recorder, credentials, host, interval)
        self._context = credentials.context(host)
        self._password = credentials.secret("neural_redis_password")
        self._connection: Redis | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def sample(self, begin: float) -> dict[str, Any]:
        found: dict[str, Any] = {"role": None, "acked": False, "replication_id": None}
        deadline = begin + STEP_SECONDS
        try:
            self.enter()
            if self._connection is None:
                self._connection = Redis(self.address, self._context, self._password, deadline)
            said, done = self._connection.pipeline(
                deadline,
                ("INFO", "replication"),
                ("SET", f"resilience:probe:{self.host}", time.monotonic_ns(), "EX", 60),
            )
            if isinstance(said, AnswerError):
                raise said
            info = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
            found = {
                "role": info.get("role"),
                "acked": done == "OK",
                "replication_id": info.get("master_replid"),
            }
        except FAILURES:
            self.close()
            self._refresh = True
        return found


class HaproxyView(NamedTuple):
    """The servers that a HAProxy holds for up."""

    primary: list[str]
    master: list[str]


class HaproxySampler(Sampler):
    """Reads the statistics of a HAProxy, from outside of the servers."""

    what = "haproxy"

    def __init__(self, recorder: Recorder, credentials: Credentials, host: str, interval: float = 0.5) -> None:
        super().__init__(recorder, credentials, host, interval)
        self._connection = _statistics(credentials, host)

    def close(self) -> None:
        self._connection.close()

    def sample(self, begin: float) -> dict[str, Any]:
        deadline = begin + STEP_SECONDS
        for reused in (self._connection.open, False):
            try:
                return _view(self._connection, deadline)._asdict()
            except FAILURES:
                if not reused:
                    break
        return {"primary": None, "master": None}


def _statistics(credentials: Credentials, host: str) -> HttpsConnection:
    secret = credentials.secret("neural_haproxy_stats_password")
    basic = base64.b64encode(f"neural:{secret}".encode()).decode()
    url = f"https://{lab.address(host)}:{HAPROXY_PORT}"
    return Https(url, lab.INVENTORY / "ca.crt", {"Authorization": f"Basic {basic}"}).connection()


def _view(connection: HttpsConnection, deadline: float) -> HaproxyView:
    status, _headers, body = connection.request("GET", "/;csv;norefresh", deadline)
    if status != 200:
        raise AnswerError(f"the statistics answer with {status}")
    return parse_statistics(body.decode())


def parse_statistics(text: str) -> HaproxyView:
    """Return which servers are up in the backends of the primary and the master, from HAProxy's CSV."""
    up: dict[str, list[str]] = {"postgresql_primary": [], "redis_master": []}
    for row in csv.DictReader(text.removeprefix("# ").splitlines()):
        # "UP 1/2" still takes connections.
        if row["pxname"] in up and row["svname"] not in ("BACKEND", "FRONTEND") and row["status"].startswith("UP"):
            up[row["pxname"]].append(row["svname"])
    return HaproxyView(up["postgresql_primary"], up["redis_master"])


def haproxy_view(credentials: Credentials, host: str, seconds: float = 2.0) -> HaproxyView:
    """Ask a HAProxy once. Raises OSError."""
    connection = _statistics(credentials, host)
    try:
        return _view(connection, time.monotonic() + seconds)
    finally:
        connection.close()
