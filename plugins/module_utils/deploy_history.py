# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The audit trail of deployments: a file on every host with a line of JSON for every event."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

STARTED = "started"
SUCCEEDED = "succeeded"
TAKEN_OVER = "taken over"

Event = dict[str, Any]


def read_events(path: str) -> list[Event]:
    """Return a file's events, oldest first; none where there is no file. A line that is no event is left out.

    Raises OSError when the file cannot be read.
    """
    try:
        text = Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return []
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def last_version(events: Iterable[Event]) -> str:
    """Return what the last run that succeeded left on the host; empty where none did."""
    return next((str(event.get("to", "")) for event in reversed([*events]) if event.get("result") == SUCCEEDED), "")


def event(
    holder: Mapping[str, Any], result: str, at: str, origin: str, target: str, failed_hosts: Sequence[str] = ()
) -> Event:
    """Return what is written down of a run."""
    line = {key: holder.get(key, "") for key in ("run", "who", "controller", "what", "since")}
    line.update({"at": at, "from": origin, "to": target, "result": result})
    if failed_hosts:
        line["failed_hosts"] = list(failed_hosts)
    return line


def new_events(
    events: Sequence[Event],
    result: str,
    at: str,
    holder: Mapping[str, Any],
    replaced: Mapping[str, Any],
    origin: str,
    target: str,
    failed_hosts: Sequence[str] = (),
) -> list[Event]:
    """Return the events that a run adds to a host's: that it took a dead run's lock, once, and its own result."""
    added = []
    known = {(item.get("run"), item.get("result")) for item in events}
    if replaced and (replaced.get("run"), TAKEN_OVER) not in known:
        # Nobody knows how far it came.
        added.append(event(replaced, TAKEN_OVER, at, "", ""))
    added.append(event(holder, result, at, origin or last_version(events), target, failed_hosts))
    return added


def write_events(path: str, limit: int, **details: Any) -> None:
    """Add what new_events makes of the details to a file, and keep the last lines of it.

    The file is replaced, so that it is whole at any time; a run without the deploy lock may be writing, too, so one
    waits for the other. Raises OSError.
    """
    target = Path(path)
    make_directories(target.parent)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        events = read_events(path)
        kept = [*events, *new_events(events, **details)][-limit:]
        scratch = target.with_name(f".{target.name}.new")
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            file.flush()
            os.fchmod(file.fileno(), 0o640)
            os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        os.close(directory)


def make_directories(directory: Path) -> None:
    """Make the history's directory for its group, and those above it, where they are missing, for everybody."""
    for parent in reversed(directory.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            parent.chmod(0o755)
    if not directory.exists():
        directory.mkdir(exist_ok=True)
        directory.chmod(0o750)
