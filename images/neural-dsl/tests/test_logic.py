"""Idempotency, cursors, tokens, limits, storage, health checks: no service is needed."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import redis
from psycopg import errors
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from neural.api import (
    auth,
    db,
    engine,
    health_check,
    jobs,
    logs,
    migrate,
    ratelimit,
    storage,
    worker_canary,
    worker_consumer,
    worker_health,
)
from neural.api.settings import ANY_ADDRESS, from_environment


def test_the_same_request_has_the_same_hash() -> None:
    first = jobs.request_hash("compile", {"source": "é", "backend": "onnx"})
    assert first == jobs.request_hash("compile", {"backend": "onnx", "source": "é"})
    assert first != jobs.request_hash("export", {"backend": "onnx", "source": "é"})
    assert first != jobs.request_hash("compile", {"backend": "onnx", "source": "e"})


def test_cursor_there_and_back() -> None:
    moment, job_id = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), uuid.uuid4()
    assert jobs.decode_cursor(jobs.encode_cursor(moment, job_id)) == (moment, job_id)
    for wrong in ("", "x", "####", "MjAyNi0wMS0wMnx4", jobs.encode_cursor(moment, job_id)[:-8]):
        with pytest.raises(jobs.CursorError):
            jobs.decode_cursor(wrong)


def test_token(environment: dict[str, str]) -> None:
    config = from_environment(environment)
    caller = auth.by_key(config, "key-of-the-second-owner")
    assert caller is not None and caller.owner == "second"
    token, seconds = auth.make_token(config, caller)
    assert auth.by_token(config, token) == caller
    assert seconds == 900
    fewer = from_environment({**environment, "API_KEYS": "key-of-the-first-owner"})
    assert auth.by_token(fewer, token) is None, "a key that is withdrawn takes its tokens with it"
    other = from_environment({**environment, "SECRET_KEY": environment["SECRET_KEY"][::-1]})
    assert auth.by_token(other, token) is None
    claims = jwt.decode(token, options={"verify_signature": False})
    for change in ({"exp": int(time.time()) - 60}, {"aud": "another"}, {"sub": "root"}):
        forged = jwt.encode({**claims, **change}, config.secret_key, algorithm="HS256")
        assert auth.by_token(config, forged) is None
    assert auth.by_token(config, jwt.encode(claims, "", algorithm="none")) is None


def test_key(environment: dict[str, str]) -> None:
    config = from_environment(environment)
    assert auth.by_key(config, "key-of-nobody-at-all") is None
    assert auth.by_key(config, "é") is None
    owner = auth.by_key(config, "key-of-the-first-owner")
    assert owner is not None and "key-of" not in owner.owner, "an owner without a name is known by a fingerprint"


class _Redis:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.broken = False
        self.calls = 0

    def eval(self, _script: str, _number: int, key: str, _period: int) -> int:
        self.calls += 1
        if self.broken:
            raise redis.ConnectionError
        self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key]


def test_rate_limit() -> None:
    client = _Redis()
    limiter = ratelimit.Limiter(client, requests=2, period=60)
    verdicts = [limiter.ask("a", now=1000.0) for _turn in range(3)]
    assert [verdict.allowed for verdict in verdicts if verdict] == [True, True, False]
    assert [verdict.remaining for verdict in verdicts if verdict] == [1, 0, 0]
    assert verdicts[2] is not None and verdicts[2].reset == 21, "the window ends at 1020"
    assert limiter.ask("b", now=1000.0) == (True, 1, 21)
    assert limiter.ask("a", now=1021.0) == (True, 1, 60)


def test_without_redis_requests_pass_and_do_not_wait_each_time() -> None:
    client = _Redis()
    client.broken = True
    limiter = ratelimit.Limiter(client, requests=1, period=60)
    assert [limiter.ask("a") for _turn in range(5)] == [None] * 5
    assert client.calls == 1


def _failure(original: Exception, kind: type[DBAPIError] = OperationalError, **arguments: Any) -> DBAPIError:
    return kind("SELECT 1", {}, original, **arguments)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (_failure(errors.OperationalError("server closed the connection unexpectedly")), True),
        (_failure(errors.ConnectionTimeout("timeout expired")), True),
        (_failure(errors.AdminShutdown("terminating connection")), True),
        (_failure(errors.CannotConnectNow("the database system is starting up")), True),
        (_failure(errors.ReadOnlySqlTransaction("cannot execute INSERT"), InternalError), True),
        (_failure(errors.DeadlockDetected("deadlock")), True),
        (_failure(errors.UndefinedTable("no table"), ProgrammingError), False),
        (_failure(errors.DiskFull("disk full")), False),
        (_failure(errors.UndefinedTable("no table"), ProgrammingError, connection_invalidated=True), True),
        (PoolTimeoutError(), True),
        (ValueError(), False),
    ],
)
def test_what_is_tried_again(error: Exception, again: bool) -> None:
    assert db.retryable(error) is again


def test_artefacts_on_the_path(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = from_environment({**environment, "STORAGE_PATH": str(tmp_path)})
    monkeypatch.setattr(storage, "settings", lambda: config)
    small = engine.Artifact("m.onnx", "application/octet-stream", b"small")
    large = engine.Artifact("m.onnx", "application/octet-stream", b"x" * (storage.INLINE_LIMIT + 1))
    kept = storage.store("0123", small)
    assert kept == ("file:/artifacts/01/0123/m.onnx", b"small", [])
    assert storage.load("file:/artifacts/01/0123/m.onnx") == b"small"
    assert storage.store("4567", large).inline is None
    with pytest.raises(storage.StorageError, match="outside"):
        storage.load("file:/../../etc/passwd")
    with pytest.raises(storage.StorageError, match="cannot be read"):
        storage.load("file:/artifacts/none")
    assert not list(tmp_path.rglob(".part-*"))


def test_a_path_that_takes_nothing(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    config = from_environment({**environment, "STORAGE_PATH": str(file)})
    monkeypatch.setattr(storage, "settings", lambda: config)
    kept = storage.store("0123", engine.Artifact("a", "text/plain", b"small"))
    assert kept.location is None and kept.inline == b"small" and "database only" in kept.warnings[0]
    with pytest.raises(storage.StorageError, match="does not take it"):
        storage.store("0123", engine.Artifact("a", "text/plain", b"x" * (storage.INLINE_LIMIT + 1)))


def test_s3_client_is_complete_in_this_image(environment: dict[str, str]) -> None:
    environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    client = storage._s3(from_environment(environment))
    address = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    assert address.startswith("http://127.0.0.1:9/bucket/key?")


def test_worker_health(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    assert worker_health.read(path) is None
    assert worker_health.check(None, 100.0, 90.0)[0] is False
    worker_canary.write(path, None, "the broker does not answer: OSError")
    now = time.monotonic()
    assert worker_health.check(worker_health.read(path), now, 90.0)[0] is False
    worker_canary.write(path, now, "a message came back")
    found = worker_health.read(path)
    assert worker_health.check(found, now, 90.0) == (True, "a message came back, 0 s ago")
    healthy, sentence = worker_health.check(found, now + 120, 90.0)
    assert not healthy and "more than 90 s" in sentence
    path.write_text("{", encoding="utf-8")
    assert worker_health.read(path) is None


@pytest.mark.parametrize("tries_again", [False, True], ids=["hangs", "goes-on"])
def test_a_worker_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries_again: bool) -> None:
    """As it cannot end itself; one that was frozen, and goes on, is left alone."""
    path = tmp_path / "health.json"
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    long_ago = time.monotonic() - 200
    said = {"pid": worker.pid, "at": long_ago, "healthy_at": long_ago, "reason": "a message came back"}
    path.write_text(json.dumps(said), encoding="utf-8")
    monkeypatch.setattr(worker_health, "HEALTH_FILE", path)
    if tries_again:
        monkeypatch.setattr(worker_health.time, "sleep", lambda _: worker_canary.write(path, long_ago, "goes on"))
    try:
        assert worker_health.main() == 1
        if tries_again:
            assert worker.poll() is None
        else:
            assert worker.wait(5) == -signal.SIGKILL
    finally:
        worker.kill()
        worker.wait()


def test_canary_is_acknowledged_and_kept_from_the_pool() -> None:
    acknowledged = []
    consumer = SimpleNamespace(connection_errors=(OSError,))
    handle = worker_canary.strategy(None, None, consumer)
    worker_canary._seen.clear()
    handle(None, None, lambda *arguments: acknowledged.append(arguments), None, None)
    assert worker_canary._seen.is_set()
    assert acknowledged == [(worker_canary.LOG, (OSError,))]


def test_a_worker_is_saturated_when_all_its_processes_have_work(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = SimpleNamespace(pool=SimpleNamespace(num_processes=2))
    monkeypatch.setattr(worker_canary.state, "reserved_requests", {1})
    assert not worker_canary.saturated(consumer)
    monkeypatch.setattr(worker_canary.state, "reserved_requests", {1, 2})
    assert worker_canary.saturated(consumer)


def test_health_address() -> None:
    assert health_check.address({}, "api") == "http://127.0.0.1:8000/health"
    tls = {"API_SSL_CERT_FILE": "/crt", "API_HOST": ANY_ADDRESS, "API_PORT": "8001"}
    assert health_check.address(tls, "api") == "https://127.0.0.1:8001/health"
    dashboard = {"DASH_URL_BASE_PATHNAME": "/dashboard/", "DASHBOARD_PORT": "8051"}
    assert health_check.address(dashboard, "dashboard") == "http://127.0.0.1:8051/dashboard/_dash-layout"


def test_log_lines_are_json_without_passwords() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "see %s", ("redis://:secret@host/0",), None)
    line = json.loads(logs.JsonFormatter().format(record))
    assert line["message"] == "see redis://:***@host/0"
    assert line["level"] == "ERROR"


def test_migrations_are_one_line_of_descent() -> None:
    config = migrate.configuration()
    assert migrate.head(config) in migrate.known(config)


def test_a_consumer_breathes_between_failures_that_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    moments, slept = iter((100.0, 100.0, 101.0, 101.0, 110.0, 110.0)), []
    monkeypatch.setattr(worker_consumer, "time", SimpleNamespace(monotonic=moments.__next__, sleep=slept.append))
    consumer = worker_consumer.Consumer.__new__(worker_consumer.Consumer)
    for expected in (0, 1, 1):
        consumer._breathe()
        assert len(slept) == expected
