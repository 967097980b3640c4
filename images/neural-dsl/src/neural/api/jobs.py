"""A job's life in PostgreSQL: accepted, claimed, kept alive, finished; swept up when a message or a worker was lost."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, case, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from neural.api import db, metrics
from neural.api.models import FAILED, FINAL, QUEUED, RUNNING, SUCCEEDED, Artifact, Job
from neural.api.settings import settings

QUEUES = {"compile": "compilation", "export": "export", "train": "training", "analyze": "general"}
TASKS = {kind: f"neural.{kind}" for kind in QUEUES}
SWEEP_LOCK = 0x6E657572616C01
SWEEP_BATCH = 500
_COLUMNS = (
    Job.id,
    Job.owner,
    Job.kind,
    Job.queue,
    Job.status,
    Job.worker,
    Job.result,
    Job.error,
    Job.attempts,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
)
_SUMMARY = tuple(column for column in _COLUMNS if column is not Job.result)


class IdempotencyConflictError(Exception):
    """An Idempotency-Key came again with another request."""


class CursorError(ValueError):
    """A cursor that is none of ours."""


class Accepted(NamedTuple):
    """A job that is remembered."""

    job_id: uuid.UUID
    replayed: bool


class Claim(NamedTuple):
    """The right to do a job, until the lease ends."""

    job_id: uuid.UUID
    token: uuid.UUID
    kind: str
    request: dict[str, Any]


class Publication(NamedTuple):
    """A job to hand to the broker."""

    job_id: uuid.UUID
    kind: str
    queue: str


def request_hash(kind: str, request: dict[str, Any]) -> str:
    """What tells two requests apart, whatever the order of their keys."""
    canonical = json.dumps([kind, request], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- accepting ----------------------------------------------------------------------------------------------


def accept(owner: str, kind: str, request: dict[str, Any], idempotency_key: str | None) -> Accepted:
    """Remember a job. Once this returns, it is committed. Raises IdempotencyConflictError."""
    job_id = uuid.uuid4()
    digest = request_hash(kind, request)

    def work(connection: Connection) -> Accepted:
        row = connection.execute(
            insert(Job)
            .values(
                id=job_id,
                owner=owner,
                kind=kind,
                queue=QUEUES[kind],
                request=request,
                request_hash=digest,
                idempotency_key=idempotency_key,
            )
            .on_conflict_do_nothing()
            .returning(Job.id)
        ).first()
        if row:
            return Accepted(job_id, False)
        # The same key came before, or our own commit succeeded and only its answer was lost.
        condition = Job.id == job_id
        if idempotency_key is not None:
            condition = or_(condition, and_(Job.owner == owner, Job.idempotency_key == idempotency_key))
        known = connection.execute(select(Job.id, Job.request_hash).where(condition)).one()
        if known.request_hash != digest:
            raise IdempotencyConflictError(
                "This Idempotency-Key was used before for another request: use a new key for a new request."
            )
        return Accepted(known.id, known.id != job_id)

    accepted = db.write(work)
    if not accepted.replayed:
        metrics.JOBS_ACCEPTED.labels(kind).inc()
    return accepted


# --- reading ------------------------------------------------------------------------------------------------


def get(job_id: uuid.UUID, owner: str) -> Row[Any] | None:
    """A job, as its owner may see it: what is final may come from a replica, all else comes from the primary."""

    def work(connection: Connection) -> Row[Any] | None:
        return connection.execute(select(*_COLUMNS).where(Job.id == job_id, Job.owner == owner)).first()

    row = db.read(work)
    if row is not None and row.status in FINAL:
        return row
    try:
        return db.read_primary(work)
    except db.DatabaseUnavailableError:
        if row is None:
            raise
        return row


def page(
    owner: str, limit: int, cursor: str | None, status: str | None, kind: str | None
) -> tuple[list[Row[Any]], str | None]:
    """Jobs, newest first, and the next page's cursor."""
    statement = select(*_SUMMARY).where(Job.owner == owner)
    if status:
        statement = statement.where(Job.status == status)
    if kind:
        statement = statement.where(Job.kind == kind)
    if cursor:
        statement = statement.where(tuple_(Job.created_at, Job.id) < tuple_(*decode_cursor(cursor)))
    statement = statement.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    rows = list(db.read(lambda connection: connection.execute(statement).all()))
    following = encode_cursor(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
    return rows[:limit], following


def encode_cursor(created_at: datetime, job_id: uuid.UUID) -> str:
    """A place in the list that stays the same while new jobs come."""
    return base64.urlsafe_b64encode(f"{created_at.astimezone(UTC).isoformat()}|{job_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    """The place that a cursor names. Raises CursorError."""
    try:
        decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _separator, job_id = decoded.partition("|")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError(moment)
        return created_at, uuid.UUID(job_id)
    except (ValueError, binascii.Error) as error:
        raise CursorError("The cursor is not one that this API gave out.") from error


def get_artifact(job_id: uuid.UUID, owner: str) -> Row[Any] | None:
    """An export job's file."""
    statement = select(Artifact).join(Job, Job.id == Artifact.job_id).where(Job.id == job_id, Job.owner == owner)
    columns = statement.with_only_columns(
        Artifact.name, Artifact.media_type, Artifact.size, Artifact.sha256, Artifact.location, Artifact.content
    )

    def work(connection: Connection) -> Row[Any] | None:
        row: Row[Any] | None = connection.execute(columns).first()
        return row

    return db.read(work) or db.read_primary(work)


# --- doing --------------------------------------------------------------------------------------------------


def _lease() -> Any:
    return func.now() + text(f"interval '{int(settings().job_lease_seconds)} seconds'")


def claim(job_id: uuid.UUID, worker: str) -> Claim | None:
    """Take a job that nobody is doing; None if it is done, or being done."""
    token = uuid.uuid4()

    def work(connection: Connection) -> Claim | None:
        row = connection.execute(
            update(Job)
            .where(
                Job.id == job_id,
                or_(
                    Job.status == QUEUED,
                    and_(Job.status == RUNNING, Job.lease_expires_at < func.now()),
                    # The answer to our own claim was lost, and it is made again.
                    and_(Job.status == RUNNING, Job.lease_token == token),
                ),
            )
            .values(
                status=RUNNING,
                worker=worker,
                attempts=Job.attempts + 1,
                started_at=func.now(),
                lease_expires_at=_lease(),
                lease_token=token,
            )
            .returning(Job.kind, Job.request)
        ).first()
        return Claim(job_id, token, row.kind, row.request) if row else None

    return db.write(work)


def renew(claimed: Claim) -> bool:
    """Keep a job; False if it is ours no longer."""

    def work(connection: Connection) -> bool:
        return (
            connection.execute(
                update(Job)
                .where(Job.id == claimed.job_id, Job.lease_token == claimed.token, Job.status == RUNNING)
                .values(lease_expires_at=_lease())
            ).rowcount
            == 1
        )

    return db.write(work, settings().job_lease_seconds / 4)


def finish(
    claimed: Claim,
    *,
    result: dict[str, Any] | None = None,
    error: str | None = None,
    artifact: dict[str, Any] | None = None,
) -> bool:
    """Write a job's outcome, once: False if somebody else has the job by now."""

    def work(connection: Connection) -> bool:
        written = connection.execute(
            update(Job)
            .where(Job.id == claimed.job_id, Job.lease_token == claimed.token, Job.status == RUNNING)
            .values(
                status=FAILED if error is not None else SUCCEEDED,
                result=result,
                error=error,
                finished_at=func.now(),
                lease_expires_at=None,
            )
        ).rowcount
        if written and artifact:
            connection.execute(insert(Artifact).values(job_id=claimed.job_id, **artifact).on_conflict_do_nothing())
        if written:
            return True
        # The answer to our own commit was lost: then the row is final and still carries our token.
        again = select(Job.id).where(Job.id == claimed.job_id, Job.lease_token == claimed.token, Job.status.in_(FINAL))
        return connection.execute(again).first() is not None

    return db.write(work, 4 * settings().database_retry_seconds)


# --- sweeping -----------------------------------------------------------------------------------------------


def sweep(backlog: dict[str, int]) -> list[Publication] | None:
    """Find jobs whose message or worker was lost; None if somebody else is sweeping.

    ``backlog`` says how many messages wait in each queue: while as many messages wait as rows do, none is lost.
    """
    config = settings()

    def work(connection: Connection) -> list[Publication] | None:
        if not db.scalar(connection, select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))):
            return None
        counts: dict[tuple[str, str], int] = {
            (row.queue, row.status): row.number
            for row in connection.execute(
                select(Job.queue, Job.status, func.count().label("number"))
                .where(Job.status.in_((QUEUED, RUNNING)))
                .group_by(Job.queue, Job.status)
            )
        }
        for queue in QUEUES.values():
            for status in (QUEUED, RUNNING):
                metrics.JOBS_OPEN.labels(queue, status).set(counts.get((queue, status), 0))
        connection.execute(
            update(Job)
            .where(
                Job.status == RUNNING,
                Job.lease_expires_at < func.now(),
                Job.attempts >= config.job_max_attempts,
            )
            .values(
                status=FAILED,
                finished_at=func.now(),
                lease_expires_at=None,
                lease_token=None,
                error=func.format(
                    "The worker stopped while it did this job (%s attempts, the last one by %s).",
                    Job.attempts,
                    func.coalesce(Job.worker, "nobody"),
                ),
            )
        )
        lost = connection.execute(
            update(Job)
            .where(Job.status == RUNNING, Job.lease_expires_at < func.now())
            .values(
                status=QUEUED,
                lease_expires_at=None,
                lease_token=None,
                published_at=func.now(),
                publications=Job.publications + 1,
            )
            .returning(Job.id, Job.kind, Job.queue)
        ).all()
        # Each time a job is handed over again, the next time is twice as far away, ten minutes at most.
        wait = func.least(
            600, config.job_republish_seconds * func.power(2, case((Job.publications > 5, 5), else_=Job.publications))
        )
        quiet = [queue for queue in QUEUES.values() if backlog.get(queue, 0) < counts.get((queue, QUEUED), 0)]
        stale = (
            select(Job.id)
            .where(
                Job.status == QUEUED,
                Job.queue.in_(quiet),
                Job.published_at < func.now() - wait * text("interval '1 second'"),
            )
            .order_by(Job.published_at)
            .limit(SWEEP_BATCH)
            .with_for_update(skip_locked=True)
        )
        again = connection.execute(
            update(Job)
            .where(Job.id.in_(stale))
            .values(published_at=func.now(), publications=Job.publications + 1)
            .returning(Job.id, Job.kind, Job.queue)
        ).all()
        for reason, rows in (("worker", lost), ("message", again)):
            if rows:
                metrics.REPUBLISHED.labels(reason).inc(len(rows))
        return [Publication(row.id, row.kind, row.queue) for row in (*lost, *again)]

    return db.write(work, 0)
