"""A rotation that is killed at one step after the other, and run once more: nobody is refused, and it ends well."""

from __future__ import annotations

import labtools as lab
import pytest

from resilience.credentials import Credentials
from resilience.drills import Stage
from rolling import rotation
from rolling.conftest import OUTPUT
from rolling.cut_off import failed, killed_in, under_load
from rolling.operation import Seen

# By secret: the plays in which it is killed.
MOMENTS = {
    "neural_db_password": (
        "Write the new value down, beside the present one",
        "Let the application try both passwords",
        "Change the password in PostgreSQL",
        "Make the new value the present one",
        "Let the application use the new value",
        "Forget the value before",
    ),
    "neural_redis_password": (
        "Let Redis take both passwords",
        "Make the new value the present one",
        "Let HAProxy use the new password",
        "Let the application use the new value",
        "Let Redis take the new password alone",
    ),
}


@pytest.mark.parametrize("secret", MOMENTS)
def test_a_rotation_that_is_cut_off_is_taken_up(secret: str, stage: Stage, credentials: Credentials) -> None:
    stage.health.wait(180)
    path = OUTPUT / f"cut-off-{secret}.jsonl"
    rotation.remember()
    with under_load(path, credentials):
        for play in MOMENTS[secret]:
            killed = killed_in(f"PLAY [{play}]", rotation.PLAYBOOK, "-e", f"secret={secret}")
            assert killed, f"it ended before it could be killed in: {play}"
            promised = lab.inventory_secrets().get(f"{secret}_next")
        done = lab.playbook(rotation.PLAYBOOK, "-e", f"secret={secret}")
    assert failed(path, "https", "jobs", "postgresql") == []
    assert promised is None or lab.inventory_secrets()[secret] == promised
    assert rotation.rotated(secret)(Seen({}, {}, done.output, done.returncode)) == []
    assert lab.playbook("site").changed_tasks == []
