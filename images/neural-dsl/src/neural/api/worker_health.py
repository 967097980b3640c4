"""Health check of a worker's container: did a message of its own come back through the broker lately?

Standard library only, as it runs often.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

HEALTH_FILE = Path(os.environ.get("WORKER_HEALTH_FILE") or Path(tempfile.gettempdir()) / "neural-worker-health.json")
MAXIMUM_AGE = float(os.environ.get("WORKER_HEALTH_MAX_AGE", "90"))


def check(path: Path, now: float, maximum_age: float) -> tuple[bool, str]:
    """Whether the worker is healthy, and a sentence."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        age = now - float(found["at"])
    except FileNotFoundError:
        return False, "The worker has not received a message of its own yet."
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, f"{path} cannot be read: {type(error).__name__}."
    if age > maximum_age:
        return False, f"The last round trip through the broker was {age:.0f} s ago, more than {maximum_age:.0f} s."
    return True, f"{found.get('reason', 'ok')}, {age:.0f} s ago"


def main() -> int:
    """Print the finding; 0 if healthy."""
    healthy, sentence = check(HEALTH_FILE, time.monotonic(), MAXIMUM_AGE)
    sys.stdout.write(sentence + "\n")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
