"""`make demo` cut off with Ctrl-C, at one stage after the other, and run once more ends healthy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import labtools as lab

# What is taken away before, so that the run that is cut off has something to do in several tiers.
DAMAGE = {"app1": "neural-etcd", "app2": "neural-redis", "app3": "neural-haproxy", "db1": "", "cache1": ""}


# After how many seconds it is cut off: among the servers, and in the middle of two tiers.
MOMENTS = (8, 25, 50)


def heed_ctrl_c() -> None:
    """Undo what a shell does to its background jobs, which ignore it: the tests may be one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def cut_off(seconds: int) -> None:
    """Start `make demo`, and cut it off."""
    demo = subprocess.Popen(
        ["make", "demo"],
        cwd=lab.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    time.sleep(seconds)
    os.killpg(demo.pid, signal.SIGINT)
    demo.communicate(timeout=60)
    assert demo.returncode != 0, "it ended before it could be cut off"


def test_interrupted_demo_is_taken_up() -> None:
    for host, name in DAMAGE.items():
        if name:
            lab.on(host, "docker", "rm", "--force", name)
    for seconds in MOMENTS:
        cut_off(seconds)
    lab.run("make", "demo", timeout=900)
    status = json.loads((lab.ROOT / "build/lab/status.json").read_text())
    assert status["healthy"], status["problems"]
