"""The running service: API, broker, database and workers, over TLS."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import os
import ssl
import time
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select, text, update

from neural.api import broker, db, jobs
from neural.api.models import Job
from neural.api.settings import settings

Done = Callable[[str], dict[str, Any]]


def test_probes_need_no_key(api: httpx.Client) -> None:
    anonymous = {"X-API-Key": ""}
    assert api.get("/health", headers=anonymous).json()["status"] == "ok"
    ready = api.get("/ready", headers=anonymous).json()
    assert ready["ready"] and ready["checks"] == {"database": "ok", "broker": "ok"}
    assert api.get("/", headers=anonymous).json()["name"] == "neural-dsl"
    assert "neural_http_requests_total" in api.get("/metrics", headers=anonymous).text


def test_no_client_certificate_no_answer() -> None:
    context = ssl.create_default_context(cafile=os.environ["API_SSL_CA_FILE"])

    def ask() -> None:
        with httpx.Client(verify=context) as client:
            client.get(f"{os.environ['TEST_API_URL']}/health")

    # In a thread of its own, as OpenSSL keeps a thread's last error, and hands it to the next connection that reads.
    with ThreadPoolExecutor(1) as pool, pytest.raises(httpx.TransportError):
        pool.submit(ask).result()


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": ""}, {"X-API-Key": "wrong" * 8}, {"Authorization": "Bearer nonsense"}]
)
def test_no_valid_key_is_401(api: httpx.Client, program: str, headers: dict[str, str]) -> None:
    headers = {"X-API-Key": "", **headers}
    assert api.post("/compile", json={"source": program}, headers=headers).status_code == 401
    assert api.get("/jobs", headers=headers).status_code == 401


def test_token_stands_for_its_key(api: httpx.Client) -> None:
    token = api.post("/token").raise_for_status().json()
    headers = {"X-API-Key": "", "Authorization": f"Bearer {token['access_token']}"}
    assert api.get("/jobs", headers=headers).status_code == 200
    assert api.post("/token", headers=headers).status_code == 401
    tampered = {**headers, "Authorization": headers["Authorization"][:-4] + "AAAA"}
    assert api.get("/jobs", headers=tampered).status_code == 401


def test_compile_writes_python_and_names_what_was_dropped(api: httpx.Client, done: Done, program: str) -> None:
    answer = api.post("/compile", json={"source": program, "backend": "pytorch"})
    assert answer.status_code == 202
    job = done(answer.json()["job_id"])
    assert (job["status"], job["kind"], job["queue"]) == ("succeeded", "compile", "compilation"), job
    assert job["worker"] == "compilation-1@test"
    ast.parse(job["result"]["code"])
    assert [layer["type"] for layer in job["result"]["dropped_layers"]] == ["Conv2D", "MaxPooling2D", "Flatten"]
    assert sum("was dropped" in warning for warning in job["result"]["warnings"]) == 3


def test_compile_keeps_every_layer_that_it_can(api: httpx.Client, done: Done, dense_program: str) -> None:
    job = done(api.post("/compile", json={"source": dense_program}).json()["job_id"])
    assert job["result"]["dropped_layers"] == []
    names = ast.unparse(ast.parse(job["result"]["code"]))
    assert all(name in names for name in ("layer0_dense", "layer1_dropout", "layer2_output"))


def test_export_onnx_gives_the_file_out(api: httpx.Client, other: httpx.Client, done: Done, program: str) -> None:
    job = done(api.post("/export", json={"source": program, "backend": "onnx"}).json()["job_id"])
    assert (job["status"], job["queue"]) == ("succeeded", "export"), job
    described = job["result"]["artifact"]
    answer = api.get(described["url"]).raise_for_status()
    assert hashlib.sha256(answer.content).hexdigest() == described["sha256"] == answer.headers["X-Content-SHA256"]
    assert len(answer.content) == described["size"]
    assert described["location"].startswith("file:/artifacts/")
    assert other.get(described["url"]).status_code == 404


def test_export_bundle(api: httpx.Client, done: Done, dense_program: str) -> None:
    job = done(api.post("/export", json={"source": dense_program, "backend": "tensorflow"}).json()["job_id"])
    content = api.get(job["result"]["artifact"]["url"]).raise_for_status().content
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert bundle.namelist() == ["model.json", "model.py", "program.neural", "report.json"]
        assert bundle.read("program.neural").decode() == dense_program


def test_analyze_runs_on_the_default_queue(api: httpx.Client, done: Done, program: str) -> None:
    job = done(api.post("/analyze", json={"source": program}).json()["job_id"])
    assert (job["status"], job["queue"], job["worker"]) == ("succeeded", "general", "general-1@test"), job
    assert job["result"]["output_shape"] == [None, 10]


def test_train_says_how_to_get_pytorch(api: httpx.Client, done: Done, program: str) -> None:
    job = done(api.post("/train", json={"source": program}).json()["job_id"])
    assert (job["status"], job["queue"], job["result"]) == ("failed", "training", None)
    assert "PyTorch" in job["error"] and "variant" in job["error"]


def test_a_job_that_cannot_be_done_says_why(api: httpx.Client, done: Done, dense_program: str) -> None:
    source = dense_program.replace("(16,)", "(28, 28, 1)")
    job = done(api.post("/compile", json={"source": source}).json()["job_id"])
    assert job["status"] == "failed"
    assert "Dense layer expects 2D input" in job["error"]


def test_program_that_does_not_parse_is_422(api: httpx.Client, program: str) -> None:
    answer = api.post("/compile", json={"source": program.replace("Flatten()", "Flatten(")})
    assert answer.status_code == 422
    body = answer.json()
    assert body["line"] == 7
    assert body["column"] > 0
    assert body["expected"]
    assert "line 7" in body["detail"]


def test_bad_requests(api: httpx.Client, program: str) -> None:
    assert api.post("/compile", json={"source": program, "backend": "caffe"}).status_code == 422
    assert api.post("/compile", json={"source": program, "unknown": 1}).status_code == 422
    assert api.post("/compile", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    assert api.post("/compile", json={"source": "a\0b"}).status_code == 422
    assert api.get(f"/jobs/{uuid.uuid4()}").status_code == 404
    assert api.get("/jobs/none").status_code == 404
    assert api.get("/jobs?cursor=nonsense").status_code == 422
    assert api.get("/nowhere").status_code == 404


def test_source_too_large_is_413(api: httpx.Client) -> None:
    assert api.post("/compile", json={"source": "#" * (settings().max_source_bytes + 1)}).status_code == 413
    assert api.post("/compile", content=b"x" * (settings().max_source_bytes * 8)).status_code == 413

    def chunks() -> Any:
        for _turn in range(40):
            yield b"x" * 65536

    assert api.post("/compile", content=chunks()).status_code == 413


def test_idempotency_key(api: httpx.Client, other: httpx.Client, program: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = api.post("/compile", json={"source": program, "backend": "onnx"}, headers=headers)
    again = api.post("/compile", json={"backend": "onnx", "source": program}, headers=headers)
    assert first.json() == again.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    conflict = api.post("/compile", json={"source": program}, headers=headers)
    assert conflict.status_code == 409
    assert "Idempotency-Key" in conflict.json()["detail"]
    assert api.post("/export", json={"source": program, "backend": "onnx"}, headers=headers).status_code == 409
    assert other.post("/compile", json={"source": program}, headers=headers).json() != first.json()


def test_jobs_belong_to_their_owner(api: httpx.Client, other: httpx.Client, dense_program: str) -> None:
    job_id = api.post("/compile", json={"source": dense_program}).json()["job_id"]
    assert other.get(f"/jobs/{job_id}").status_code == 404
    assert job_id not in {job["job_id"] for job in other.get("/jobs?limit=200").json()["jobs"]}


def test_pages_have_every_job_once(other: httpx.Client, dense_program: str) -> None:
    made = [other.post("/analyze", json={"source": dense_program}).json()["job_id"] for _turn in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = other.get(
            "/jobs", params={"limit": 3, "kind": "analyze", **({"cursor": cursor} if cursor else {})}
        ).json()
        assert len(page["jobs"]) <= 3
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert [job_id for job_id in seen if job_id in made] == made[::-1]


def _insert(source: str, **values: Any) -> str:
    job_id = uuid.uuid4()
    row = {
        "id": job_id,
        "owner": "alice",
        "kind": "compile",
        "queue": "compilation",
        "request": {"source": source, "backend": "pytorch"},
        "request_hash": str(job_id),
        **values,
    }
    db.write(lambda connection: connection.execute(insert(Job).values(**row)))
    return str(job_id)


PAST = func.now() - text("interval '1 hour'")


def test_sweeper_sends_a_lost_message_again(done: Done, dense_program: str) -> None:
    job = done(_insert(dense_program, published_at=PAST))
    assert (job["status"], job["attempts"]) == ("succeeded", 1)


def test_sweeper_gives_a_dead_workers_job_to_another(done: Done, dense_program: str) -> None:
    values = {"status": "running", "worker": "gone@nowhere", "attempts": 1, "lease_expires_at": PAST}
    job = done(_insert(dense_program, lease_token=uuid.uuid4(), **values))
    assert (job["status"], job["attempts"], job["worker"]) == ("succeeded", 2, "compilation-1@test")


def test_sweeper_gives_up_in_the_end(done: Done, dense_program: str) -> None:
    attempts = settings().job_max_attempts
    values = {"status": "running", "worker": "gone@nowhere", "attempts": attempts, "lease_expires_at": PAST}
    job = done(_insert(dense_program, **values))
    assert job["status"] == "failed"
    assert "gone@nowhere" in job["error"]


def test_one_sweeper_at_a_time() -> None:
    with db.primary().begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(jobs.SWEEP_LOCK)))
        assert jobs.sweep({}) is None


def test_a_job_is_claimed_once_and_finished_once(dense_program: str) -> None:
    job_id = uuid.UUID(_insert(dense_program, owner="nobody"))
    first = jobs.claim(job_id, "one@test")
    assert first is not None
    assert jobs.claim(job_id, "two@test") is None
    assert jobs.renew(first)
    db.write(lambda connection: connection.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=PAST)))
    second = jobs.claim(job_id, "two@test")
    assert second is not None
    assert not jobs.renew(first)
    assert not jobs.finish(first, result={"by": "one"})
    assert jobs.finish(second, result={"by": "two"})
    assert jobs.finish(second, result={"by": "two"}), "a repeated commit is recognised"
    assert jobs.claim(job_id, "three@test") is None
    row = jobs.get(job_id, "nobody")
    assert row is not None and row.result == {"by": "two"} and row.attempts == 2


def test_sentinel_client_reaches_the_master() -> None:
    host, _separator, port = os.environ["TEST_SENTINEL"].partition(":")
    config = settings().model_copy(update={"redis_sentinel_hosts": [(host, int(port))], "redis_url": ""})
    assert broker.client(config, timeout=5).ping()


def test_rate_limit_is_429(other: httpx.Client) -> None:
    limit = settings().rate_limit_requests
    for _turn in range(2 * limit + 2):  # a window may end meanwhile
        answer = other.get("/jobs?limit=1")
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= settings().rate_limit_period + 1
    assert "try again" in answer.json()["detail"]
    assert other.get("/health").status_code == 200


def test_many_jobs_at_once_are_each_done_once(api: httpx.Client, done: Done, dense_program: str) -> None:
    accepted = [api.post("/compile", json={"source": dense_program}).json()["job_id"] for _turn in range(25)]
    found = [done(job_id) for job_id in accepted]
    assert {(job["status"], job["attempts"]) for job in found} == {("succeeded", 1)}


def test_compile_onnx_carries_the_model(api: httpx.Client, done: Done, program: str) -> None:
    result = done(api.post("/compile", json={"source": program, "backend": "onnx"}).json()["job_id"])["result"]
    content = base64.b64decode(result["model_base64"])
    assert hashlib.sha256(content).hexdigest() == result["model_sha256"]
    assert "Conv" in result["code"]
    assert any("not valid" in warning for warning in result["warnings"])


def test_health_answers_at_once(api: httpx.Client) -> None:
    api.get("/health")
    started = time.monotonic()
    assert api.get("/health").status_code == 200
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("refuse", "allow"),
    [
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["fenced", "demoted"],
)
def test_jobs_outlive_a_broker_that_refuses_writes(
    api: httpx.Client, done: Done, dense_program: str, refuse: tuple[str, ...], allow: tuple[str, ...]
) -> None:
    client = broker.client(settings(), timeout=5)
    client.execute_command(*refuse)
    try:
        made = [
            api.post(f"/{kind}", json={"source": dense_program}).json()["job_id"] for kind in ("compile", "export") * 3
        ]
        # How long the refusal lasts: longer than a worker's and the publisher's first retries.
        time.sleep(12)
        assert {api.get(f"/jobs/{job_id}").json()["status"] for job_id in made} == {"queued"}
    finally:
        client.execute_command(*allow)
    assert {done(job_id)["status"] for job_id in made} == {"succeeded"}
