"""A user's way through the platform: HTTPS, real programs, the right pools, the row on every database server."""

from __future__ import annotations

import ast
import json
import time
from typing import Any

import labtools as lab
import pytest
import requests
from conftest import Platform

PROGRAM = """network TwoLayers {
  input: (784,)
  layers:
    Dense(128, activation="relu")
    Dropout(rate=0.2)
    Output(10, activation="softmax")
  loss: "categorical_crossentropy"
  optimizer: "Adam"
}
"""
CONVOLUTION = """network Convolution {
  input: (28, 28, 1)
  layers:
    Conv2D(filters=8, kernel_size=(3, 3), activation="relu")
    Flatten()
    Dense(16, activation="relu")
    Output(10, activation="softmax")
  loss: "categorical_crossentropy"
  optimizer: "Adam"
}
"""
NAMES = {"Dense": "Linear", "Dropout": "Dropout", "Output": "Linear", "Conv2D": "Conv2d", "Flatten": "Flatten"}


def test_status_is_healthy(status: dict[str, Any]) -> None:
    assert status["healthy"], status["problems"]
    assert {entry["host"] for entry in status["services"]} >= set(lab.HOSTS)


def test_certificate_is_verified(platform: Platform) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        stranger = requests.Session()
        stranger.trust_env = False
        stranger.get(platform.url + "/health", timeout=10)
    assert platform.get("/health").status_code == 200


def test_plain_http_is_redirected(platform: Platform) -> None:
    answer = platform.get("/health", allow_redirects=False)
    assert answer.status_code == 200
    plain = requests.get(platform.url.replace("https:", "http:") + "/health", timeout=10, allow_redirects=False)
    assert plain.status_code in (301, 308)
    assert plain.headers["Location"].startswith("https://")


@pytest.mark.parametrize(
    ("program", "layers"),
    [(PROGRAM, ["Dense", "Dropout", "Output"]), (CONVOLUTION, ["Conv2D", "Flatten", "Dense", "Output"])],
    ids=["dense", "convolution"],
)
def test_compile(platform: Platform, program: str, layers: list[str]) -> None:
    """Every layer is in the generated source, or named as dropped."""
    job = platform.job("/compile", {"source": program, "backend": "pytorch"})
    assert job["status"] == "succeeded", job
    assert job["queue"] == "compilation"
    assert job["worker"].startswith("compilation"), job["worker"]
    code = job["result"]["code"]
    ast.parse(code)
    dropped = json.dumps(job["result"]["dropped_layers"])
    for layer in layers:
        assert f"nn.{NAMES[layer]}(" in code or layer in dropped, f"{layer} is neither in the code nor named:\n{code}"


def test_export_runs_in_the_export_pool(platform: Platform) -> None:
    job = platform.job("/export", {"source": PROGRAM, "backend": "onnx"})
    assert job["status"] == "succeeded", job
    assert job["queue"] == "export"
    assert job["worker"].startswith("export"), job["worker"]


def test_default_queue_runs_in_the_general_pool(platform: Platform) -> None:
    job = platform.job("/analyze", {"source": PROGRAM})
    assert job["status"] == "succeeded", job
    assert job["worker"].startswith("general"), job["worker"]


def test_training_without_pytorch_says_what_is_missing(platform: Platform) -> None:
    job = platform.job("/train", {"source": PROGRAM, "backend": "pytorch"})
    assert job["worker"].startswith("training"), job["worker"]
    assert job["status"] == "failed"
    assert "PyTorch" in job["error"]


def test_program_that_does_not_parse(platform: Platform) -> None:
    answer = platform.post("/compile", {"source": "network Broken {\n  input: (28, 28\n}", "backend": "pytorch"})
    assert answer.status_code == 422
    text = json.dumps(answer.json())
    assert all(word in text for word in ("line", "column", "expected")), text


def test_key_is_needed(platform: Platform) -> None:
    for key in ("", "wrong"):
        answer = platform.post("/compile", {"source": PROGRAM, "backend": "pytorch"}, headers={"X-API-Key": key})
        assert answer.status_code == 401


def test_idempotency_key(platform: Platform) -> None:
    header = {"Idempotency-Key": f"e2e-{time.time_ns()}"}
    body = {"source": PROGRAM, "backend": "pytorch"}
    first = platform.post("/compile", body, headers=header)
    second = platform.post("/compile", body, headers=header)
    assert first.json()["job_id"] == second.json()["job_id"]
    other = platform.post("/compile", {"source": CONVOLUTION, "backend": "pytorch"}, headers=header)
    assert other.status_code in (409, 422)


def test_jobs_are_listed_in_pages(platform: Platform) -> None:
    for _attempt in range(3):
        platform.job("/compile", {"source": PROGRAM, "backend": "pytorch"})
    page = platform.get("/jobs", params={"limit": 2}).json()
    assert len(page["jobs"]) == 2
    following = platform.get("/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert {job["job_id"] for job in page["jobs"]}.isdisjoint(job["job_id"] for job in following["jobs"])


def test_row_is_on_primary_and_replicas(platform: Platform) -> None:
    job = platform.job("/compile", {"source": PROGRAM, "backend": "pytorch"})
    query = f"select status from jobs where id = '{job['job_id']}'"
    for host in ("db1", "app2", "app3"):
        for _attempt in range(50):
            found = lab.on(
                host, "docker", "exec", "neural-patroni", "psql", "-U", "postgres", "-d", "neural_api", "-Atc", query
            ).strip()
            if found == "succeeded":
                break
            time.sleep(0.1)
        assert found == "succeeded", f"{host} says {found!r}"


def test_dashboard(platform: Platform) -> None:
    answer = platform.get("/dashboard/")
    assert answer.status_code == 200
    assert "dash" in answer.text.lower()


def test_health_is_answered_by_every_balancer(platform: Platform) -> None:
    for host in ("app1", "app2"):
        address = lab.address(host)
        assert platform.session.get(f"https://{address}/health", timeout=10).status_code == 200
