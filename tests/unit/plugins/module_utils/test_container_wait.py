"""Waiting for a container's program: on what Docker says, with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from ansible_collections.neural.platform.plugins.module_utils.container_wait import (
    Answer,
    Container,
    Life,
    Outcome,
    watch,
)

# `docker inspect --format` of Docker 26, of a container that ran, one that ended, and one that its engine starts again.
RUNNING = "running|0|0|2026-11-25T03:12:41.214551823Z"
ENDED = "exited|3|0|2026-11-25T03:12:41.214551823Z"
RESTARTING = "restarting|3|1|2026-11-25T03:12:41.214551823Z"
STARTED_AGAIN = "running|0|1|2026-11-25T03:12:47.902113377Z"


class Clock:
    """Seconds, which pass where one sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Run:
    """A container as it is second by second: its life, and whether its program works. The last state stays."""

    def __init__(self, *states: tuple[str | None, bool], name: str = "neural-api-2") -> None:
        self.clock = Clock()
        self.name = name
        self._states = states

    def _state(self) -> tuple[str | None, bool]:
        return self._states[min(int(self.clock.now), len(self._states) - 1)]

    def life(self) -> Life | None:
        text = self._state()[0]
        return None if text is None else Life.parse(text)

    def ask(self) -> Answer:
        works = self._state()[1]
        return Answer(works, "status 200" if works else "Connection refused")

    def container(self, timeout: float, stable: float = 0) -> Container:
        return Container(self.name, self.life, self.ask, timeout, stable)

    def watch(self, timeout: float, stable: float = 0) -> Outcome:
        return together(timeout, self, stable=stable)[0]


def together(timeout: float, *runs: Run, stable: float = 0) -> list[Outcome]:
    for run in runs:
        run.clock = runs[0].clock
    clock = runs[0].clock
    return watch([run.container(timeout, stable) for run in runs], clock=clock, sleep=clock.sleep)


def times(count: int, state: tuple[str | None, bool]) -> Iterator[tuple[str | None, bool]]:
    return (state for _second in range(count))


def test_works_at_once() -> None:
    assert Run((RUNNING, True)).watch(10) == Outcome("neural-api-2", "", 0, "status 200")


def test_waits_until_it_works() -> None:
    assert Run(*times(4, (RUNNING, False)), (RUNNING, True)).watch(10) == Outcome("neural-api-2", "", 4, "status 200")


def test_has_to_go_on_working() -> None:
    run = Run((RUNNING, True), (RUNNING, True), (RUNNING, False), (RUNNING, True))
    assert run.watch(10, stable=5) == Outcome("neural-api-2", "", 8, "status 200")


@pytest.mark.parametrize(("age", "waited"), [(60, 0), (3, 2)])
def test_may_have_proved_itself_before_it_was_watched(age: float, waited: float) -> None:
    """It counts for how long it has been running, and no more once it was started again."""
    begun = datetime(2026, 11, 25, 3, 12, 41, 214551, UTC).timestamp()
    run = Run((RUNNING, True))
    container = Container(run.name, run.life, run.ask, timeout=10, stable=0, lived=5)
    found = watch([container], clock=run.clock, sleep=run.clock.sleep, wall=lambda: begun + age + run.clock.now)
    assert [(one.problem, one.waited) for one in found] == [("", waited)]
    assert Life.parse(STARTED_AGAIN).lived(begun + 60) == pytest.approx(53.3, abs=0.1)


def test_never_works() -> None:
    found = Run((RUNNING, False)).watch(10)
    assert found.problem == "neural-api-2 does not work after 10 s"
    assert found.answer == "Connection refused"


def test_the_time_to_prove_itself_is_not_taken_from_the_time_to_start() -> None:
    assert Run(*times(9, (RUNNING, False)), (RUNNING, True)).watch(10, stable=5).problem == ""


def test_ends_at_once_when_the_program_ends() -> None:
    found = Run((RUNNING, False), (RUNNING, False), (ENDED, False)).watch(120)
    assert found.problem == "neural-api-2 ended with exit code 3 after 2 s"


def test_ends_at_once_when_the_engine_starts_it_again() -> None:
    for again in (RESTARTING, STARTED_AGAIN):
        found = Run((RUNNING, False), (RUNNING, True), (again, True)).watch(120, stable=5)
        assert "neural-api-2 ended after 2 s and was started again" in found.problem


def test_container_that_is_gone() -> None:
    assert Run((RUNNING, False), (None, False)).watch(120).problem == "there is no container neural-api-2"


def test_several_are_waited_for_at_the_same_time() -> None:
    slow, quick = Run(*times(4, (RUNNING, False)), (RUNNING, True)), Run((RUNNING, True), name="neural-dashboard-2")
    found = together(10, slow, quick, stable=5)
    assert [(one.name, one.waited, one.problem) for one in found] == [
        ("neural-dashboard-2", 5, ""),
        ("neural-api-2", 9, ""),
    ]


def test_one_that_ends_ends_the_wait_for_all() -> None:
    found = together(120, Run((RUNNING, False)), Run((RUNNING, False), (ENDED, False), name="neural-dashboard-2"))
    assert [one.problem for one in found] == ["neural-dashboard-2 ended with exit code 3 after 1 s"]


def test_one_that_works_no_more_begins_anew_the_other_does_not() -> None:
    unsteady = Run((RUNNING, True), (RUNNING, False), (RUNNING, True))
    found = together(10, unsteady, Run((RUNNING, True), name="neural-dashboard-2"), stable=3)
    assert [(one.name, one.waited) for one in found] == [("neural-dashboard-2", 3), ("neural-api-2", 5)]
