"""A host that cannot carry the platform keeps a run from touching any host; one that does not answer does not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import labtools as lab

CHANGE = ("-e", '{"nginx_read_timeout": 299}')


def with_a_variable(where: Path, host: str, line: str) -> Path:
    """Return a copy of the lab's inventory in which one host has a variable more."""
    inventory = where / "inventory"
    shutil.copytree(lab.INVENTORY, inventory)
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / f"{host}.yml").write_text(f"{line}\n")
    return inventory


def test_a_host_that_fails_a_check_keeps_all_from_being_touched(tmp_path: Path, untouched: Callable[[], None]) -> None:
    inventory = with_a_variable(tmp_path, "app3", "preflight_min_disk_mb: 999999999")
    run = lab.playbook("site", *CHANGE, inventory=inventory, check=False)
    assert run.returncode != 0
    sentence = re.sub(r"\s+", " ", run.output)
    for words in ("expected 999999999 MiB (preflight_min_disk_mb)", "app3 failed the checks", "no host of the run was"):
        assert words in sentence, run.failed_tasks
    assert run.changed_tasks == []
    assert "Deploy lock" not in run.output
    untouched()


def test_a_host_that_is_away_keeps_no_other_from_its_work(tmp_path: Path, untouched: Callable[[], None]) -> None:
    inventory = with_a_variable(tmp_path, "app3", "ansible_port: 2")
    run = lab.playbook("preflight", inventory=inventory, check=False)
    assert {host: (count["failed"], count["unreachable"]) for host, count in run.recap.items()} == {
        host: (0, int(host == "app3")) for host in lab.HOSTS
    }
    untouched()
