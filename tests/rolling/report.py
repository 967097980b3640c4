"""The table of `docs/zero-downtime.md`: requests sent and failed, p50, p99 and longest gap of each operation.

`python tests/rolling/report.py build/rolling` prints it, and makes a picture of each. An entry is that of a drill
(`resilience.analysis.summary`) whose fault is the operation, with `seconds`, how long its playbook took.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from resilience import report as drills
from rolling.operations import OPERATIONS

CLIENTS = {"https": "HTTPS reads", "jobs": "job posts", "postgresql": "database ledger"}
OPERATION = drills.Words("it began", "end")
COLUMNS = ("operation", "seconds", "client", "sent", "failed", "lost", "doubled", "p50", "p99", "longest gap")


def row(entry: Mapping[str, Any], client: str) -> dict[str, Any]:
    """Return the figures of one client in one operation; times in milliseconds, gaps in seconds."""
    windows = entry["failures"][client].values()
    ledger = entry["ledgers"].get(client, {})
    latency = entry["latency_ms"][client]["during"]
    return {
        "sent": sum(window["attempts"] for window in windows),
        "failed": sum(window["failed"] for window in windows),
        "errors": [error for window in windows for error in window["errors"]],
        "lost": ledger.get("lost"),
        "doubled": ledger.get("doubled"),
        "p50": latency["p50"],
        "p99": latency["p99"],
        "gap": entry["gaps"][client]["seconds"],
    }


def _shown(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def cells(entry: Mapping[str, Any]) -> list[list[str]]:
    """Return an operation's lines of the table, one a client."""
    found = []
    for client, name in CLIENTS.items():
        figures = row(entry, client)
        first = client == "https"
        found.append(
            [
                entry["title"] if first else "",
                _shown(entry["seconds"]) if first else "",
                name,
                str(figures["sent"]),
                str(figures["failed"]),
                _shown(figures["lost"]),
                _shown(figures["doubled"]),
                f"{_shown(figures['p50'])} ms",
                f"{_shown(figures['p99'])} ms",
                f"{_shown(figures['gap'], 2)} s",
            ]
        )
    return found


def line(entry: Mapping[str, Any]) -> str:
    """Say an operation's figures in one line."""
    clients = (f"{client} {row(entry, client)['failed']}/{row(entry, client)['sent']} failed" for client in CLIENTS)
    gaps = ", ".join(f"{client} {_shown(gap['seconds'], 2)}" for client, gap in entry["gaps"].items())
    return f"{entry['drill']}: {entry['seconds']:.0f} s · {', '.join(clients)} · gaps (s): {gaps}"


def entries(root: Path) -> list[dict[str, Any]]:
    """Return what was measured, in the order of the operations."""
    order = [operation.name for operation in OPERATIONS]
    found = [json.loads(path.read_text()) for path in root.glob("*.json") if path.stem in order]
    return sorted(found, key=lambda entry: order.index(entry["drill"]))


def markdown(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(line)} |" for entry in measured for line in cells(entry)]
    return "\n".join(lines) + "\n"


def picture(root: Path, entry: Mapping[str, Any]) -> str:
    """Draw what each client got, as SVG."""
    failed, sent = (sum(row(entry, client)[what] for client in entry["failures"]) for what in ("failed", "sent"))
    return drills.picture(
        drills.load_events(root / f"{entry['drill']}.jsonl"),
        entry,
        heading=f"{failed or 'None'} of {sent} requests failed",
        words=OPERATION,
    )


def draw(root: Path, measured: Sequence[Mapping[str, Any]]) -> None:
    """Make a picture of each operation whose events are stored."""
    for entry in measured:
        if (root / f"{entry['drill']}.jsonl").exists():
            (root / f"{entry['drill']}.svg").write_text(picture(root, entry), encoding="utf-8")


def write(root: Path, machine: Mapping[str, str]) -> None:
    """Make `report.json`, `table.md` and a picture of each operation."""
    measured = entries(root)
    draw(root, measured)
    report = {"generated": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "operations": measured}
    (root / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (root / "table.md").write_text(markdown(measured))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make table and pictures again; print the table."""
    parser = argparse.ArgumentParser(description="Print the table of what was measured, and make the pictures again.")
    parser.add_argument("directory", type=Path, help="where it is stored, as build/rolling")
    root = parser.parse_args(arguments).directory
    measured = entries(root)
    draw(root, measured)
    print(markdown(measured), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
