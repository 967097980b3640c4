"""The HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import Row

from neural.api import __version__, auth, broker, db, engine, jobs, logs, memory, metrics, storage
from neural.api.auth import Caller
from neural.api.publisher import Publisher
from neural.api.ratelimit import limited
from neural.api.settings import SettingsError, settings

logs.configure()
LOG = logging.getLogger("neural.api")
try:
    CONFIG = settings().require("api")
except SettingsError as problem:
    sys.exit(f"neural.api: {problem}")

READY_TIMEOUT = 2.0
SCHEME = "bearer"
Message = MutableMapping[str, Any]
Limited = Annotated[Caller, Depends(limited)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
publisher = Publisher()


@contextlib.asynccontextmanager
async def lifespan(_unused: FastAPI) -> AsyncIterator[None]:
    """Start and stop this process's threads."""
    await asyncio.to_thread(engine.parse, "network Warm { input: (1, 1) layers: Dense(1) }")
    memory.prepare()
    publisher.start()
    yield
    await asyncio.to_thread(publisher.stop)
    db.dispose()


app = FastAPI(title="Neural DSL", version=__version__, lifespan=lifespan, debug=CONFIG.debug)


class BodyLimit:
    """Refuse a body that is too large before it is read to its end; count and time every request."""

    def __init__(self, application: Callable[..., Awaitable[None]], limit: int) -> None:
        self.application = application
        self.limit = limit

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
    ) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        started, status, size = time.perf_counter(), 500, 0
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = declared.isdigit() and int(declared) > self.limit

        async def counted() -> Message:
            nonlocal size, too_large
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limit:
                too_large = True
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            # What the application makes of a body that broke off is not said.
            if not too_large:
                status = message.get("status", status)
                await send(message)

        try:
            if not too_large:
                with contextlib.suppress(_TooLargeError):
                    await self.application(scope, counted, noted)
            if too_large:
                status = 413
                detail = f"The request is larger than {self.limit} bytes."
                await JSONResponse({"detail": detail}, status_code=status)(scope, receive, send)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            metrics.REQUESTS.labels(scope["method"], route, str(status)).inc()
            metrics.DURATION.labels(scope["method"], route).observe(time.perf_counter() - started)


class _TooLargeError(Exception):
    pass


# JSON writes a character in at most six bytes; the source itself is measured again once it is decoded.
app.add_middleware(BodyLimit, limit=CONFIG.max_source_bytes * 6 + 65536)


# --- what comes in and goes out -----------------------------------------------------------------------------


class Program(BaseModel):
    """A Neural DSL program."""

    model_config = {"extra": "forbid"}
    source: str = Field(min_length=1, description="The program.")


class Compilation(Program):
    """A program and what to make of it."""

    backend: Literal["pytorch", "tensorflow", "onnx"] = "pytorch"


class Training(Program):
    """A program to train, with PyTorch."""

    backend: Literal["pytorch"] = "pytorch"


class AcceptedJob(BaseModel):
    """The job that a request became."""

    job_id: uuid.UUID


class JobSummary(BaseModel):
    """A job without its result."""

    job_id: uuid.UUID
    kind: str
    queue: str
    status: str
    worker: str | None
    error: str | None
    attempts: int
    created_at: Any
    started_at: Any
    finished_at: Any


class JobDetail(JobSummary):
    """A job."""

    result: dict[str, Any] | None


class JobPage(BaseModel):
    """Some jobs, newest first, and where the next page begins."""

    jobs: list[JobSummary]
    next_cursor: str | None


class Token(BaseModel):
    """A token for the header Authorization."""

    access_token: str
    token_type: str
    expires_in: int


def _shown(row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    values["job_id"] = values.pop("id")
    values.pop("owner", None)
    return values


# --- errors -------------------------------------------------------------------------------------------------


@app.exception_handler(engine.ProgramError)
async def _program_error(_unused: Request, error: engine.ProgramError) -> JSONResponse:
    place = f"line {error.line}, column {error.column}: " if error.line else ""
    expected = (
        f"; expected {', '.join(error.expected[:12])}{' …' if len(error.expected) > 12 else ''}"
        if error.expected
        else ""
    )
    return JSONResponse(
        {
            "detail": f"The program does not parse: {place}{error.message}{expected}.",
            "line": error.line,
            "column": error.column,
            "expected": error.expected,
        },
        status_code=422,
    )


@app.exception_handler(RequestValidationError)
async def _invalid(_unused: Request, error: RequestValidationError) -> JSONResponse:
    found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return JSONResponse({"detail": f"The request is not valid: {'; '.join(found)}.", "errors": found}, status_code=422)


@app.exception_handler(jobs.IdempotencyConflictError)
async def _conflict(_unused: Request, error: jobs.IdempotencyConflictError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=409)


@app.exception_handler(db.DatabaseUnavailableError)
async def _unavailable(_unused: Request, error: db.DatabaseUnavailableError) -> JSONResponse:
    LOG.error("%s", error)
    return JSONResponse(
        {"detail": "The database does not answer at the moment: try again, with the same Idempotency-Key."},
        status_code=503,
        headers={"Retry-After": "5"},
    )


# --- jobs ---------------------------------------------------------------------------------------------------


def _submit(caller: Caller, kind: str, program: Program, key: str | None, response: Response) -> AcceptedJob:
    size = len(program.source.encode("utf-8", "surrogatepass"))
    if size > CONFIG.max_source_bytes:
        raise HTTPException(413, f"The source has {size} bytes, more than {CONFIG.max_source_bytes}.")
    if "\0" in program.source or any("\ud800" <= character <= "\udfff" for character in program.source):
        raise HTTPException(422, "The source holds a character that no text may hold.")
    engine.parse(program.source)
    accepted = jobs.accept(caller.owner, kind, program.model_dump(), key)
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    else:
        publisher.put(jobs.Publication(accepted.job_id, kind, jobs.QUEUES[kind]))
    response.headers["Location"] = f"/jobs/{accepted.job_id}"
    return AcceptedJob(job_id=accepted.job_id)


@app.post("/compile", status_code=202)
def compile_(
    caller: Limited, body: Compilation, response: Response, idempotency_key: IdempotencyKey = None
) -> AcceptedJob:
    """Have source code written for a program, by the pool *compilation*."""
    return _submit(caller, "compile", body, idempotency_key, response)


@app.post("/export", status_code=202)
def export(
    caller: Limited, body: Compilation, response: Response, idempotency_key: IdempotencyKey = None
) -> AcceptedJob:
    """Have a file made of a program, by the pool *export*."""
    return _submit(caller, "export", body, idempotency_key, response)


@app.post("/train", status_code=202)
def train(caller: Limited, body: Training, response: Response, idempotency_key: IdempotencyKey = None) -> AcceptedJob:
    """Have a program trained, by the pool *training*."""
    return _submit(caller, "train", body, idempotency_key, response)


@app.post("/analyze", status_code=202)
def analyze(caller: Limited, body: Program, response: Response, idempotency_key: IdempotencyKey = None) -> AcceptedJob:
    """Have a program's shapes reported, on the default queue, by the pool *general*."""
    return _submit(caller, "analyze", body, idempotency_key, response)


def _job_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise HTTPException(404, "There is no such job.") from None


@app.get("/jobs/{job_id}")
def job(caller: Limited, job_id: str) -> JobDetail:
    """One job."""
    row = jobs.get(_job_id(job_id), caller.owner)
    if row is None:
        raise HTTPException(404, "There is no such job.")
    return JobDetail(**_shown(row))


@app.get("/jobs/{job_id}/artifact")
def artifact(caller: Limited, job_id: str) -> Response:
    """The file that an export job made."""
    row = jobs.get_artifact(_job_id(job_id), caller.owner)
    if row is None:
        raise HTTPException(404, "There is no such job, or it has no file.")
    try:
        content = row.content if row.content is not None else storage.load(row.location)
    except storage.StorageError as error:
        raise HTTPException(503, str(error)) from error
    headers = {"Content-Disposition": f'attachment; filename="{row.name}"', "X-Content-SHA256": row.sha256}
    return Response(bytes(content), media_type=row.media_type, headers=headers)


@app.get("/jobs")
def job_list(
    caller: Limited,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    status: Literal["queued", "running", "succeeded", "failed"] | None = None,
    kind: Literal["compile", "export", "train", "analyze"] | None = None,
) -> JobPage:
    """Jobs, newest first."""
    try:
        rows, following = jobs.page(caller.owner, limit, cursor, status, kind)
    except jobs.CursorError as error:
        raise HTTPException(422, str(error)) from error
    return JobPage(jobs=[JobSummary(**_shown(row)) for row in rows], next_cursor=following)


@app.post("/token")
def token(caller: Limited, x_api_key: Annotated[str | None, Header()] = None) -> Token:
    """A short-lived token in exchange for a key; not for a token, which would never end."""
    if not x_api_key:
        raise HTTPException(401, "A token is given for a key in the header X-API-Key only.")
    value, seconds = auth.make_token(settings(), caller)
    return Token(access_token=value, token_type=SCHEME, expires_in=seconds)


# --- probes -------------------------------------------------------------------------------------------------


@app.get("/")
async def root() -> dict[str, str]:
    """What this is."""
    return {"name": "neural-dsl", "version": __version__, "docs": "/docs"}


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether this process lives: touches nothing, waits for nothing."""
    return {"status": "ok", "version": __version__}


class Readiness:
    """Checks with a time-out each; requests that come at the same time share one check."""

    def __init__(self) -> None:
        self._running: asyncio.Task[dict[str, str]] | None = None
        self._broker = broker.client(CONFIG, timeout=1)

    async def checks(self) -> dict[str, str]:
        """Each check's outcome: ``ok`` or what fails."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._all())
        return await asyncio.shield(self._running)

    async def _all(self) -> dict[str, str]:
        names = ("database", "broker")
        return dict(zip(names, await asyncio.gather(self._one(self._database), self._one(self._ping)), strict=True))

    @staticmethod
    async def _one(check: Callable[[], None]) -> str:
        try:
            await asyncio.wait_for(asyncio.to_thread(check), READY_TIMEOUT)
        except TimeoutError:
            return f"no answer within {READY_TIMEOUT:.0f} s"
        except Exception as error:
            LOG.warning("not ready: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
            return f"fails: {type(error).__name__}"
        return "ok"

    @staticmethod
    def _database() -> None:
        db.check(db.primary())

    def _ping(self) -> None:
        self._broker.ping()


readiness = Readiness()


@app.get("/ready")
async def ready() -> JSONResponse:
    """Whether a request would be served: database and broker, each with a time-out."""
    checks = await readiness.checks()
    good = all(outcome == "ok" for outcome in checks.values())
    return JSONResponse({"ready": good, "checks": checks, "version": __version__}, status_code=200 if good else 503)


@app.get("/metrics")
async def metrics_page() -> Response:
    """Metrics in Prometheus' format, of all of this container's processes."""
    content = await asyncio.to_thread(metrics.render)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")
