"""What the drills' clients and samplers make of what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from resilience.clients import reconcile
from resilience.samplers import parse_statistics

STATISTICS = (Path(__file__).parents[1] / "fixtures" / "haproxy" / "statistics.csv").read_text()


def test_what_was_acknowledged_and_is_gone_is_lost() -> None:
    lost, unknown = reconcile(attempted=[1, 2, 3, 4, 5], acknowledged=[1, 2, 3], present=[1, 3, 4, 99])
    assert lost == [2]
    # 4 was never acknowledged and is there, which is allowed; 99 is another client's.
    assert unknown == 1


def test_statistics_of_a_living_haproxy() -> None:
    view = parse_statistics(STATISTICS)
    assert len(view.primary) == 1
    assert len(view.master) == 1


def test_two_primaries_are_seen() -> None:
    rows = [line.split(",") for line in STATISTICS.splitlines()]
    for row in rows:
        row[:] = ["UP" if cell.startswith("DOWN") else cell for cell in row]
    view = parse_statistics("\n".join(",".join(row) for row in rows))
    assert len(view.primary) == 3
