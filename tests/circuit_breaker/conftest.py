"""The stage of a test: three hosts, with the instances and the settings that its marker asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "collections"))

from circuit_breaker.stage import HOSTS, Stage, staged

ONE_EACH = [f"{host}/slot1" for host in HOSTS]
# An ejection of three seconds, where the platform's takes 30.
SETTINGS = {"haproxy_breaker_time": 3}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "platform(instances, **settings): what runs, and the role's settings")


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    marker = request.node.get_closest_marker("platform")
    instances = marker.args[0] if marker and marker.args else ONE_EACH
    settings = {**SETTINGS, **(marker.kwargs if marker else {})}
    with staged(tmp_path, instances, settings) as made:
        yield made
