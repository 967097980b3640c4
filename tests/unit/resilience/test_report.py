"""The report of all rounds: what it holds, and that page and pictures stand for themselves."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from resilience import analysis, report

LIMITS = [{"name": "gap.postgresql", "at_most": 16, "aim": 15}, {"name": "lost", "at_most": 0}]


def events(gap: float, lost: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"kind": "mark", "name": name, "at": at, "text": text}
        for name, at, text in (
            ("load", 0.0, ""),
            ("fault", 10.0, "server db1 <killed>"),
            ("healed", 40.0, "started"),
            ("healthy", 50.0, ""),
            ("end", 55.0, ""),
        )
    ]
    for number in range(550):
        at = number / 10
        ok = not 10 <= at < 10 + gap
        found.append({"kind": "attempt", "client": "postgresql", "id": number, "begin": at, "end": at + 0.01, "ok": ok})
    for number in range(55):
        for host in ("db1", "app2"):
            leads = host == ("db1" if number < 10 else "app2" if number > 30 else None)
            found.append(
                {
                    "kind": "sample",
                    "what": "postgresql",
                    "host": host,
                    "begin": number,
                    "end": number + 0.01,
                    "rest": leads,
                    "recovery": not leads,
                    "acked": leads,
                    "timeline": 1 if host == "db1" else 2,
                }
            )
    found.append({"kind": "ledger", "client": "postgresql", "acknowledged": 550, "lost": list(lost), "doubled": []})
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    report.environment(tmp_path, machine={"cores": 2}, settings={"synchronous": "on"})
    for name, gap in (("1", 20.0), ("2", 10.0), ("10", 12.0)):
        drill = {"name": "kill-primary", "title": "Primary <killed>", "settings": {"ttl": 20}, "limits": LIMITS}
        records = events(gap)
        report.store(tmp_path, name, analysis.summary(records, drill))
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / name / "kill-primary.jsonl").write_text(lines)
    return tmp_path


def test_rounds_make_a_median(root: Path) -> None:
    found = report.collect(root)
    assert found["rounds"] == ["1", "2", "10"]
    assert found["machine"] == {"cores": 2}
    [drill] = found["drills"]
    limit = drill["limits"][0]
    assert limit["measured"] == pytest.approx([20.1, 10.1, 12.1])
    assert (limit["median"], limit["worst"]) == (pytest.approx(12.1), pytest.approx(20.1))
    assert limit["passed"]
    assert limit["aim_met"]
    assert drill["ledgers"]["postgresql"]["acknowledged"] == 1650
    assert found["passed"]


def test_one_round_that_lost_something_fails_all(root: Path) -> None:
    path = root / "2" / "kill-primary.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in events(10, lost=(3,))))
    found = report.collect(root)
    assert not found["passed"]
    assert found["drills"][0]["ledgers"]["postgresql"]["lost_ids"] == [3]


def test_page_and_pictures_stand_for_themselves(root: Path) -> None:
    assert report.main([str(root)]) == 0
    page = (root / "index.html").read_text()
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert 'src="' not in page
    assert "Primary &lt;killed&gt;" in page
    assert "PostgreSQL 12.1 s / 20.1 s" in page
    for name in ("1", "2", "10"):
        drawn = ET.fromstring((root / name / "kill-primary.svg").read_text())
        assert "stood still" in drawn.attrib["aria-label"]
    assert json.loads((root / "report.json").read_text())["format"] == 1


def test_markdown(root: Path) -> None:
    line = report.markdown(report.collect(root)).splitlines()[2]
    assert line == "| Primary <killed> | PostgreSQL 12.1 s | 16.0 s | 0 | 0 | 40.0 s |"


def test_an_entry_without_events_stays_in_the_report(root: Path) -> None:
    (root / "1" / "kill-primary.jsonl").unlink()
    assert report.write(root)["drills"][0]["rounds"] == ["1", "2", "10"]


def test_a_client_that_never_came_back(tmp_path: Path) -> None:
    records = events(100)
    entry = analysis.summary(records, {"name": "dead", "limits": LIMITS})
    assert "PostgreSQL never came back" in report.headline(entry)
    assert "<svg" in report.picture(records, entry)
    report.store(tmp_path, "1", entry)
    found = report.collect(tmp_path)
    assert found["drills"][0]["gaps"]["postgresql"] == {"measured": [None], "median": None, "worst": None}
    assert "PostgreSQL never" in report.markdown(found)
    assert not found["passed"]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"kind":"mark"}\n{"kind":"att')
    assert report.load_events(path) == [{"kind": "mark"}]
    path.write_text('{"kind":"att\n{"kind":"mark"}\n')
    with pytest.raises(json.JSONDecodeError):
        report.load_events(path)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (20.34, "s", "20.3 s"),
        (0.073, "s", "0.07 s"),
        (None, "s", "never"),
        (12.6, "ms", "13 ms"),
        (2.0, "", "2"),
        (None, "ms", "-"),
    ],
)
def test_show(value: float | None, unit: str, text: str) -> None:
    assert report.show(value, unit) == text


def test_labels_of_marks_are_neither_above_each_other_nor_crossed() -> None:
    texts = [
        ("fault", 10.0, "replication cut"),
        ("fault", 11.0, "server db1 killed"),
        ("healed", 52.0, "server started"),
    ]
    marks = [{"kind": "mark", "name": name, "at": at, "text": text} for name, at, text in texts]
    marks.append({"kind": "mark", "name": "healthy", "at": 58.0, "text": ""})
    rows = report._rows_of_marks(marks, 10.0, -10.0, 50.0, report.DRILL)
    assert [(text, row) for _at, _name, text, _left, row in rows] == [
        ("replication cut (+0.0 s)", 0),
        ("server db1 killed (+1.0 s)", 1),
        ("healed: server started (+42.0 s)", 1),
        ("healthy again (+48.0 s)", 0),
    ]
