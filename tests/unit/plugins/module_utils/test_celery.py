"""What Celery's workers said, as recorded from real ones, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.celery import (
    PROGRAM,
    Expected,
    command,
    evaluate,
    last_line,
    node_parts,
)
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState

FIXTURES = Path(__file__).parents[2] / "fixtures" / "celery"
EXPECTED = Expected(
    {
        "compilation-1@app1": ["compilation"],
        "compilation-1@app2": ["compilation"],
        "general-1@app1": ["general"],
    }
)


def state_of(name: str, expected: Expected = EXPECTED) -> ClusterState:
    """The state that is read from a recorded answer; the question that was recorded named more queues."""
    recorded: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    if recorded["stdout"]:
        answer = json.loads(recorded["stdout"])
        answer["queues"] = {queue: answer["queues"][queue] for queue in expected.queues}
        recorded["stdout"] = json.dumps(answer)
    return evaluate(expected, recorded["rc"], recorded["stdout"], recorded["stderr"], "neural-worker-general-1")


def test_all_workers_answer() -> None:
    state = state_of("healthy")
    assert state.healthy, state.problems
    assert state.details["queues"] == {"compilation": 0, "general": 0}
    assert [member["name"] for member in state.members] == list(EXPECTED.workers)
    first = state.members[0]
    assert (first["pool"], first["host"], first["answers"], first["concurrency"]) == ("compilation", "app1", True, 1)
    assert first["queues"] == ["compilation"], "the worker's own health queue is nobody's business"


def test_a_worker_that_hangs_is_named() -> None:
    state = state_of("worker_hangs")
    assert state.problems == ["The worker compilation-1@app2 does not answer (expected one on compilation)."]
    assert [member["answers"] for member in state.members] == [True, False, True]
    assert state.members[1]["queues"] == ["compilation"]


def test_a_queue_without_a_worker_is_named_with_its_length() -> None:
    state = state_of("backlog")
    assert "Nobody takes tasks from the queue compilation; 7 wait in it." in state.problems
    assert state.details["queues"]["compilation"] == 7


def test_a_pool_that_is_declared_but_never_started() -> None:
    expected = Expected({**EXPECTED.workers, "export-1@app1": ["export"]})
    state = state_of("healthy", expected)
    assert state.problems == [
        "The worker export-1@app1 does not answer (expected one on export).",
        "Nobody takes tasks from the queue export; 0 wait in it.",
    ]


def test_a_worker_that_takes_from_another_queue_than_declared() -> None:
    expected = Expected({**EXPECTED.workers, "general-1@app1": ["general", "training"]})
    state = state_of("healthy", expected)
    assert "The worker general-1@app1 does not take tasks from training." in state.problems


def test_a_worker_that_nobody_declared_is_listed_and_no_problem() -> None:
    expected = Expected({node: EXPECTED.workers[node] for node in ("compilation-1@app1", "general-1@app1")})
    state = state_of("healthy", expected)
    assert state.healthy
    assert [member["name"] for member in state.members][-1] == "compilation-1@app2"


def test_a_queue_that_is_too_long() -> None:
    recorded = json.loads((FIXTURES / "healthy.json").read_text())
    answer = json.loads(recorded["stdout"])
    answer["queues"] = {"compilation": 101, "general": 100}
    expected = Expected(EXPECTED.workers, max_queue_length=100)
    state = evaluate(expected, 0, json.dumps(answer), "", "x")
    assert state.problems == [
        "101 tasks wait in the queue compilation (expected at most 100), which 2 workers take from."
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broker_down", "Error -2 connecting to front-redis:6379. Name or service not known."),
        ("not_running", "is not running"),
        ("not_there", "No such container: front-nothing"),
    ],
)
def test_celery_cannot_be_asked(name: str, words: str) -> None:
    state = state_of(name)
    assert len(state.problems) == 1
    assert state.problems[0].startswith("Celery could not be asked in the container neural-worker-general-1: ")
    assert words in state.problems[0]
    assert not any(member["answers"] for member in state.members)
    assert state.details == {"queues": {}}


def test_the_command_names_no_more_than_it_must() -> None:
    made = command("/usr/bin/docker", "neural-worker-general-1", EXPECTED, 2.0)
    assert made[:6] == ["/usr/bin/docker", "exec", "--interactive", "neural-worker-general-1", "python", "-"]
    assert json.loads(made[6]) == {
        "timeout": 2.0,
        "workers": list(EXPECTED.workers),
        "queues": ["compilation", "general"],
    }


def test_the_program_is_valid_python() -> None:
    compile(PROGRAM, "PROGRAM", "exec")


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        ("compilation-1@app1", ("compilation", "app1")),
        ("gpu-large-2@h", ("gpu-large", "h")),
        ("celery@x", ("celery", "x")),
    ],
)
def test_node_parts(node: str, parts: tuple[str, str]) -> None:
    assert node_parts(node) == parts


def test_last_line_of_nothing() -> None:
    assert last_line(" \n\n") == "no output"
