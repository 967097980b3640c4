"""Every operation can be looked at first: a dry run of it ends well, and touches nothing (of secrets: test_85)."""

from __future__ import annotations

from collections.abc import Callable

import labtools as lab
import pytest

# By playbook: what a person would give on the command line, as name=value.
OPERATIONS = (
    ("rolling_update", "neural_force=true"),
    ("maintenance", "host=app1"),
    ("maintenance", "host=db1"),
    *(("restart", f"service={service}") for service in ("workers", "postgresql", "redis", "haproxy", "keepalived")),
    *(("switchover", f"service={service}") for service in ("postgresql", "redis", "vip")),
    ("rotate_certificates",),
    ("rotate_certificates", "rotate_ca=true"),
    ("docker", "neural_force=true"),
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_dry_run_touches_nothing(operation: tuple[str, ...], untouched: Callable[[], None]) -> None:
    playbook, *variables = operation
    given = [part for variable in variables for part in ("-e", variable)]
    secrets = lab.inventory_secrets()
    done = lab.playbook(playbook, "--check", "--diff", *given)
    assert done.recap, done.output[-4000:]
    untouched()
    assert lab.inventory_secrets() == secrets
