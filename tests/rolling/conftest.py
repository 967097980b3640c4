"""Fixtures of the operations under load. They need the lab that `make demo` brings up, and root, as the drills do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labtools as lab
import pytest

from resilience.conftest import credentials, machine, stage
from resilience.credentials import members
from resilience.drills import Stage
from rolling import canary, images, report
from rolling.operations import OPERATIONS

__all__ = ["credentials", "stage"]

OUTPUT = lab.ROOT / "build" / "rolling"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: one of the few operations that `make test` runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operation" in metafunc.fixturenames:
        chosen = [
            pytest.param(operation, id=operation.name, marks=[pytest.mark.short] if operation.short else [])
            for operation in OPERATIONS
        ]
        metafunc.parametrize("operation", chosen)


@pytest.fixture(scope="session")
def versions(stage: Stage) -> Iterator[str]:
    """What the test's versions are made from; the version that ran before runs again afterwards. Yields that."""
    for name, (group, container) in images.RUNS.items():
        images.based_on[name] = images.running(members(group)[0], container)
    yield images.based_on["neural-dsl"]
    canary.original()
    stage.health.learn()


@pytest.fixture(scope="session", autouse=True)
def table() -> Iterator[Path]:
    """Make the report of whatever was measured, also when an operation failed."""
    yield OUTPUT
    if any(OUTPUT.glob("*.json")):
        report.write(OUTPUT, machine())
