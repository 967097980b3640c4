"""A worker's proof that it consumes: a message of its own must come back through the broker.

A thread of the worker's main process sends a message to a queue that this worker alone consumes. The consumer itself,
not the pool, takes it, so a pool that is busy for hours does no harm. When it comes back, a file tells the container's
health check. While every process of the pool is busy the consumer rightly fetches nothing: then an answer to a ping
counts.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery.worker import state
from kombu import Exchange, Queue

from neural.api.worker_health import EXIT_AFTER, HEALTH_FILE

LOG = logging.getLogger("neural.api.canary")
INTERVAL = 15.0
_seen = threading.Event()
_started = threading.Lock()


def queue(hostname: str) -> Queue:
    """The queue that one worker consumes."""
    name = f"neural-health.{hostname}"
    return Queue(name, Exchange("neural-health"), routing_key=name)


def strategy(task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """Take a canary message without the pool."""

    def handle(message: Any, body: Any, ack: Callable[..., None], reject: Callable[..., None], callbacks: Any) -> None:
        ack(LOG, consumer.connection_errors)
        _seen.set()

    return handle


def write(path: Path, healthy_at: float | None, reason: str) -> None:
    """Tell the health check that this process tries, and when a message last came back (seconds, monotonic)."""
    said = {"pid": os.getpid(), "at": time.monotonic(), "healthy_at": healthy_at, "reason": reason}
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(said), encoding="utf-8")
    temporary.replace(path)


def saturated(consumer: Any) -> bool:
    """Whether all processes of the pool have something to do."""
    concurrency = getattr(consumer.pool, "num_processes", None) or getattr(consumer.pool, "limit", None) or 1
    return len(state.reserved_requests) >= int(concurrency)


def start(consumer: Any) -> None:
    """Begin, once a worker."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_watch, args=(consumer,), name="canary", daemon=True).start()


def _round_trip(consumer: Any) -> tuple[bool, str]:
    """Whether a message came back; raises what the broker's client raises when it cannot even be sent."""
    hostname = consumer.hostname
    if not saturated(consumer):
        _seen.clear()
        consumer.app.send_task(
            "neural.canary", args=[time.time()], queue=queue(hostname), expires=60, ignore_result=True, retry=False
        )
        if _seen.wait(INTERVAL):
            return True, "a message came back"
    if saturated(consumer):
        if consumer.app.control.ping(destination=[hostname], timeout=5, limit=1):
            return True, "the pool is busy, a ping was answered"
        return False, "the pool is busy, and a ping was not answered"
    return False, "a message did not come back"


def _watch(consumer: Any) -> None:
    last = time.monotonic()
    healthy_at, reason = None, "nothing came back yet"
    while True:
        before = time.monotonic()
        write(HEALTH_FILE, healthy_at, reason)
        try:
            healthy, reason = _round_trip(consumer)
        except Exception as error:  # the broker's client raises many kinds; none may end this thread
            # No broker: restarting this worker would not help, so its patience starts anew when the broker is back.
            healthy, reason, last = False, f"the broker does not answer: {type(error).__name__}", time.monotonic()
        if healthy:
            last = healthy_at = time.monotonic()
        else:
            LOG.warning("canary: %s", reason)
        write(HEALTH_FILE, healthy_at, reason)
        if time.monotonic() - last > EXIT_AFTER:
            LOG.critical("this worker consumes nothing though the broker answers: it ends, to be started again")
            os.kill(os.getpid(), signal.SIGTERM)
            # The warm shutdown may hang on the very connection that hangs: it has this long, in seconds.
            time.sleep(20)
            os._exit(1)
        time.sleep(max(0.0, INTERVAL - (time.monotonic() - before)))
