"""Fixtures of the operations under load. They need the lab that `make demo` brings up, and root, as the drills do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labtools as lab
import pytest

from resilience.conftest import credentials, machine, stage
from rolling import images, report
from rolling.operations import APPLICATION_HOSTS, OPERATIONS

__all__ = ["credentials", "stage"]

OUTPUT = lab.ROOT / "build" / "rolling"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: one of the few operations that `make test` runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operation" in metafunc.fixturenames:
        metafunc.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])


@pytest.fixture(scope="session")
def versions(stage: object) -> Iterator[str]:
    """The test's versions in the lab's registry; the version that ran before runs again afterwards. Yields that."""
    host = APPLICATION_HOSTS[0]
    original = {
        "neural-dsl": images.running(host),
        "nginx": images.running(host, "neural-nginx"),
        "haproxy": images.running(host, "neural-haproxy"),
    }
    for name, tag in images.VERSIONS:
        images.push(name, tag, original[name])
    yield original["neural-dsl"]
    lab.playbook("application")


@pytest.fixture(scope="session", autouse=True)
def table() -> Iterator[Path]:
    """Make the report of whatever was measured, also when an operation failed."""
    yield OUTPUT
    if any(OUTPUT.glob("*.json")):
        report.write(OUTPUT, machine())
