"""Every run can be repeated; a second run changes nothing; a change changes only what it must."""

from __future__ import annotations

from collections.abc import Callable

import labtools as lab
import pytest


def assert_no_change(run: lab.PlaybookRun) -> None:
    assert run.recap, run.output[-4000:]
    assert not run.changed_tasks, run.changed_tasks
    for host, count in run.recap.items():
        assert (count["changed"], count["failed"], count["unreachable"]) == (0, 0, 0), (host, count)


def test_second_run_changes_nothing(untouched: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.playbook("site")
    with capsys.disabled():
        print(f"\nsite.yml again: {run.seconds:.0f} s")
    assert_no_change(run)
    untouched()


def test_dry_run_of_a_converged_platform_reports_no_change(untouched: Callable[[], None]) -> None:
    assert_no_change(lab.playbook("site", "--check", "--diff"))
    untouched()


@pytest.mark.parametrize("host", lab.HOSTS)
def test_limit_to_one_host_changes_nothing(host: str, untouched: Callable[[], None]) -> None:
    """With an empty fact cache, as always here."""
    assert_no_change(lab.playbook("site", "--limit", host))
    untouched()


def test_changed_timeout_reloads_nginx_and_restarts_nothing(untouched: Callable[[], None]) -> None:
    change = ("-e", '{"nginx_read_timeout": 299}')
    foretold = lab.playbook("nginx", "--check", "--diff", *change)
    assert "299s" in foretold.output
    done = lab.playbook("site", *change)
    changed_hosts = {host for host, count in done.recap.items() if count["changed"]}
    assert changed_hosts == {"app1", "app2"}, done.changed_tasks
    assert {entry.split(": ", 1)[0] for entry in foretold.changed_tasks} == changed_hosts
    for host in ("app1", "app2"):
        assert "299s" in lab.on(host, "cat", "/etc/neural/nginx/nginx.conf")
    untouched()
    lab.playbook("nginx")
    untouched()
