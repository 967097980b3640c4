"""What the tests share: settings of a small environment, and the way to a running API."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = """network Mnist {
  input: (28, 28, 1)
  layers:
    Conv2D(filters=32, kernel_size=(3,3), activation="relu")
    MaxPooling2D(pool_size=(2,2))
    Flatten()
    Dense(units=128, activation="relu")
    Dropout(rate=0.5)
    Output(units=10, activation="softmax")
  loss: "categorical_crossentropy"
  optimizer: Adam(learning_rate=0.001)
}
"""
DENSE = """network Small {
  input: (16,)
  layers:
    Dense(units=8)
    Dropout(rate=0.25)
    Output(units=2, activation="softmax")
  loss: "categorical_crossentropy"
  optimizer: Adam(learning_rate=0.001)
}
"""


@pytest.fixture
def program() -> str:
    """A program of six layers, half of which the package drops for PyTorch."""
    return PROGRAM


@pytest.fixture
def dense_program() -> str:
    """A program of which the package drops nothing."""
    return DENSE


@pytest.fixture
def environment() -> dict[str, str]:
    """The least that the API needs."""
    return {
        "SECRET_KEY": "f3b1c07d9a52e8464c1d7be0925fa863",
        "API_KEYS": "key-of-the-first-owner\nsecond:key-of-the-second-owner",
        "DATABASE_URL": "postgresql://neural@db.internal:5432/neural_api",
        "CELERY_BROKER_URL": "redis://redis.internal:6379/0",
    }


def _client(key: str) -> httpx.Client:
    context = ssl.create_default_context(cafile=os.environ["API_SSL_CA_FILE"])
    context.load_cert_chain(os.environ["API_SSL_CERT_FILE"], os.environ["API_SSL_KEY_FILE"])
    return httpx.Client(base_url=os.environ["TEST_API_URL"], verify=context, headers={"X-API-Key": key}, timeout=30)


def _keys() -> list[str]:
    lines = Path(os.environ["API_KEYS_FILE"]).read_text(encoding="utf-8").split()
    return [line.partition(":")[2] for line in lines]


@pytest.fixture(scope="session")
def api() -> Iterator[httpx.Client]:
    """The running API, as its first owner."""
    if "TEST_API_URL" not in os.environ:
        pytest.fail("TEST_API_URL is not set: start these tests with ./run")
    with _client(_keys()[0]) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.get("/ready").status_code == 200:
                    break
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise AssertionError("the API does not answer") from error
            assert time.monotonic() < deadline, "the API is not ready"
            time.sleep(0.5)
        yield client


@pytest.fixture(scope="session")
def other(api: httpx.Client) -> Iterator[httpx.Client]:
    """The running API, as another owner."""
    with _client(_keys()[1]) as client:
        yield client


@pytest.fixture(scope="session")
def done(api: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Wait for a job's end."""

    def wait(job_id: str, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = api.get(f"/jobs/{job_id}").raise_for_status().json()
            if found["status"] in {"succeeded", "failed"}:
                return found
            assert time.monotonic() < deadline, f"job {job_id} is not done: {found}"
            time.sleep(0.25)

    return wait
