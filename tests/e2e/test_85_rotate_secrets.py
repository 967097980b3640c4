"""A rotation of secrets that cannot be is refused in a sentence, and a dry run of one changes nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import labtools as lab
import pytest

SECRETS = lab.INVENTORY / "group_vars/all/secrets.yml"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["secret: found nothing", "neural_redis_password"]),
        (("-e", "secret=neural_redis_pasword"), ["found neural_redis_pasword", "neural_redis_password"]),
        (("-e", "secret=neural_ca_key"), ["found neural_ca_key"]),
        (("-e", "secret=neural_db_password", "-e", "retire=true"), ["retire", "secret=neural_api_keys"]),
        (("-e", "secret=neural_api_keys", "-e", "owner=nobody"), ["owner: found nobody", "expected is one of"]),
        (("-e", "secret=neural_redis_password", "--limit", "app1"), ["app2", "no --limit"]),
        (("-e", "secret=neural_redis_password", "-e", f"neural_redis_password={'x1y2z3w4' * 6}"), [str(SECRETS)]),
    ],
    ids=["nothing", "misspelt", "not one of them", "retire", "owner", "limit", "not in the file"],
)
def test_refused(arguments: tuple[str, ...], words: list[str], untouched: Callable[[], None]) -> None:
    held = SECRETS.read_bytes()
    run = lab.playbook("rotate_secrets", *arguments, check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.output
    sentence = re.sub(r"\s+", " ", run.output)
    missing = [word for word in [*words, "Nothing was touched."] if word not in sentence]
    assert not missing, (missing, run.output[-3000:])
    assert SECRETS.read_bytes() == held
    untouched()


def test_a_file_that_cannot_be_edited_is_refused(tmp_path: Path, untouched: Callable[[], None]) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(lab.INVENTORY, inventory)
    file = inventory / "group_vars/all/secrets.yml"
    # Another value refers to the one that would be changed.
    more = 'neural_redis_password_next: &empty ""\nlab_marker: *empty\n'
    file.write_text(file.read_text() + more)
    run = lab.playbook("rotate_secrets", "-e", "secret=neural_redis_password", inventory=inventory, check=False)
    assert run.returncode != 0
    sentence = re.sub(r"\s+", " ", run.output)
    assert f"{file} cannot be written" in sentence, run.output[-3000:]
    assert "no service was changed" in sentence
    assert file.read_text().endswith(more)
    untouched()


@pytest.mark.parametrize("secret", ["neural_api_keys", "neural_db_password", "neural_redis_password"])
def test_a_dry_run_changes_nothing(secret: str, untouched: Callable[[], None]) -> None:
    held = SECRETS.read_bytes()
    run = lab.playbook("rotate_secrets", "-e", f"secret={secret}", "--check", "--diff")
    assert run.changed_tasks, "it foretells nothing"
    assert SECRETS.read_bytes() == held
    untouched()
