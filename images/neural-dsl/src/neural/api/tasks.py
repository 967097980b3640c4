"""What workers do. A message carries a job's id only; all else is in its row."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded

from neural.api import db, engine, guard, jobs, storage
from neural.api.settings import settings

LOG = logging.getLogger("neural.api.tasks")
NO_PYTORCH = (
    "Training needs PyTorch, which this image does not contain: build the image neural-dsl in its variant with PyTorch "
    "and set it as the training pool's image."
)
NO_TRAINER = "This version of the service compiles and exports; training with PyTorch is not part of it yet."


class JobError(Exception):
    """A job that cannot succeed; the message tells its owner why."""


class Outcome(NamedTuple):
    """What a job leaves."""

    result: dict[str, Any]
    artifact: dict[str, Any] | None = None


def compile_program(job_id: uuid.UUID, request: dict[str, Any]) -> Outcome:
    """Write a program's source code."""
    return Outcome(engine.generate(request["source"], request["backend"]).result())


def export_program(job_id: uuid.UUID, request: dict[str, Any]) -> Outcome:
    """Write a program's model as a file and keep it."""
    generated, artifact = engine.export(request["source"], request["backend"])
    kept = storage.store(str(job_id), artifact)
    result = generated.result()
    for name in ("code", "model_base64", "model_sha256"):
        result.pop(name, None)
    result["artifact"] = {
        "name": artifact.name,
        "media_type": artifact.media_type,
        "sha256": artifact.sha256,
        "size": len(artifact.content),
        "location": kept.location,
        "inline": kept.inline is not None,
        "url": f"/jobs/{job_id}/artifact",
    }
    result["warnings"] = [*result["warnings"], *kept.warnings]
    row = {
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size": len(artifact.content),
        "sha256": artifact.sha256,
        "location": kept.location,
        "content": kept.inline,
    }
    return Outcome(result, row)


def analyze_program(job_id: uuid.UUID, request: dict[str, Any]) -> Outcome:
    """Report a program's shapes."""
    return Outcome(engine.analyze(request["source"]))


def train_program(job_id: uuid.UUID, request: dict[str, Any]) -> Outcome:
    """Refuse, with a sentence that says what to do."""
    engine.parse(request["source"])
    raise JobError(NO_TRAINER if guard.installed("torch") else NO_PYTORCH)


@contextmanager
def _kept_alive(claimed: jobs.Claim) -> Iterator[None]:
    """Renew a job's lease while it is being done."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(settings().job_lease_seconds / 4):
            try:
                if not jobs.renew(claimed):
                    LOG.warning("job %s: its lease was lost, its outcome will not be written", claimed.job_id)
                    return
            except db.DatabaseUnavailableError as error:
                LOG.warning("job %s: its lease could not be renewed: %s", claimed.job_id, error)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def run(task: Task, job_id: str, work: Callable[[uuid.UUID, dict[str, Any]], Outcome]) -> None:
    """Do a job, unless it is done or being done."""
    claimed = jobs.claim(uuid.UUID(job_id), str(task.request.hostname))
    if claimed is None:
        LOG.info("job %s: done already, or being done", job_id)
        return
    outcome, failure = None, None
    with _kept_alive(claimed):
        try:
            outcome = work(claimed.job_id, claimed.request)
        except engine.ProgramError as error:
            failure = f"The program does not parse: line {error.line}, column {error.column}: {error.message}."
        except (JobError, engine.GenerationError, guard.GuardedModuleError, storage.StorageError) as error:
            failure = str(error)
        except SoftTimeLimitExceeded:
            failure = "The job took longer than its time limit."
        except MemoryError:
            failure = "The job needs more memory than its worker has."
        except Exception as error:
            LOG.exception("job %s failed", job_id)
            failure = f"The job failed unexpectedly: {type(error).__name__}: {error}"
        written = jobs.finish(
            claimed,
            result=outcome.result if outcome else None,
            error=failure,
            artifact=outcome.artifact if outcome else None,
        )
    LOG.info("job %s: %s%s", job_id, "failed" if failure else "succeeded", "" if written else ", taken by another")


@shared_task(name=jobs.TASKS["compile"], bind=True)
def compile_job(self: Task, job_id: str) -> None:
    """Compile."""
    run(self, job_id, compile_program)


@shared_task(name=jobs.TASKS["export"], bind=True)
def export_job(self: Task, job_id: str) -> None:
    """Export."""
    run(self, job_id, export_program)


@shared_task(name=jobs.TASKS["analyze"], bind=True)
def analyze_job(self: Task, job_id: str) -> None:
    """Analyze."""
    run(self, job_id, analyze_program)


@shared_task(
    name=jobs.TASKS["train"],
    bind=True,
    soft_time_limit=settings().train_time_limit,
    time_limit=settings().train_time_limit + 60,
)
def train_job(self: Task, job_id: str) -> None:
    """Train."""
    run(self, job_id, train_program)


@shared_task(name="neural.canary")
def canary(sent: float) -> None:
    """Never run by the pool: the worker itself takes it, see worker_canary."""


canary.Strategy = "neural.api.worker_canary:strategy"
