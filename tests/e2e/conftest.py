"""Fixtures of the end-to-end tests. They need the lab that `make demo` brings up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labtools as lab
import pytest
import requests


@pytest.fixture(scope="session")
def status(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What status.yml says of the running platform."""
    target = tmp_path_factory.mktemp("status") / "status.json"
    lab.playbook("status", "-e", f"status_output={target}")
    found: dict[str, Any] = json.loads(target.read_text())
    return found


class Platform:
    """The platform as a client meets it: HTTPS with a verified certificate and an API key."""

    def __init__(self, url: str, ca_file: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        # Environment variables such as REQUESTS_CA_BUNDLE would replace the authority that is to be tested.
        self.session.trust_env = False
        self.session.verify = str(lab.ROOT / ca_file) if not Path(ca_file).is_absolute() else ca_file
        self.session.headers["X-API-Key"] = key

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, **options)

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=60, **options)

    def job(self, path: str, body: Any, seconds: float = 90) -> dict[str, Any]:
        """Post a job and return it when it has ended."""
        answer = self.post(path, body)
        assert answer.status_code == 202, answer.text
        identifier = answer.json()["job_id"]
        end = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self.get(f"/jobs/{identifier}").json()
            if found["status"] in ("succeeded", "failed"):
                return found
            assert time.monotonic() < end, f"after {seconds} s the job is still {found}"
            time.sleep(0.25)


@pytest.fixture(scope="session")
def platform(status: dict[str, Any]) -> Platform:
    return Platform(status["url"], status["ca_file"], lab.inventory_secrets()["neural_api_keys[0]"])


@pytest.fixture
def untouched() -> Iterator[Callable[[], None]]:
    """Check that no container was replaced or restarted since the test began."""
    before = lab.identities()
    assert before, "the lab runs no platform container: run `make demo` first"

    def check() -> None:
        assert lab.identities() == before

    yield check
