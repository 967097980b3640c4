"""Health check of a worker's container: did a message of its own come back through the broker lately?

A worker whose very process hangs cannot end itself, as one that merely consumes nothing does (`worker_canary`): this
ends it, and the container is started again. Standard library only, as it runs often.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEALTH_FILE = Path(os.environ.get("WORKER_HEALTH_FILE") or Path(tempfile.gettempdir()) / "neural-worker-health.json")
MAXIMUM_AGE = float(os.environ.get("WORKER_HEALTH_MAX_AGE", "90"))
EXIT_AFTER = float(os.environ.get("WORKER_EXIT_AFTER", "180"))
# A process that was frozen together with its container, and goes on, shows it within this time. Seconds.
GRACE = 3.0


def read(path: Path) -> dict[str, Any] | None:
    """Return what the worker wrote last (pid; at and healthy_at: seconds, monotonic; reason), None if nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        healthy_at = found["healthy_at"]
        return {
            "pid": int(found["pid"]),
            "at": float(found["at"]),
            "healthy_at": None if healthy_at is None else float(healthy_at),
            "reason": str(found["reason"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check(found: dict[str, Any] | None, now: float, maximum_age: float) -> tuple[bool, str]:
    """Whether the worker is healthy, and a sentence."""
    if found is None or found["healthy_at"] is None:
        return False, "The worker has not received a message of its own yet."
    age = now - found["healthy_at"]
    if age > maximum_age:
        return False, f"The last round trip through the broker was {age:.0f} s ago, more than {maximum_age:.0f} s."
    return True, f"{found['reason']}, {age:.0f} s ago"


def hangs(found: dict[str, Any] | None, now: float, exit_after: float) -> bool:
    """Whether the worker has not even tried for so long that it would have ended itself if it could."""
    return found is not None and now - found["at"] > exit_after


def main() -> int:
    """Print the finding; 0 if healthy. A worker that hangs is killed."""
    found = read(HEALTH_FILE)
    healthy, sentence = check(found, time.monotonic(), MAXIMUM_AGE)
    if found is not None and hangs(found, time.monotonic(), EXIT_AFTER):
        time.sleep(GRACE)
        if read(HEALTH_FILE) == found:
            sentence += f" Process {found['pid']} hangs: it is killed, to be started again."
            os.kill(found["pid"], signal.SIGKILL)
    sys.stdout.write(sentence + "\n")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
