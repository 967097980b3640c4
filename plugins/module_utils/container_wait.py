# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Waiting until a new container works and goes on working, or until it is clear that it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


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


@dataclass(frozen=True)
class Answer:
    """What the program answered: whether it works, and its words."""

    works: bool
    text: str


@dataclass
class Outcome:
    """How the wait ended; problem is empty when the container works."""

    problem: str
    waited: float
    answer: str


def watch(
    name: str,
    life: Callable[[], Life | None],
    ask: Callable[[], Answer],
    timeout: float,
    stable: float,
    interval: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Ask until the program has worked for `stable` seconds on end, at most `timeout` seconds and those.

    Gives up at once when the container is gone, has ended, or was started again since the wait began: what dies as
    soon as it runs would otherwise be waited for in vain, or be seen in one of its short lives. Times are in seconds.
    """
    start = clock()
    first: Life | None = None
    works_since: float | None = None
    answer = Answer(False, "nothing yet")
    while True:
        seen = life()
        spent = round(clock() - start, 1)
        if seen is None:
            return Outcome(f"there is no container {name}", spent, answer.text)
        first = first or seen
        if seen.status in ("exited", "dead"):
            return Outcome(f"{name} ended with exit code {seen.exit_code} after {spent:g} s", spent, answer.text)
        if seen.status == "restarting" or seen.restarts > first.restarts or seen.started != first.started:
            return Outcome(
                f"{name} ended after {spent:g} s and was started again (exit code {seen.exit_code})", spent, answer.text
            )
        answer = ask()
        now = clock()
        if answer.works:
            works_since = now if works_since is None else works_since
            if now - works_since >= stable:
                return Outcome("", round(now - start, 1), answer.text)
        elif works_since is not None:
            works_since = None
        if now - start > timeout + (stable if answer.works else 0):
            return Outcome(f"{name} does not work after {now - start:.0f} s", round(now - start, 1), answer.text)
        sleep(interval)
