# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Waiting until new containers work and go on working, or until it is clear that one does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Life:
    """What Docker says of a container: its process, and how often Docker has started it again."""

    status: str
    exit_code: int
    restarts: int
    started: str

    # For `docker inspect --format`.
    FORMAT = "{{.State.Status}}|{{.State.ExitCode}}|{{.RestartCount}}|{{.State.StartedAt}}"

    @classmethod
    def parse(cls, text: str) -> Life:
        """Read what `docker inspect` printed for FORMAT. Raises ValueError."""
        status, exit_code, restarts, started = text.strip().split("|")
        return cls(status, int(exit_code), int(restarts), started)

    def lived(self, now: float) -> float:
        """Return for how long it has been running, in seconds, at a time in seconds since 1970."""
        return now - datetime.fromisoformat(self.started).timestamp()


@dataclass(frozen=True)
class Answer:
    """What the program answered: whether it works, and its words."""

    works: bool
    text: str


@dataclass
class Outcome:
    """How the wait for a container ended; problem is empty when its program works."""

    name: str
    problem: str
    waited: float
    answer: str


@dataclass
class Container:
    """A container that is waited for: how it lives, how its program is asked, and for how long (seconds).

    Its program has to work for `stable` seconds that are watched, and to have been running for `lived` seconds.
    """

    name: str
    life: Callable[[], Life | None]
    ask: Callable[[], Answer]
    timeout: float
    stable: float
    lived: float = 0


class Watch:
    """What has been seen of a container since the wait for it began."""

    def __init__(self, container: Container, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._container = container
        self._clock = clock
        self._wall = wall
        self._start = clock()
        self._first: Life | None = None
        self._works_since: float | None = None
        self._answer = Answer(False, "nothing yet")

    def _spent(self) -> float:
        return round(self._clock() - self._start, 1)

    def _outcome(self, problem: str) -> Outcome:
        return Outcome(self._container.name, problem, self._spent(), self._answer.text)

    def _death(self, seen: Life | None) -> str:
        """Return how the container has ended, or nothing while it lives."""
        name, spent = self._container.name, self._spent()
        if seen is None:
            return f"there is no container {name}"
        self._first = self._first or seen
        if seen.status in ("exited", "dead"):
            return f"{name} ended with exit code {seen.exit_code} after {spent:g} s"
        again = seen.restarts > self._first.restarts or seen.started != self._first.started
        if seen.status == "restarting" or again:
            return f"{name} ended after {spent:g} s and was started again (exit code {seen.exit_code})"
        return ""

    def look(self) -> Outcome | None:
        """Look once; return how the wait has ended, or None while it has not."""
        seen = self._container.life()
        death = self._death(seen)
        if seen is None or death:
            return self._outcome(death)
        self._answer = self._container.ask()
        now = self._clock()
        if self._answer.works:
            self._works_since = now if self._works_since is None else self._works_since
            old_enough = self._container.lived == 0 or seen.lived(self._wall()) >= self._container.lived
            if old_enough and now - self._works_since >= self._container.stable:
                return self._outcome("")
        else:
            self._works_since = None
        spent = now - self._start
        proof = max(self._container.stable, self._container.lived)
        if spent > self._container.timeout + (proof if self._answer.works else 0):
            return self._outcome(f"{self._container.name} does not work after {spent:.0f} s")
        return None


def watch(
    containers: Sequence[Container],
    interval: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    wall: Callable[[], float] = time.time,
) -> list[Outcome]:
    """Ask until the program of each container has worked for as long as it has to, and return how it went.

    Ends at once when one is gone, has ended, or was started again since the wait began: what dies as soon as it runs
    would otherwise be waited for in vain, or be seen in one of its short lives. That one's outcome is then the last.
    Times are in seconds.
    """
    waiting = [Watch(container, clock, wall) for container in containers]
    ended: list[Outcome] = []
    while True:
        for one in list(waiting):
            outcome = one.look()
            if outcome:
                ended.append(outcome)
                waiting.remove(one)
                if outcome.problem:
                    return ended
        if not waiting:
            return ended
        sleep(interval)
