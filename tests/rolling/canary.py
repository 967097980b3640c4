"""A canary from its first clients to its end: operations for `operations.py`."""

from __future__ import annotations

import json
from collections.abc import Callable

import labtools as lab

from rolling import images
from rolling.crowd import CLIENTS, Crowd
from rolling.operation import (
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
NOTE, RELEASE = "/etc/neural/canary.json", "/etc/neural/api/release.json"
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


def starts(tag: str, percent: int) -> Callable[[], tuple[str, ...]]:
    return lambda: (*version(tag)(), *weight(percent))


def noted() -> list[str]:
    """Return the servers that know of a canary."""
    return [host for host in lab.HOSTS if lab.on(host, "sh", "-c", f"cat {NOTE} 2>/dev/null || true")]


def forgotten(_seen: Seen) -> list[str]:
    """Check that no server knows of a canary any more."""
    return [f"{host} still has {NOTE}" for host in noted()]


def end() -> None:
    """Have no canary, whatever operations went before."""
    if noted():
        lab.playbook(PLAYBOOK, "-e", "canary=abort")


def original() -> None:
    """Have the version that ran before the tests, and no canary."""
    end()
    lab.playbook("application")


def ensure(percent: int) -> Callable[[], object]:
    """Return what makes sure of a canary; where there is one it only sets its share."""
    return lambda: lab.playbook(PLAYBOOK, *starts("next", percent)())


def cut_off_promotion() -> None:
    """Leave what a promotion leaves that was killed when it had begun with a host: that host wants the new version."""
    ensure(50)()
    release = json.dumps({"image": images.reference("next"), "previous": images.based_on["neural-dsl"]})
    lab.on("app1", "sh", "-c", f"echo '{release}' > {RELEASE}")


OPERATIONS = (
    Operation(
        "canary-weight",
        "Canary: more than all clients",
        PLAYBOOK,
        starts("next", 101),
        refused=("canary_weight: found 101", "Nothing was touched"),
        checks=(touches_only(), canaries(), forgotten),
        prepare=original,
    ),
    Operation(
        "canary-none",
        "Canary: an end where there is none",
        PLAYBOOK,
        lambda: ("-e", "canary=abort"),
        refused=("canary: found abort", "Nothing was touched"),
        checks=(touches_only(), canaries(), forgotten),
        prepare=end,
    ),
    Operation(
        "canary-limited",
        "Canary: on one host",
        PLAYBOOK,
        lambda: (*starts("next", 10)(), "--limit", "app1"),
        refused=("--limit: found app1", "Nothing was touched"),
        checks=(touches_only(), canaries(), forgotten),
        prepare=end,
    ),
    Operation(
        "canary-broken",
        "Canary: an image that cannot run",
        PLAYBOOK,
        starts("broken", 10),
        refused=(":broken", "nothing was touched"),
        checks=(touches_only(), canaries(), forgotten),
        prepare=end,
    ),
    Operation(
        "canary-dies",
        "Canary: an image that starts and then dies",
        PLAYBOOK,
        starts("dies", 10),
        refused=(":dies", "was removed"),
        checks=(touches_only(), shows_log, canaries(), forgotten),
        prepare=end,
    ),
    Operation(
        "canary-never-healthy",
        "Canary: an image that never becomes healthy",
        PLAYBOOK,
        lambda: (*starts("never-healthy", 10)(), "-e", '{"neural_api_wait_timeout": 30}'),
        refused=(":never-healthy", "was removed"),
        checks=(touches_only(), shows_log, canaries(), forgotten),
        prepare=end,
    ),
    Operation(
        "canary-10",
        "Canary: 10 % of the clients",
        PLAYBOOK,
        starts("next", 10),
        checks=(canaries(*APPLICATION_HOSTS), only_canaries_new, runs_original, met_by(9, 11), changes_nothing),
        prepare=original,
        short=True,
    ),
    Operation(
        "canary-update",
        "Canary: an update while it runs",
        "rolling_update",
        version("other"),
        refused=("canary=promote", "Nothing was touched"),
        checks=(touches_only(), canaries(*APPLICATION_HOSTS)),
        prepare=ensure(10),
    ),
    Operation(
        "canary-other",
        "Canary: another one while it runs",
        PLAYBOOK,
        starts("other", 10),
        refused=("neural_version: found", "end it first", "Nothing was touched"),
        checks=(touches_only(), canaries(*APPLICATION_HOSTS)),
        prepare=ensure(10),
    ),
    Operation(
        "canary-50",
        "Canary: 50 % of the clients",
        PLAYBOOK,
        lambda: weight(50),
        checks=(touches_only(), canaries(*APPLICATION_HOSTS), met_by(48, 52)),
        prepare=ensure(10),
    ),
    Operation(
        "canary-abort",
        "Canary: aborted",
        PLAYBOOK,
        lambda: ("-e", "canary=abort"),
        checks=(canaries(), forgotten, only_canaries_new, runs_original),
        prepare=ensure(50),
    ),
    # No restoration: the version before runs again at the end of all operations.
    Operation(
        "canary-promote",
        "Canary: promoted, it is the version of all; the run before was cut off",
        PLAYBOOK,
        lambda: ("-e", "canary=promote"),
        checks=(canaries(), forgotten, runs("next")),
        prepare=cut_off_promotion,
    ),
)
