"""What load, samplers and drills saw, one JSON object a line. Times are `time.monotonic()` here."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any


class Recorder:
    """Appends records to a file; every thread may use it. A record is on disk when `put` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def put(self, kind: str, **fields: Any) -> None:
        """Record something: `kind` is attempt, sample, mark or ledger."""
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":")) + "\n"
        with self._lock:
            self._file.write(line)

    def mark(self, name: str, text: str = "") -> float:
        """Record that something was done just now, and return when that is."""
        at = time.monotonic()
        self.put("mark", name=name, at=at, text=text)
        return at

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, in the order in which they were written."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
