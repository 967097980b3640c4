"""A change that is killed at one step after the other, and run once more: nobody notices, and it ends well."""

from __future__ import annotations

import labtools as lab
import pytest

from resilience.credentials import Credentials
from resilience.drills import Stage
from rolling import canary
from rolling.conftest import OUTPUT
from rolling.cut_off import failed, killed_in, under_load
from rolling.operation import Seen
from rolling.operations import OPERATIONS
from rolling.test_rolling import NEVER_FAIL

# By operation: the tasks in which it is killed, as their headers begin.
MOMENTS = {
    "update": (
        "neural_api : Migrate the database",
        "container : Run neural-api-",
        "neural_app : See ready and live",
        "neural_app : Let requests end in",
        "container : Keep aside neural-worker-",
        "neural_worker : Wait until messages come back",
    ),
    "nginx-image": (
        "container : Keep aside neural-nginx",
        "container : Run neural-nginx",
        "container : Remove what was kept of neural-nginx",
    ),
    "haproxy-image": (
        "haproxy : Keep the old one's sockets",
        "container : Run neural-haproxy",
        "haproxy : See the new HAProxy live",
        "container : Remove what was kept of neural-haproxy",
    ),
    "etcd-restart": ("container : Run neural-etcd",),
    "redis-restart": ("container : Run neural-redis",),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_change_that_is_cut_off_is_taken_up(name: str, stage: Stage, versions: str, credentials: Credentials) -> None:
    operation = next(operation for operation in OPERATIONS if operation.name == name)
    stage.health.learn()
    stage.health.wait(180)
    path = OUTPUT / f"cut-off-{name}.jsonl"
    before = lab.identities()
    arguments = operation.arguments()
    try:
        with under_load(path, credentials):
            for task in MOMENTS[name]:
                killed = killed_in(f"TASK [neural.platform.{task}", operation.playbook, *arguments)
                assert killed, f"it ended before it could be killed in: {task}"
            done = lab.playbook(operation.playbook, *arguments)
        after = lab.identities()
        seen = Seen(before, after, done.output, done.returncode)
        assert [problem for check in operation.checks for problem in check(seen)] == []
        assert [container for container in after if container.endswith("-previous")] == []
        assert lab.playbook(operation.playbook, "--check", *arguments).changed_tasks == []
    finally:
        (operation.restore or canary.original)()
    assert failed(path, *NEVER_FAIL) == []
