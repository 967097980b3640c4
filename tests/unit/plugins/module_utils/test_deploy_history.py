"""The history of deployments, as recorded on hosts: what is read, added and kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.deploy_history import (
    SUCCEEDED,
    event,
    last_version,
    new_events,
    read_events,
    write_events,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "deploy"
HOLDER = {"run": "run-c", "who": "carol", "controller": "admin1", "what": "site.yml", "since": "2026-11-25T04:00:00Z"}
DEAD = {"run": "run-b", "who": "bob", "controller": "laptop", "what": "etcd.yml", "since": "2026-11-25T03:00:00Z"}
AT = "2026-11-25T04:10:00Z"


def details(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"result": SUCCEEDED, "at": AT, "holder": HOLDER, "replaced": {}}
    return {**given, "origin": "", "target": "0.2.0", **changed}


def test_a_recorded_history_is_read() -> None:
    events = read_events(str(FIXTURES / "history-app1.jsonl"))
    assert [item["result"] for item in events][-2:] == ["taken over", "started"]
    assert last_version(events) == "0.1.0"


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text((FIXTURES / "history-app1.jsonl").read_text()[:-40] + "\n[]\n")
    assert len(read_events(str(path))) == 7


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert read_events(str(tmp_path / "none")) == []
    assert last_version([]) == ""


def test_an_event_says_who_what_when_from_to_and_result() -> None:
    assert new_events([], **details()) == [
        {**HOLDER, "at": AT, "from": "", "to": "0.2.0", "result": "succeeded"},
    ]


def test_it_begins_with_what_the_last_success_left() -> None:
    events = read_events(str(FIXTURES / "history-app2.jsonl"))
    assert new_events(events, **details())[0]["from"] == "0.1.0"
    assert new_events(events, **details(origin="registry/neural:1"))[0]["from"] == "registry/neural:1"


def test_hosts_that_failed_are_named() -> None:
    assert new_events([], **details(failed_hosts=["app2"]))[0]["failed_hosts"] == ["app2"]
    assert "failed_hosts" not in event(HOLDER, SUCCEEDED, AT, "", "")


def test_a_takeover_is_written_once() -> None:
    first = new_events([], **details(replaced=DEAD, result="started"))
    assert [(item["run"], item["result"]) for item in first] == [("run-b", "taken over"), ("run-c", "started")]
    second = new_events(first, **details(replaced=DEAD))
    assert [(item["run"], item["result"]) for item in second] == [("run-c", "succeeded")]


def test_the_file_is_made_for_its_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "neural" / "deploy" / "history.jsonl"
    mask = os.umask(0o077)
    try:
        write_events(str(path), 1000, **details())
    finally:
        os.umask(mask)
    modes = [item.stat().st_mode & 0o777 for item in (path, path.parent, path.parent.parent)]
    assert modes == [0o640, 0o750, 0o755]
    assert [item.name for item in path.parent.iterdir()] == ["history.jsonl"]


def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    shutil.copy(FIXTURES / "history-app2.jsonl", path)
    write_events(str(path), 3, **details())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item["run"] for item in lines][-1] == "run-c"
    assert len(lines) == 3


def test_a_run_that_was_cut_off_while_writing_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    (tmp_path / ".history.jsonl.new").write_text("half a li")
    write_events(str(path), 3, **details())
    assert len(read_events(str(path))) == 1


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "deploy").write_text("")
    with pytest.raises(OSError, match="deploy"):
        write_events(str(tmp_path / "deploy" / "history.jsonl"), 3, **details())
