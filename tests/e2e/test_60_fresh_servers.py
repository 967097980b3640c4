"""A second checkout with servers that nothing has touched: a dry run works there, and harms nobody else's lab."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import labtools as lab
import pytest

NAME = "fresh"


def make(checkout: Path, *arguments: str) -> str:
    """Run make in the other checkout, with this one's virtual environment."""
    environment = {key: value for key, value in os.environ.items() if key not in ("LAB", "MAKEFLAGS", "MAKELEVEL")}
    done = lab.run("make", "--directory", str(checkout), *arguments, timeout=900, check=False, env=environment)
    return f"{done.stdout}{done.stderr}\nexit code {done.returncode}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another checkout: the files that git tracks, and nothing that was made here."""
    where = tmp_path_factory.mktemp("second") / "checkout"
    for name in lab.run("git", "ls-files").stdout.splitlines():
        source, target = lab.ROOT / name, where / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    (where / ".venv").symlink_to(lab.ROOT / ".venv")
    yield where
    assert make(where, "lab-down", f"LAB={NAME}", "KEEP_IMAGES=1").endswith("exit code 0")
    left = lab.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    assert not [name for name in left if name.startswith(f"{NAME}-")]


def test_second_checkout_does_not_take_the_name(checkout: Path, untouched: Callable[[], None]) -> None:
    said = make(checkout, "lab-up", f"LAB={lab.PREFIX}")
    assert not said.endswith("exit code 0")
    assert str(lab.ROOT) in said, said
    assert "LAB=" in said
    untouched()


def test_dry_run_on_never_touched_servers(checkout: Path, untouched: Callable[[], None]) -> None:
    said = make(checkout, "lab-up", f"LAB={NAME}")
    assert said.endswith("exit code 0"), said[-4000:]
    inventory = checkout / "inventories/lab"
    lab.playbook("secrets", "-e", "secrets_plaintext=true", inventory=inventory)
    run = lab.playbook("site", "--check", "--diff", inventory=inventory)
    assert set(run.recap) >= set(lab.HOSTS)
    for host, count in run.recap.items():
        assert (count["failed"], count["unreachable"]) == (0, 0), (host, count)
    for host in lab.HOSTS:
        assert run.recap[host]["changed"] > 0
        found = lab.run(
            "docker", "exec", f"{NAME}-{host}", "sh", "-c", "docker ps -aq; [ ! -d /etc/neural ] || ls -A /etc/neural"
        )
        assert found.stdout == "", f"the dry run left something on {host}: {found.stdout}"
    untouched()
