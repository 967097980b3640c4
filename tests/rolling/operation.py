"""An operation: a playbook under load, and what has to come of it. `operations.py` lists them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import labtools as lab

from resilience import faults
from rolling import images

Check = Callable[["Seen"], list[str]]


@dataclass
class Seen:
    """What was there before an operation and after it, and what its playbooks printed."""

    before: dict[str, tuple[str, str, int]]
    after: dict[str, tuple[str, str, int]]
    output: str
    returncode: int

    @property
    def touched(self) -> set[str]:
        """Hosts with a container that is new, restarted or gone."""
        names = self.before.keys() | self.after.keys()
        return {name.split("/")[0] for name in names if self.before.get(name) != self.after.get(name)}


@dataclass(frozen=True)
class Operation:
    """An operation: a playbook and its arguments, and what must be so afterwards."""

    name: str
    title: str
    playbook: str
    arguments: Callable[[], tuple[str, ...]] = tuple
    # The arguments of a second run, which is a part of the operation.
    then: Callable[[], tuple[str, ...]] | None = None
    # It has to be refused, in a sentence that holds these words.
    refused: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    prepare: Callable[[], object] | None = None
    restore: Callable[[], object] | None = None
    # Longest time that clients of these may go without an acknowledgement (seconds); no other may fail at all.
    gaps: dict[str, float] = field(default_factory=dict)
    via: str = "app1"
    short: bool = False


# Longest time that a request may take (seconds). On a small machine the playbook itself makes answers slow: p99 tells.
ANSWER_SECONDS = 30.0
APPLICATION_HOSTS = ("app1", "app2", "app3")
# Workers send themselves a message every 15 s, and connect anew within a few.
CONSUMES_WITHIN = 60


def version(tag: str) -> Callable[[], tuple[str, ...]]:
    return lambda: ("-e", f"neural_app_image={images.reference(tag)}")


def runs(tag: str, *hosts: str) -> Check:
    """Check that the API of hosts is of a version; of all application hosts if none are named."""

    def check(_seen: Seen) -> list[str]:
        found = {host: images.running(host) for host in hosts or APPLICATION_HOSTS}
        return [
            f"{host} runs {image}, expected is {tag}" for host, image in found.items() if not image.endswith(f":{tag}")
        ]

    return check


def runs_original(_seen: Seen) -> list[str]:
    """Check that the API of all application hosts is what ran before the tests."""
    found = {host: images.running(host) for host in APPLICATION_HOSTS}
    wanted = images.based_on["neural-dsl"]
    return [f"{host} runs {image}, expected is {wanted}" for host, image in found.items() if image != wanted]


def touches_only(*hosts: str) -> Check:
    """Check that no container of another host is another one or was restarted (Id, StartedAt, restarts)."""
    return lambda seen: [f"{host} was touched" for host in sorted(seen.touched - set(hosts))]


def workers_consume(_seen: Seen) -> list[str]:
    """Check that a message of its own comes back to every worker, sent after the operation."""
    begin = time.monotonic()
    waiting = {host: faults.names_on(host, "neural-worker-") for host in APPLICATION_HOSTS}
    while any(waiting.values()) and time.monotonic() - begin < CONSUMES_WITHIN:
        time.sleep(2)
        for host, names in waiting.items():
            for name in list(names):
                said = lab.on(host, "docker", "exec", name, "python", "-m", "neural.api.worker_health", check=False)
                age = re.search(r"(\d+) s ago", said)
                if age and int(age[1]) < time.monotonic() - begin:
                    names.remove(name)
    return [f"{name} on {host} consumes nothing" for host, names in waiting.items() for name in names]


def shows_log(seen: Seen) -> list[str]:
    return [] if re.search(r"last lines?:", seen.output) else ["the container's last lines are not shown"]
