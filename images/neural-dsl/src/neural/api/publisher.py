"""Hands accepted jobs to the broker from a thread of its own, so that no request waits for Redis; and the sweeper.

A job is accepted when its row is committed. If its message cannot be sent for as long as a failover takes, or is lost,
or its worker dies, the sweeper sends another.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time

import redis
from kombu.exceptions import OperationalError

from neural.api import broker, db, jobs, metrics
from neural.api.celery_app import app
from neural.api.settings import settings

LOG = logging.getLogger("neural.api.publisher")
PATIENCE = 60.0
CAPACITY = 10_000
RANDOM = random.SystemRandom()


def send(publication: jobs.Publication) -> None:
    """Send one message. Raises OperationalError."""
    app.send_task(
        jobs.TASKS[publication.kind],
        args=[str(publication.job_id)],
        task_id=str(publication.job_id),
        queue=publication.queue,
        ignore_result=True,
        retry=False,
    )


class Publisher:
    """Two threads: one sends, one sweeps."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[float, jobs.Publication] | None] = queue.Queue(CAPACITY)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._publish, name="publisher", daemon=True),
            threading.Thread(target=self._sweep, name="sweeper", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send what waits, for a moment at most; the sweepers of other processes do the rest."""
        self._stop.set()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def put(self, publication: jobs.Publication) -> None:
        """Have a message sent soon."""
        try:
            self._waiting.put_nowait((time.monotonic() + PATIENCE, publication))
        except queue.Full:
            metrics.PUBLISH_FAILURES.inc()

    def _publish(self) -> None:
        while (item := self._waiting.get()) is not None:
            deadline, publication = item
            if not self._deliver(publication, deadline):
                metrics.PUBLISH_FAILURES.inc()
                LOG.warning("job %s: not handed to the broker, the sweeper will do it", publication.job_id)

    def _deliver(self, publication: jobs.Publication, deadline: float) -> bool:
        delay = 0.1
        while True:
            try:
                send(publication)
                return True
            except (OperationalError, redis.RedisError, OSError) as error:
                if time.monotonic() > deadline or self._stop.is_set():
                    return False
                LOG.warning("broker: %s; trying again", type(error).__name__)
                self._stop.wait(delay * RANDOM.uniform(0.5, 1.5))
                delay = min(delay * 2, 2.0)

    def _sweep(self) -> None:
        client = broker.client(settings(), timeout=2)
        while not self._stop.wait(settings().sweep_interval * RANDOM.uniform(0.75, 1.25)):
            try:
                backlog = {name: int(client.llen(name)) for name in jobs.QUEUES.values()}
                for publication in jobs.sweep(backlog) or []:
                    LOG.warning("job %s: handed to the broker again", publication.job_id)
                    send(publication)
            except (OperationalError, redis.RedisError, OSError, db.DatabaseUnavailableError) as error:
                LOG.warning("sweeper: %s", error)
            except Exception:
                LOG.exception("sweeper")
