"""A rotation that is killed at one step after the other, and run once more: nobody is refused, and it ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import labtools as lab
import pytest

from resilience import events
from resilience.credentials import Credentials
from resilience.drills import Stage, wait_for
from resilience.load import WARM, Live, clients_of
from rolling import rotation
from rolling.conftest import OUTPUT
from rolling.operation import Seen
from rolling.test_rolling import ANSWER_SECONDS

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
# How long after the beginning of its play: some are over in a second, some take several.
AFTER = 0.5


def killed_in(play: str, secret: str) -> bool:
    """Start a rotation, kill it in a play, and return whether it was killed before its end."""
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-i", lab.INVENTORY, f"playbooks/{rotation.PLAYBOOK}.yml", "-e", f"secret={secret}"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(lab.ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    run = subprocess.Popen(
        command, cwd=lab.ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    seen = []
    for line in run.stdout:
        seen.append(line)
        if line.startswith(f"PLAY [{play}]"):
            time.sleep(AFTER)
            break
    # Its workers and their connections go with it.
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert any(line.startswith(f"PLAY [{play}]") for line in seen), (play, "".join(seen[-40:]))
    return run.returncode == -signal.SIGKILL


@pytest.mark.parametrize("secret", MOMENTS)
def test_a_rotation_that_is_cut_off_is_taken_up(secret: str, stage: Stage, credentials: Credentials) -> None:
    stage.health.wait(180)
    path = OUTPUT / f"cut-off-{secret}.jsonl"
    rotation.remember()
    with Live(path) as recorder:
        load = clients_of(recorder, credentials, "app1", ANSWER_SECONDS)
        try:
            for part in load:
                part.start()
            begin = time.monotonic()
            wait_for(
                lambda: recorder.well_since(begin) and time.monotonic() - begin > WARM, 30, "all clients are answered"
            )
            for play in MOMENTS[secret]:
                assert killed_in(play, secret), f"it ended before it could be killed in: {play}"
                # What the killed run had begun on a server may go on for a moment.
                time.sleep(2)
                between = lab.inventory_secrets()
                promised = between.get(f"{secret}_next")
            done = lab.playbook(rotation.PLAYBOOK, "-e", f"secret={secret}")
            back = time.monotonic()
            wait_for(lambda: recorder.well_since(back), 60, "all clients are answered afterwards")
        finally:
            for part in load:
                part.stop()
        for part in load[:3]:
            found = part.verdict()
            assert not found["lost"] and not found["doubled"], found
    failed = [
        record
        for record in events.read(path)
        if record["kind"] == "attempt" and not record["ok"] and record["client"] in ("https", "jobs", "postgresql")
    ]
    assert failed == []
    assert promised is None or lab.inventory_secrets()[secret] == promised
    assert rotation.rotated(secret)(Seen({}, {}, done.output, done.returncode)) == []
    assert lab.playbook("site").changed_tasks == []
