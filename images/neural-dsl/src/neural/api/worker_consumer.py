"""Celery's consumer, which takes a breath between two failures that follow each other at once."""

from __future__ import annotations

import time

from celery.worker.consumer import Consumer as CeleryConsumer

BREATH = 1.0


class Consumer(CeleryConsumer):
    """While a Redis refuses all writes, connecting to it succeeds, and Celery would try again without a pause."""

    _failed_at = float("-inf")

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Note a failure to begin."""
        super().on_connection_error_before_connected(exc)
        self._breathe()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Note a failure later on."""
        super().on_connection_error_after_connected(exc)
        self._breathe()

    def _breathe(self) -> None:
        """Wait, if the failure before this one was a moment ago."""
        if time.monotonic() - self._failed_at < 2 * BREATH:
            time.sleep(BREATH)
        self._failed_at = time.monotonic()
