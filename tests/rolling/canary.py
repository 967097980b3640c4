"""A canary from its first clients to its end: operations for `operations.py`. They follow one another."""

from __future__ import annotations

import labtools as lab

from rolling.crowd import CLIENTS, Crowd
from rolling.operations import (
    APPLICATION_HOSTS,
    Check,
    Operation,
    Seen,
    runs,
    runs_original,
    shows_log,
    touches_only,
    version,
)

PLAYBOOK = "canary"
# Who met the canary at the smaller share.
met: set[int] = set()


def weight(percent: int) -> tuple[str, ...]:
    return ("-e", f"canary_weight={percent}")


def met_by(least: float, most: float) -> Check:
    """Check that so many percent of the clients meet the canary, twice, and that who met it before does still."""

    def check(_seen: Seen) -> list[str]:
        with Crowd() as crowd:
            first, second = crowd.meets_canary(), crowd.meets_canary()
        share = 100 * len(first) / CLIENTS
        print(f"\n{len(first)} of {CLIENTS} clients met the canary ({share:.2f} %)", flush=True)
        wrong = (
            [] if least <= share <= most else [f"{share:.2f} % of the clients met the canary, not {least} to {most} %"]
        )
        if moved := first ^ second:
            wrong.append(f"{len(moved)} clients met another version when they came again")
        if lost := met - first:
            wrong.append(f"{len(lost)} clients that met the canary at the smaller share do not any more")
        met.update(first)
        return wrong

    return check


def canaries(*hosts: str) -> Check:
    """Check that a canary runs on these hosts and on no other."""

    def check(_seen: Seen) -> list[str]:
        found = [
            host for host in APPLICATION_HOSTS if any(n.startswith("neural-canary-") for n in lab.containers(host))
        ]
        return [] if found == list(hosts) else [f"a canary runs on {found}, expected is {list(hosts)}"]

    return check


def changes_nothing(_seen: Seen) -> list[str]:
    """Check that site.yml takes the canary for what is wanted."""
    return [f"site.yml would change {task}" for task in lab.playbook("site", "--check").changed_tasks]


def only_canaries_new(seen: Seen) -> list[str]:
    names = {name for name in seen.before.keys() | seen.after.keys() if seen.before.get(name) != seen.after.get(name)}
    return [f"{name} was touched" for name in sorted(names) if "/neural-canary-" not in name]


OPERATIONS = (
    Operation(
        "canary-never-healthy",
        "Canary: an image that never becomes healthy",
        PLAYBOOK,
        lambda: (*version("never-healthy")(), *weight(10), "-e", '{"neural_api_wait_timeout": 30}'),
        refused=(":never-healthy", "was removed"),
        checks=(touches_only(), shows_log, canaries()),
    ),
    Operation(
        "canary-limited",
        "Canary: on one host",
        PLAYBOOK,
        lambda: (*version("next")(), *weight(10), "--limit", "app1"),
        refused=("--limit: found app1", "Nothing was touched"),
        checks=(touches_only(), canaries()),
    ),
    Operation(
        "canary-10",
        "Canary: 10 % of the clients",
        PLAYBOOK,
        lambda: (*version("next")(), *weight(10)),
        checks=(canaries(*APPLICATION_HOSTS), only_canaries_new, runs_original, met_by(9, 11), changes_nothing),
    ),
    Operation(
        "canary-update",
        "Canary: an update while it runs",
        "rolling_update",
        version("other"),
        refused=("canary=promote", "Nothing was touched"),
        checks=(touches_only(), canaries(*APPLICATION_HOSTS)),
    ),
    Operation(
        "canary-50",
        "Canary: 50 % of the clients",
        PLAYBOOK,
        lambda: weight(50),
        checks=(touches_only(), met_by(48, 52)),
    ),
    Operation(
        "canary-promote",
        "Canary: promoted, it is the version of all",
        PLAYBOOK,
        lambda: ("-e", "canary=promote"),
        checks=(canaries(), runs("next")),
    ),
    Operation(
        "canary-abort",
        "Canary: aborted",
        PLAYBOOK,
        lambda: ("-e", "canary=abort"),
        prepare=lambda: lab.playbook(PLAYBOOK, *version("other")(), *weight(10)),
        checks=(canaries(), only_canaries_new),
    ),
)
