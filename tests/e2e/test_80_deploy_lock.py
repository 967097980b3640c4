"""Of two runs at once the second is refused; a run that was killed leaves a lock that the next one takes over."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import labtools as lab

# As the lock names whoever runs a playbook.
WHO = os.environ.get("SUDO_USER") or getpass.getuser()
HISTORY = "/var/lib/neural/deploy/history.jsonl"


def history(host: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [json.loads(line) for line in lab.on(host, "cat", HISTORY).splitlines()]
    return found


def test_second_run_is_refused_and_a_killed_one_is_replaced(untouched: Callable[[], None]) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    first = subprocess.Popen(
        [program, "-i", lab.INVENTORY, "playbooks/site.yml"],
        cwd=lab.ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(lab.ROOT / "ansible.cfg")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert first.stdout is not None
        # The first tier after the lock.
        assert any("Docker engines" in line for line in first.stdout), "site.yml ended before it took the lock"
        second = lab.playbook("keepalived", check=False)
        assert second.returncode != 0
        sentence = re.sub(r"\s+", " ", second.output)
        for word in (
            "deploy lock is held by",
            getpass.getuser(),
            socket.gethostname(),
            "site.yml",
            "deploy_lock_force",
        ):
            assert word in sentence, (word, second.output[-3000:])
        assert lab.playbook("keepalived", "--check").returncode == 0
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    time.sleep(1)
    third = lab.playbook("keepalived")
    assert "is taken over from" in re.sub(r"\s+", " ", third.output), third.output[-3000:]
    results = [entry["result"] for entry in history("app1")]
    assert "taken over" in results
    assert history("app1")[-1]["result"] == "succeeded"
    assert history("app1")[-1]["who"] == WHO
    untouched()
