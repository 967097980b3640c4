"""Connections to PostgreSQL: the primary for writes, replicas for reads, and retries that bridge a failover."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors
from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from neural.api import metrics
from neural.api.settings import settings

LOG = logging.getLogger("neural.api.db")
T = TypeVar("T")
_RANDOM = random.SystemRandom()
CONNECT = {
    "connect_timeout": "3",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "neural-api",
}
# Just after a failover a connection may reach a server that does not take writes (any more); or two of us collided.
_RETRYABLE = (
    errors.ReadOnlySqlTransaction,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.CannotConnectNow,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.TooManyConnections,
)
_engines: dict[tuple[int, str], Engine] = {}


class DatabaseUnavailableError(Exception):
    """The database did not answer for as long as we were ready to wait."""


def connect_url(url: str, **parameters: str) -> str:
    """A URL with time-outs and keep-alives, where it does not say them itself."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query=urlencode({**CONNECT, **parameters, **query})))


def _engine(name: str) -> Engine:
    # A forked process must never use its parent's connections.
    key = (os.getpid(), name)
    engine = _engines.get(key)
    if engine is None:
        config = settings()
        if name == "primary":
            # No statement time-out: a commit that it cancels while it waits for a standby would report success.
            url = connect_url(
                config.primary_url(), target_session_attrs="read-write", options="-c lock_timeout=5s -c timezone=UTC"
            )
        else:
            url = connect_url(config.read_url(), options="-c statement_timeout=10s -c timezone=UTC")
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=config.database_pool_size,
            max_overflow=config.database_pool_size,
            pool_timeout=5,
            pool_recycle=300,
        )
        given = config.database_url if name == "primary" else config.database_read_url or config.database_url
        # A URL may have a password of its own, which stays.
        if config.database_password and urlsplit(given).password is None:
            event.listen(engine, "do_connect", connect)
        _engines[key] = engine
    return engine


def connect(dialect: Dialect, _record: Any, words: Any, named: dict[str, Any]) -> Any:
    """A connection with the password of now; where it is refused while it is rotated, with the other one."""
    *first, last = settings().database_passwords()
    for password in first:
        try:
            return dialect.connect(*words, **{**named, "password": password})
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
    return dialect.connect(*words, **{**named, "password": last})


def primary() -> Engine:
    """Engine of the database that takes writes."""
    return _engine("primary")


def replica() -> Engine:
    """Engine of the database that is read from."""
    return _engine("replica")


def dispose() -> None:
    """Close this process's connections."""
    for (process, _url), engine in list(_engines.items()):
        if process == os.getpid():
            engine.dispose()


def retryable(error: BaseException) -> bool:
    """Whether the same work may succeed if it is tried again."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error.orig, _RETRYABLE):
        return True
    # Without an SQLSTATE an operational error is the connection's: refused, closed, timed out, no server for writes.
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error, OperationalError) and state in {None, "08000", "08003", "08006"}


def write(work: Callable[[Connection], T], seconds: float | None = None) -> T:
    """Do work in a transaction on the primary, again and again while a failover may be going on.

    The work must be safe to repeat: a commit whose answer was lost is done twice.
    """
    return _attempt(primary, work, settings().database_retry_seconds if seconds is None else seconds)


def read_primary(work: Callable[[Connection], T], seconds: float = 5) -> T:
    """Read where every acknowledged write is seen."""
    return _attempt(primary, work, seconds)


def read(work: Callable[[Connection], T]) -> T:
    """Read from a replica; from the primary if no replica answers."""
    try:
        return _attempt(replica, work, 0)
    except DatabaseUnavailableError:
        return read_primary(work)


def _attempt(engine: Callable[[], Engine], work: Callable[[Connection], T], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    delay = 0.1
    while True:
        try:
            with engine().begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not retryable(error):
                raise
            metrics.DATABASE_RETRIES.inc()
            remaining = deadline - time.monotonic()
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            if remaining <= 0:
                raise DatabaseUnavailableError(f"The database does not answer: {reason}") from error
            LOG.warning("database: %s; trying again for %.0f s", reason, remaining)
            time.sleep(min(delay * _RANDOM.uniform(0.5, 1.5), max(remaining, 0)))
            delay = min(delay * 2, 1.0)


def check(engine: Engine) -> None:
    """Ask the server for the least. Raises what SQLAlchemy raises."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def scalar(connection: Connection, statement: Any) -> Any:
    """The only value of a statement's only row."""
    return connection.execute(statement).scalar_one_or_none()
