"""Who runs a playbook, whether a process lives, and the history as a person reads it."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.deploy_history import read_events
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import Holder
from ansible_collections.neural.platform.plugins.plugin_utils import deploy

ROOT = Path(__file__).parents[4]
FIXTURES = Path(__file__).parents[2] / "fixtures" / "deploy"
NOW = datetime.datetime(2026, 11, 25, 4, 0, tzinfo=datetime.UTC)


def test_a_process_is_read_whatever_its_name() -> None:
    assert deploy.process_state((FIXTURES / "stat-odd-name").read_text()) == ("S", "1812279")
    assert deploy.process_state((FIXTURES / "stat-zombie").read_text()) == ("Z", "1812363")
    assert deploy.process_state("") == ("", "")


def test_this_process_lives_and_one_that_ended_does_not() -> None:
    me = deploy.this_run("", "site", {})
    assert me.pid == deploy.main_process()
    assert deploy.process_lives(me)
    assert not deploy.process_lives(replace(me, pid_started="1")), "its number is used again"
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not deploy.process_lives(replace(me, pid=ended.pid)), "nobody has collected it yet"
    ended.wait()
    assert not deploy.process_lives(replace(me, pid=ended.pid))


def test_a_process_of_another_user_that_is_hidden_may_live(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(deploy, "read", lambda _path: "")
    assert deploy.process_lives(Holder(pid=4711, pid_started="123456"))


def test_each_run_has_a_name_of_its_own() -> None:
    assert deploy.this_run("", "site", {}).run != deploy.this_run("", "site", {}).run


def test_who_is_the_given_user_or_the_one_behind_sudo_or_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "dave")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert deploy.this_run("carol", "site", {}).who == "carol"
    assert deploy.this_run("", "site", {}).who == "dave"
    monkeypatch.setenv("SUDO_USER", "erin")
    assert deploy.this_run("", "site", {}).who == "erin"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"args": ("playbooks/site.yml",), "subset": None, "tags": ["all"], "skip_tags": []}, "site.yml"),
        ({"args": ("neural.platform.site",), "subset": "app2"}, "neural.platform.site --limit app2"),
        ({"args": ("a.yml", "b.yml"), "tags": ["x", "y"], "skip_tags": ["z"]}, "a.yml b.yml --tags x,y --skip-tags z"),
        ({"args": ("a.yml",), "start_at_task": "Run", "extra_vars": ("password=x",)}, "a.yml --start-at-task Run"),
    ],
)
def test_what_is_run(arguments: dict[str, Any], text: str) -> None:
    assert deploy.command_line(arguments) == text


def test_the_version_of_a_checkout_and_of_an_installed_collection(tmp_path: Path) -> None:
    assert f"\nversion: {deploy.collection_version()}\n" in (ROOT / "galaxy.yml").read_text()
    assert deploy.collection_version(tmp_path) == ""
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "1.2.3"}}))
    assert deploy.collection_version(tmp_path) == "1.2.3"


# --- the table ---------------------------------------------------------------------------------------------------


def reports(**changed: Any) -> dict[str, dict[str, Any]]:
    """Return what the hosts said; app3 does not answer."""
    lock: dict[str, Any] = {"lock": {}, "problem": "", **changed}
    recorded = {host: read_events(str(FIXTURES / f"history-{host}.jsonl")) for host in ("app1", "app2")}
    return {**{host: {"events": events, **lock} for host, events in recorded.items()}, "app3": {}}


def test_a_run_of_several_hosts_is_one_line() -> None:
    lines = deploy.history_lines(reports(), 4, NOW)
    assert [line.rstrip() for line in lines] == [
        "",
        "AT                    WHO    CONTROLLER  WHAT                  FROM   TO     RESULT      HOSTS",
        "2026-11-25T03:31:11Z  carol  vm          outer.yml --limit h4  0.1.0  0.1.0  started     app2",
        "2026-11-25T03:31:12Z  carol  vm          outer.yml --limit h4  0.1.0  0.1.0  succeeded   app2",
        "2026-11-25T03:31:22Z  -      -           -                     -      -      taken over  app2",
        "2026-11-25T03:31:22Z  root   vm          outer.yml --limit h4  0.1.0  0.1.0  started     app2",
        "",
        "app3 does not answer.",
        "Deploy lock: nobody holds it.",
    ]
    lines = deploy.history_lines(reports(), 100, NOW)
    assert sum("taken over" in line and "--limit h3" in line and line.endswith("app1 app2") for line in lines) == 1
    assert sum("succeeded, failed on h3" in line for line in lines) == 1
    times = [line[:20] for line in lines if line.startswith("2026")]
    assert times == sorted(times)


def test_who_holds_the_lock_is_told() -> None:
    holder = Holder(who="bob", controller="laptop", what="site.yml", since="2026-11-25T03:59:00Z").to_dict()
    last = deploy.history_lines(reports(lock=holder), 1, NOW)[-1]
    assert last == "Deploy lock: held by bob on laptop, running site.yml since 2026-11-25T03:59:00Z, for 60 s."
    last = deploy.history_lines(reports(problem="no member of etcd answers (app1: Connection refused)"), 1, NOW)[-1]
    assert last == (
        "Deploy lock: it cannot be told who holds it: no member of etcd answers (app1: Connection refused)."
    )
    assert deploy.history_lines({"app1": {}}, 1, NOW) == [
        "",
        "No run has been written down.",
        "",
        "app1 does not answer.",
        "Deploy lock: it cannot be told who holds it: no host answers.",
    ]
