"""Print how long updates of the application take on a lab without load, beside their aims: `make update-times`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import labtools as lab

from resilience.credentials import members
from rolling import images
from rolling.canary import original

TABLE = lab.ROOT / "build" / "rolling" / "times.md"
# What an update of three hosts and of one aims at (seconds).
ALL_HOSTS, ONE_HOST = 90, 35

Step = tuple[str, int, Callable[[], lab.PlaybookRun]]


def steps() -> list[Step]:
    before, following = images.based_on["neural-dsl"], images.reference("next")
    one = ("--limit", "app2")
    return [
        (
            "update of three hosts",
            ALL_HOSTS,
            lambda: lab.playbook("rolling_update", "-e", f"neural_app_image={following}"),
        ),
        ("rollback of three hosts", ALL_HOSTS, lambda: lab.playbook("rollback")),
        (
            "update of one host",
            ONE_HOST,
            lambda: lab.playbook("rolling_update", "-e", f"neural_app_image={following}", *one),
        ),
        ("back, one host", ONE_HOST, lambda: lab.playbook("rolling_update", "-e", f"neural_app_image={before}", *one)),
    ]


def main() -> None:
    """Run each step once, and write the table."""
    group, container = images.RUNS["neural-dsl"]
    images.based_on["neural-dsl"] = images.running(members(group)[0], container)
    lines = ["| what | seconds | aim | ratio |", "|---|---|---|---|"]
    try:
        for what, aim, run in steps():
            print(f"{what} ...", file=sys.stderr, flush=True)
            seconds = run().seconds
            lines.append(f"| {what} | {seconds:.0f} | {aim} | {seconds / aim:.2f} |")
    finally:
        original()
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
