"""Playbooks that are killed on the way, under load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import labtools as lab

from resilience import events
from resilience.credentials import Credentials
from resilience.drills import wait_for
from resilience.load import WARM, Live, clients_of
from rolling.operation import ANSWER_SECONDS

# How long after what it is killed in has begun (seconds): some plays and tasks are over in a second, some take several.
AFTER = 0.5


def killed_in(header: str, playbook: str, *arguments: str) -> bool:
    """Start a playbook, kill it where a line begins with a header, and return whether it was killed before its end."""
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-i", lab.INVENTORY, f"playbooks/{playbook}.yml", *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(lab.ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    run = subprocess.Popen(
        command, cwd=lab.ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    seen = []
    for line in run.stdout:
        seen.append(line)
        if line.startswith(header):
            time.sleep(AFTER)
            break
    # Its workers and their connections go with it.
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert any(line.startswith(header) for line in seen), (header, "".join(seen[-40:]))
    # What it had begun on a server may go on for a moment.
    time.sleep(2)
    return run.returncode == -signal.SIGKILL


@contextmanager
def under_load(path: Path, credentials: Credentials) -> Iterator[None]:
    """Run what is inside under load, whose record is written to path: nothing fails, is lost or is doubled."""
    with Live(path) as recorder:
        load = clients_of(recorder, credentials, "app1", ANSWER_SECONDS)
        try:
            for part in load:
                part.start()
            begin = time.monotonic()
            wait_for(
                lambda: recorder.well_since(begin) and time.monotonic() - begin > WARM, 30, "all clients are answered"
            )
            yield
            back = time.monotonic()
            wait_for(lambda: recorder.well_since(back), 60, "all clients are answered afterwards")
        finally:
            for part in load:
                part.stop()
        for part in load[:3]:
            found = part.verdict()
            assert not found["lost"], found
            assert not found["doubled"], found


def failed(path: Path, *clients: str) -> list[dict[str, object]]:
    """Return the requests of clients that failed."""
    return [
        record
        for record in events.read(path)
        if record["kind"] == "attempt" and not record["ok"] and record["client"] in clients
    ]
