"""Clients that write (or ask) at a steady rate and remember what was acknowledged, and what became of it.

Every client has `start()`, `stop()` (which waits for attempts under way, so no longer than their time-outs) and, where
it writes, `verdict()`: to be called after `stop()`, when the platform is healthy again.

PostgreSQL and Redis are spoken to through libpq's and Python's non-blocking calls, with deadlines of our own: libpq's
connect_timeout is 2 s at least, and nothing in it bounds an answer (a statement_timeout would end a commit's wait for
its standby, which then looks like success); redis-py's time-outs hold for each read, not for a connection or an answer.
So do those of `requests`, which does not say either whether a connection was a reused one.
"""

from __future__ import annotations

import http.client
import itertools
import json
import select
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import labtools as lab
import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from resilience import netns
from resilience.credentials import Credentials, members
from resilience.events import Recorder

DATABASE, USER = "neural_api", "neural"
POSTGRESQL_NAME, REDIS_NAME = "postgresql.neural.internal", "redis.neural.internal"
POSTGRESQL_PORT, REDIS_PORT = 5432, 6379
CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 2.0
RECONNECT_SECONDS = 0.1
# Keys of a ledger vanish by themselves: nothing has to clean up after a drill that was interrupted.
REDIS_KEY_SECONDS = 6 * 3600
PROGRAM = """network Drill {
  input: (784,)
  layers:
    Dense(128, activation="relu")
    Output(10, activation="softmax")
  loss: "categorical_crossentropy"
  optimizer: "Adam"
}
"""
FAILURES = (OSError, psycopg.Error, http.client.HTTPException)


class AnswerError(OSError):
    """The server answered, and said no."""


def short(error: BaseException) -> str:
    """Say what went wrong in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


def remaining(deadline: float) -> float:
    """Return the seconds that are left. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


# --- connections with deadlines -------------------------------------------------------------------------------


class Postgres:
    """A connection to PostgreSQL whose steps end at a deadline. Raises TimeoutError, AnswerError, psycopg.Error."""

    def __init__(self, parameters: dict[str, Any], deadline: float) -> None:
        self._poll = select.poll()
        self._rows: list[tuple[str | None, ...]] = []
        self._error = ""
        self._pg = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
        self._pg.notice_handler = self._notice
        try:
            events = select.POLLOUT
            while self._pg.status != pq.ConnStatus.BAD:
                # The socket may be another one after each step.
                self._wait(events, deadline)
                step = self._pg.connect_poll()
                if step == pq.PollingStatus.OK:
                    break
                events = select.POLLIN if step == pq.PollingStatus.READING else select.POLLOUT
            if self._pg.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError(self._pg.get_error_message())
            self._pg.nonblocking = 1
        except BaseException:
            self.close()
            raise

    def send(self, statement: str, deadline: float) -> None:
        """Send a statement without waiting for its answer."""
        self._rows, self._error = [], ""
        self._pg.send_query(statement.encode())
        while self._pg.flush():
            self._wait(select.POLLIN | select.POLLOUT, deadline)
            self._pg.consume_input()

    def answer(self, deadline: float) -> list[tuple[str | None, ...]]:
        """Return the rows of the answer; after a TimeoutError it may be waited for again.

        A warning is an error too: a commit that gave up waiting for its standby says so in one, then reports success.
        """
        while True:
            while self._pg.is_busy():
                self._wait(select.POLLIN, deadline)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.TUPLES_OK:
                self._rows += [
                    tuple(
                        None if (value := result.get_value(row, column)) is None else value.decode()
                        for column in range(result.nfields)
                    )
                    for row in range(result.ntuples)
                ]
            elif result.status != pq.ExecStatus.COMMAND_OK:
                self._error = self._error or result.get_error_message() or "no answer"
            result.clear()
        if self._error:
            raise AnswerError(self._error)
        return self._rows

    def query(self, statement: str, deadline: float) -> list[tuple[str | None, ...]]:
        """Send a statement and return the rows of its answer."""
        self.send(statement, deadline)
        return self.answer(deadline)

    def close(self) -> None:
        self._pg.finish()

    def _notice(self, result: pq.abc.PGresult) -> None:
        if result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) == b"WARNING":
            self._error = self._error or result.get_error_message() or "a warning"

    def _wait(self, events: int, deadline: float) -> None:
        number = self._pg.socket
        self._poll.register(number, events)
        try:
            if not self._poll.poll(remaining(deadline) * 1000):
                raise TimeoutError("timed out")
        finally:
            self._poll.unregister(number)


def tls_connect(address: str, port: int, context: ssl.SSLContext, name: str, deadline: float) -> ssl.SSLSocket:
    """Return a TLS connection to an address whose certificate has the name. Raises OSError."""
    plain = socket.create_connection((address, port), remaining(deadline))
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # This bounds the whole handshake.
        plain.settimeout(remaining(deadline))
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


class Redis:
    """A connection to Redis whose steps end at a deadline. Raises OSError, also for an answer that is an error."""

    def __init__(self, address: str, context: ssl.SSLContext, password: str, deadline: float) -> None:
        self._socket = tls_connect(address, REDIS_PORT, context, REDIS_NAME, deadline)
        self._buffer = b""
        try:
            self.call(deadline, ("AUTH", password))
        except BaseException:
            self.close()
            raise

    def pipeline(self, deadline: float, *commands: tuple[str | int, ...]) -> list[Any]:
        """Send commands at once and return their answers; one that is an error is returned as an AnswerError."""
        sent = bytearray()
        for command in commands:
            words = [str(word).encode() for word in command]
            sent += b"*%d\r\n" % len(words)
            for word in words:
                sent += b"$%d\r\n%b\r\n" % (len(word), word)
        self._socket.settimeout(remaining(deadline))
        self._socket.sendall(sent)
        return [self._reply(deadline) for _command in commands]

    def call(self, deadline: float, *commands: tuple[str | int, ...]) -> list[Any]:
        """Send commands at once and return their answers. Raises AnswerError if one is an error."""
        answers = self.pipeline(deadline, *commands)
        for answer in answers:
            if isinstance(answer, AnswerError):
                raise answer
        return answers

    def close(self) -> None:
        self._socket.close()

    def _receive(self, deadline: float) -> None:
        self._socket.settimeout(remaining(deadline))
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionResetError("closed by the server")
        self._buffer += received

    def _reply(self, deadline: float) -> Any:
        while b"\r\n" not in self._buffer:
            self._receive(deadline)
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        sort, text = line[:1], line[1:].decode()
        if sort == b"-":
            return AnswerError(text)
        if sort == b"+":
            return text
        if sort == b":":
            return int(text)
        if sort == b"*":
            return [self._reply(deadline) for _item in range(int(text))]
        if sort != b"$":
            raise ConnectionAbortedError(f"not an answer of Redis: {line[:40]!r}")
        if text == "-1":
            return None
        length = int(text)
        while len(self._buffer) < length + 2:
            self._receive(deadline)
        value, self._buffer = self._buffer[:length].decode(), self._buffer[length + 2 :]
        return value


class Https:
    """Where HTTPS requests go: a base URL, at another address than its name's if one is given; certificates count."""

    def __init__(self, url: str, ca_file: Path, headers: dict[str, str], address: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 443
        self.address = address or self.host
        self.prefix = parts.path.rstrip("/")
        self._ca_file = ca_file
        self._context: tuple[int, ssl.SSLContext] | None = None
        self.headers = {"User-Agent": "resilience", **headers}

    @property
    def context(self) -> ssl.SSLContext:
        """What verifies the server, with the authorities that the file has by now."""
        changed = self._ca_file.stat().st_mtime_ns
        if self._context is None or self._context[0] != changed:
            self._context = changed, ssl.create_default_context(cafile=str(self._ca_file))
        return self._context[1]

    def connection(self) -> HttpsConnection:
        return HttpsConnection(self)


class HttpsConnection:
    """A connection that is opened by its first request and kept as long as the server keeps it."""

    def __init__(self, target: Https) -> None:
        self._target = target
        self._http: http.client.HTTPSConnection | None = None

    @property
    def open(self) -> bool:
        return self._http is not None

    def request(
        self,
        method: str,
        path: str,
        deadline: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        connect_seconds: float | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (small letters) and body. After an exception the connection is closed."""
        target = self._target
        if self._http is not None and self._closed_by_server():
            self.close()
        try:
            if self._http is None:
                left = remaining(deadline)
                until = deadline if connect_seconds is None else time.monotonic() + min(connect_seconds, left)
                self._http = http.client.HTTPSConnection(target.host, target.port, context=target.context)
                self._http.sock = tls_connect(target.address, target.port, target.context, target.host, until)
            self._http.sock.settimeout(remaining(deadline))
            self._http.request(method, target.prefix + path, body, {**target.headers, **(headers or {})})
            answer = self._http.getresponse()
            content = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content
        except BaseException:
            self.close()
            raise

    def _closed_by_server(self) -> bool:
        """Whether the server has closed the idle connection, as any client asks before it uses one again."""
        sock = self._http.sock if self._http is not None else None
        return sock is None or bool(select.select([sock], [], [], 0)[0])

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def closed_before_answer(error: BaseException) -> bool:
    """Whether a connection ended before any byte of the answer came."""
    return isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError))


# --- the database's superuser, by `docker exec` ------------------------------------------------------------------


def psql_on(host: str, sql: str, database: str = DATABASE, timeout: float = 20) -> str:
    """Run SQL as the superuser on one database server, in one transaction, and return the rows."""
    command = ("docker", "exec", "neural-patroni", "psql", "-U", "postgres", "-d", database)
    return lab.on(host, *command, "-v", "ON_ERROR_STOP=1", "-qAtX", "-1", "-c", sql, timeout=timeout)


def primary() -> str:
    """Return the one server whose PostgreSQL is not a standby. Raises RuntimeError if there is none, or two."""
    found = []
    for host in members("patroni"):
        try:
            if psql_on(host, "select pg_is_in_recovery()", timeout=10).strip() == "f":
                found.append(host)
        except (AssertionError, OSError, subprocess.SubprocessError):
            continue
    if len(found) != 1:
        raise RuntimeError(f"PostgreSQL has {len(found)} primaries: {', '.join(found)}")
    return found[0]


def psql(sql: str, database: str = DATABASE) -> str:
    """Run SQL as the superuser on the primary, in one transaction, and return the rows."""
    return psql_on(primary(), sql, database)


def install_tables() -> None:
    """Make the tables of PostgresLedger and PostgresSampler. They belong to the application's user."""
    psql(
        f"""
        set local role {USER};
        create table if not exists resilience_ledger (id bigint primary key);
        create table if not exists resilience_probe (host text primary key, number bigint not null);
        """
    )


def remove_tables() -> None:
    """Leave the database without the tables of `install_tables`."""
    psql("set local lock_timeout = '10s'; drop table if exists resilience_ledger, resilience_probe")


def install_audit() -> None:
    """Have PostgreSQL note each time a job is given a final status, in the transaction that gives it.

    Not only when the status is another one than before: a job that succeeds a second time was done twice.
    """
    psql(
        """
        set local lock_timeout = '10s';
        set local client_min_messages = error;
        create table if not exists resilience_outcome (
          job_id uuid not null, status text not null, at timestamptz not null
        );
        create or replace function resilience_note_outcome() returns trigger language plpgsql security definer
        set search_path = pg_catalog, pg_temp as $$
        begin
          insert into public.resilience_outcome values (new.id, new.status, clock_timestamp());
          return null;
        end $$;
        drop trigger if exists resilience_outcome on jobs;
        create trigger resilience_outcome after update of status on jobs for each row
          when (new.status in ('succeeded', 'failed')) execute function resilience_note_outcome();
        """
    )


def remove_audit() -> None:
    """Leave the database as it was before `install_audit`."""
    psql(
        """
        set local lock_timeout = '10s';
        set local client_min_messages = error;
        drop trigger if exists resilience_outcome on jobs;
        drop function if exists resilience_note_outcome();
        drop table if exists resilience_outcome;
        """
    )


# --- the clients ------------------------------------------------------------------------------------------------


def reconcile(attempted: Iterable[int], acknowledged: Iterable[int], present: Iterable[int]) -> tuple[list[int], int]:
    """Return the ids that were acknowledged and are gone, and how many are there that were not acknowledged."""
    asked, promised, found = set(attempted), set(acknowledged), set(present)
    return sorted(promised - found), len((found & asked) - promised)


class Load(ABC):
    """Threads that work until they are told to stop. `rate` is of all together, a second."""

    def __init__(self, recorder: Recorder, name: str, rate: float, threads: int = 1) -> None:
        self.recorder = recorder
        self.rate = rate
        self.name = name
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"{name} {number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the load: attempts under way are waited for. Raises what a thread did not expect."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, number: int) -> None:
        try:
            self.work(number)
        except BaseException as error:
            self._errors.append(error)

    def ticks(self, period: float, first: float = 0.0) -> Iterable[None]:
        """Yield once a period until `stop`; periods that passed meanwhile are left out."""
        due = time.monotonic() + first
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            yield
            due = max(due + period, time.monotonic())

    @abstractmethod
    def work(self, number: int) -> None:
        """Do what a thread has to do, until `_stop` is set."""


class _Ledger(Load):
    """One connection from inside a server, one new id an attempt."""

    client = ""

    def __init__(self, recorder: Recorder, credentials: Credentials, via: str, rate: float) -> None:
        super().__init__(recorder, self.client, rate)
        self.via = via
        self.credentials = credentials
        self.attempted: list[int] = []
        self.acknowledged: list[int] = []

    @abstractmethod
    def connect(self) -> None:
        """Open the connection, within CONNECT_SECONDS."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close the connection, if there is one."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether there is a connection."""

    @abstractmethod
    def write(self, identifier: int, record: dict[str, Any]) -> None:
        """Write an id, within ANSWER_SECONDS, and set the record's `end` when it is acknowledged."""

    def work(self, number: int) -> None:
        # Never an id twice, whatever was written in earlier drills.
        identifiers = itertools.count(time.time_ns() // 1000)
        last = 0.0
        refresh = False
        for _tick in self.ticks(1 / self.rate):
            if not self.connected and self._stop.wait(max(0.0, last + RECONNECT_SECONDS - time.monotonic())):
                break
            identifier = next(identifiers)
            self.attempted.append(identifier)
            record: dict[str, Any] = {"client": self.client, "id": identifier, "via": self.via, "ok": False}
            begin = time.monotonic()
            stage = "connect"
            try:
                if not self.connected:
                    last = begin
                    netns.enter(self.via, refresh)
                    self.connect()
                stage = "write"
                self.write(identifier, record)
                record["ok"] = True
                refresh = False
                self.acknowledged.append(identifier)
            except FAILURES as error:
                record["error"] = f"{stage}: {short(error)}"
                self.disconnect()
                refresh = True
            record.setdefault("end", time.monotonic())
            self.recorder.put("attempt", begin=begin, **record)
        self.disconnect()


class PostgresLedger(_Ledger):
    """Inserts new ids through the HAProxy of `via`. `install_tables()` comes before it."""

    client = "postgresql"

    def __init__(self, recorder: Recorder, credentials: Credentials, via: str, rate: float = 20) -> None:
        super().__init__(recorder, credentials, via, rate)
        self._connection: Postgres | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def _parameters(self) -> dict[str, Any]:
        """How to connect now: the password may be another one than before."""
        return postgresql_parameters(self.credentials, self.via, "127.0.0.1")

    def connect(self) -> None:
        self._connection = Postgres(self._parameters, time.monotonic() + CONNECT_SECONDS)

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(self, identifier: int, record: dict[str, Any]) -> None:
        assert self._connection is not None
        statement = f"insert into resilience_ledger values ({identifier})"
        self._connection.query(statement, time.monotonic() + ANSWER_SECONDS)

    def verdict(self) -> dict[str, Any]:
        """Compare what was acknowledged with what the primary has, and record it."""

        def ask() -> list[int]:
            deadline = time.monotonic() + 20
            connection = Postgres(self._parameters, deadline)
            try:
                first, last = self.attempted[0], self.attempted[-1]
                rows = connection.query(
                    f"select id from resilience_ledger where id between {first} and {last}", deadline
                )
            finally:
                connection.close()
            return [int(row[0]) for row in rows]

        present = netns.inside(self.via, ask) if self.attempted else []
        lost, unknown = reconcile(self.attempted, self.acknowledged, present)
        # The primary key is what keeps an id from being there twice.
        found = {
            "client": self.client,
            "acknowledged": len(self.acknowledged),
            "lost": lost,
            "doubled": [],
            "unknown_present": unknown,
        }
        self.recorder.put("ledger", **found)
        return found


class RedisLedger(_Ledger):
    """Sets new keys through the HAProxy of `via`, then asks whether a replica has them."""

    client = "redis"

    def __init__(self, recorder: Recorder, credentials: Credentials, via: str, rate: float = 20) -> None:
        super().__init__(recorder, credentials, via, rate)
        self.confirmed: list[int] = []
        self.run = f"{time.time_ns():x}"
        self._connection: Redis | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def connect(self) -> None:
        self._connection = self._open()

    def _open(self) -> Redis:
        return Redis(
            "127.0.0.1",
            self.credentials.context(self.via),
            self.credentials.secret("neural_redis_password"),
            time.monotonic() + CONNECT_SECONDS,
        )

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _key(self, identifier: int) -> str:
        return f"resilience:{self.run}:{identifier}"

    def write(self, identifier: int, record: dict[str, Any]) -> None:
        assert self._connection is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        self._connection.call(deadline, ("SET", self._key(identifier), 1, "EX", REDIS_KEY_SECONDS))
        record.update(end=time.monotonic(), confirmed=False)
        try:
            replicas = self._connection.call(time.monotonic() + ANSWER_SECONDS, ("WAIT", 1, 500))[0]
        except OSError as error:
            # The key was acknowledged before.
            record["error"] = f"wait: {short(error)}"
            self.disconnect()
            return
        if replicas >= 1:
            record["confirmed"] = True
            self.confirmed.append(identifier)

    def verdict(self) -> dict[str, Any]:
        """Compare what was acknowledged with what the master has, and record it."""

        def ask() -> list[int]:
            connection = self._open()
            present: list[int] = []
            try:
                for start in range(0, len(self.attempted), 500):
                    part = self.attempted[start : start + 500]
                    keys = [self._key(identifier) for identifier in part]
                    values = connection.call(time.monotonic() + 10, ("MGET", *keys))[0]
                    present += [identifier for identifier, value in zip(part, values, strict=True) if value is not None]
            finally:
                connection.close()
            return present

        lost, unknown = reconcile(self.attempted, self.acknowledged, netns.inside(self.via, ask))
        confirmed = set(self.confirmed)
        found = {
            "client": self.client,
            "acknowledged": len(self.acknowledged),
            "confirmed": len(confirmed),
            "lost": lost,
            "confirmed_lost": [identifier for identifier in lost if identifier in confirmed],
            "doubled": [],
            "unknown_present": unknown,
        }
        self.recorder.put("ledger", **found)
        return found


class JobLedger(Load):
    """Posts jobs as a careful client does: again with the same key until it is accepted. Needs `install_audit()`."""

    def __init__(
        self,
        recorder: Recorder,
        url: str,
        ca_file: Path,
        api_key: str,
        *,
        address: str | None = None,
        rate: float = 4,
        threads: int = 8,
        answer_seconds: float = 35,
    ) -> None:
        super().__init__(recorder, "jobs", rate, threads)
        self._target = Https(url, ca_file, {"X-API-Key": api_key}, address)
        self._threads_number = threads
        self._answer_seconds = answer_seconds
        self.run = f"resilience-{time.time_ns():x}"
        self._body = json.dumps({"source": PROGRAM}).encode()
        # By idempotency key: the job that was accepted, or None.
        self.jobs: dict[str, str | None] = {}

    def work(self, number: int) -> None:
        period = self._threads_number / self.rate
        connection = self._target.connection()
        for sequence, _tick in enumerate(self.ticks(period, number / self.rate)):
            key = f"{self.run}-{number}-{sequence}"
            self.jobs[key] = None
            pause: float | None = 0.0
            while pause is not None and not self._stop.wait(pause):
                pause = self._post(connection, key)
        connection.close()

    def _post(self, connection: HttpsConnection, key: str) -> float | None:
        """Try once; return after how many seconds to try again, or None."""
        record: dict[str, Any] = {"client": "jobs", "id": key, "key": key, "via": "vip", "ok": False}
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        pause: float | None = 0.25
        record["reused"] = connection.open
        begin = time.monotonic()
        request = ("POST", "/analyze", begin + self._answer_seconds, self._body, headers, 2)
        try:
            try:
                status, answered, body = connection.request(*request)
            except FAILURES as error:
                # A kept connection may be closed just now; the key makes it safe to ask again.
                if not (record["reused"] and closed_before_answer(error)):
                    raise
                record["retried"] = short(error)
                status, answered, body = connection.request(*request)
            record["status"] = status
            if status == 202:
                self.jobs[key] = record["job_id"] = json.loads(body)["job_id"]
                record["ok"] = True
                pause = None
            else:
                record["error"] = " ".join(body.decode(errors="replace").split())[:200]
                if status in (429, 503) and answered.get("retry-after", "").isdigit():
                    pause = min(5.0, float(answered["retry-after"]))
                elif 400 <= status < 500 and status not in (408, 429):
                    pause = None
        except (*FAILURES, ValueError, KeyError) as error:
            record["error"] = short(error)
        self.recorder.put("attempt", begin=begin, end=time.monotonic(), **record)
        return pause

    def verdict(self, seconds: float = 90) -> dict[str, Any]:
        """Wait until every accepted job succeeded, compare with what the primary has, and record it."""
        accepted = {job: key for key, job in self.jobs.items() if job is not None}
        begin = time.monotonic()
        rows: dict[str, tuple[str, str, int]] = {}
        problem = ""
        while True:
            try:
                rows = self._rows()
                problem = ""
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
                problem = short(error)
            unfinished = {job: rows[job][1] if job in rows else "absent" for job in accepted}
            unfinished = {job: status for job, status in unfinished.items() if status != "succeeded"}
            waited = time.monotonic() - begin
            if (not unfinished and not problem) or waited > seconds:
                break
            time.sleep(2)
        if problem:
            raise RuntimeError(f"the jobs cannot be read: {problem}")
        keys = Counter(key for key, _status, _outcomes in rows.values())
        found = {
            "client": "jobs",
            "acknowledged": len(accepted),
            "lost": sorted(unfinished),
            "doubled": sorted(job for job, (key, _status, outcomes) in rows.items() if outcomes > 1 or keys[key] > 1),
            "unknown_present": len(rows.keys() - accepted.keys()),
            "statuses": unfinished,
            "seconds": round(waited, 1),
        }
        self.recorder.put("ledger", **found)
        return found

    def _rows(self) -> dict[str, tuple[str, str, int]]:
        """Return key, status and number of final outcomes of every job of this ledger, by id."""
        lines = psql(
            f"""
            select id, idempotency_key, status, coalesce(outcomes, 0) from jobs left join
            (select job_id, count(*) as outcomes from resilience_outcome group by job_id) as o on job_id = id
            where idempotency_key like '{self.run}-%'
            """
        ).splitlines()
        fields = (line.split("|") for line in lines)
        return {job: (key, status, int(outcomes)) for job, key, status, outcomes in fields}


class HttpsStream(Load):
    """Asks for a list of jobs at a steady rate, whatever earlier requests do; every other one on a new connection."""

    def __init__(
        self,
        recorder: Recorder,
        url: str,
        ca_file: Path,
        api_key: str,
        *,
        address: str | None = None,
        rate: float = 30,
        threads: int = 32,
        answer_seconds: float = 5,
        path: str = "/jobs?limit=1",
    ) -> None:
        super().__init__(recorder, "https", rate, threads)
        self._target = Https(url, ca_file, {"X-API-Key": api_key}, address)
        self._answer_seconds = answer_seconds
        self._path = path
        self._schedule = itertools.count()
        self._first = 0.0

    def start(self) -> None:
        self._first = time.monotonic() + 0.1
        super().start()

    def work(self, number: int) -> None:
        kept = self._target.connection()
        while True:
            # `next` of a count is one step to all threads.
            tick = next(self._schedule)
            due = self._first + tick / self.rate
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            self._ask(kept if tick % 2 else self._target.connection(), due, keep=bool(tick % 2))
        kept.close()

    def _ask(self, connection: HttpsConnection, due: float, keep: bool) -> None:
        record: dict[str, Any] = {"client": "https", "via": "vip", "ok": False, "due": due, "reused": connection.open}
        begin = time.monotonic()
        deadline = begin + self._answer_seconds
        try:
            try:
                status, _headers, body = connection.request("GET", self._path, deadline)
            except FAILURES as error:
                if not (record["reused"] and closed_before_answer(error)):
                    raise
                record["retried"] = short(error)
                status, _headers, body = connection.request("GET", self._path, deadline)
            record["status"] = status
            record["ok"] = status == 200 and isinstance(json.loads(body)["jobs"], list)
            if not record["ok"]:
                record["error"] = " ".join(body.decode(errors="replace").split())[:200]
        except (*FAILURES, ValueError, KeyError, TypeError) as error:
            record["error"] = short(error)
        self.recorder.put("attempt", begin=begin, end=time.monotonic(), **record)
        if not keep:
            connection.close()


def postgresql_parameters(credentials: Credentials, host: str, address: str) -> dict[str, Any]:
    """Return how the application's user connects from inside a server."""
    files = credentials.files(host)
    return {
        "host": POSTGRESQL_NAME,
        "hostaddr": address,
        "port": POSTGRESQL_PORT,
        "dbname": DATABASE,
        "user": USER,
        "password": credentials.secret("neural_db_password"),
        "sslmode": "verify-full",
        "sslrootcert": files.ca,
        "sslcert": files.certificate,
        "sslkey": files.key,
        "gssencmode": "disable",
        "application_name": "resilience",
    }
