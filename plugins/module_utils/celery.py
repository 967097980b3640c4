# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Reading Celery: which workers answer, what they consume, and how long the queues are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState

# Runs inside a worker's container, which has the application, its settings and its way to the broker. The broadcasts
# end as soon as the expected number of workers has answered.
PROGRAM = r"""
import json, sys
from neural.api.celery_app import app
wanted = json.loads(sys.argv[1])
def ask(method):
    found, limit = {}, len(wanted["workers"]) or None
    for reply in app.control.broadcast(
        method, reply=True, timeout=wanted["timeout"], destination=wanted["workers"] or None, limit=limit
    ) or []:
        found.update(reply)
    return found
answer = {"workers": {}, "queues": {}}
active, stats = ask("active_queues"), ask("stats")
for node in sorted(set(active) | set(stats)):
    stat = stats.get(node) or {}
    answer["workers"][node] = {
        "queues": [queue["name"] for queue in active.get(node) or []],
        "pool": (stat.get("pool") or {}).get("max-concurrency"),
        "total": stat.get("total"),
        "uptime": stat.get("uptime"),
    }
with app.connection_for_read() as connection:
    for queue in wanted["queues"]:
        answer["queues"][queue] = connection.default_channel._size(queue)
print(json.dumps(answer))
"""


@dataclass
class Expected:
    """What the inventory declares: the queues of each worker, and how long a queue may be."""

    workers: dict[str, list[str]] = field(default_factory=dict)
    max_queue_length: int | None = None

    @property
    def queues(self) -> list[str]:
        return sorted({queue for queues in self.workers.values() for queue in queues})


def command(docker: str, container: str, expected: Expected, timeout: float) -> list[str]:
    """Return the command that runs PROGRAM, which it reads from standard input."""
    wanted = {"timeout": timeout, "workers": list(expected.workers), "queues": expected.queues}
    return [docker, "exec", "--interactive", container, "python", "-", json.dumps(wanted)]


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def node_parts(node: str) -> tuple[str, str]:
    """Return pool and host of a node's name: compilation-1@app1 is of the pool compilation on app1."""
    worker, _at, host = node.partition("@")
    return worker.rpartition("-")[0] or worker, host


def member(node: str, answer: dict[str, Any] | None, queues: Iterable[str]) -> dict[str, Any]:
    """Return what is known of one worker; answer is None where it did not answer."""
    pool, host = node_parts(node)
    found = answer or {}
    return {
        "name": node,
        "pool": pool,
        "host": host,
        "answers": answer is not None,
        "queues": [queue for queue in found.get("queues", queues) if not queue.startswith("neural-health.")],
        "concurrency": int(found.get("pool") or 0),
        "tasks": sum(int(count) for count in (found.get("total") or {}).values()),
        "uptime": int(found.get("uptime") or 0),
    }


def evaluate(expected: Expected, returncode: int, stdout: str, stderr: str, container: str) -> ClusterState:
    """Compare what PROGRAM printed with what is expected."""
    if returncode != 0:
        problem = f"Celery could not be asked in the container {container}: {last_line(stderr or stdout)}"
        return ClusterState(
            members=[member(node, None, queues) for node, queues in expected.workers.items()],
            problems=[problem],
            details={"queues": {}},
        )
    answer = json.loads(last_line(stdout))
    workers, lengths = answer["workers"], {str(queue): int(length) for queue, length in answer["queues"].items()}
    state = ClusterState(details={"queues": lengths})
    for node, queues in expected.workers.items():
        state.members.append(member(node, workers.get(node), queues))
        if node not in workers:
            state.problems.append(f"The worker {node} does not answer (expected one on {', '.join(queues)}).")
            continue
        missing = sorted(set(queues) - set(workers[node]["queues"]))
        if missing:
            state.problems.append(f"The worker {node} does not take tasks from {', '.join(missing)}.")
    state.members += [member(node, workers[node], []) for node in workers if node not in expected.workers]
    for queue, length in lengths.items():
        consumers = [node for node, found in workers.items() if queue in found["queues"]]
        if not consumers:
            state.problems.append(f"Nobody takes tasks from the queue {queue}; {length} wait in it.")
        elif expected.max_queue_length is not None and length > expected.max_queue_length:
            state.problems.append(
                f"{length} tasks wait in the queue {queue} (expected at most {expected.max_queue_length}),"
                f" which {len(consumers)} workers take from."
            )
    return state
