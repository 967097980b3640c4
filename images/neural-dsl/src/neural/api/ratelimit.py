"""How many requests a key may make in a period, counted in Redis. Without Redis a request is let through."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, NamedTuple

import redis
from fastapi import HTTPException, Response

from neural.api import broker, metrics
from neural.api.auth import Caller, Identified
from neural.api.settings import settings

LOG = logging.getLogger("neural.api.ratelimit")
PAUSE_AFTER_FAILURE = 5.0
# Counting and setting the end of the period are one step: no counter can be left without an end.
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class Verdict(NamedTuple):
    """Whether a request may pass, how many are left, and in how many seconds the count starts anew."""

    allowed: bool
    remaining: int
    reset: int


class Limiter:
    """Counts in fixed windows; stops asking for a while when Redis does not answer."""

    def __init__(self, client: Any, requests: int, period: int) -> None:
        self._client = client
        self._requests = requests
        self._period = period
        self._silent_until = 0.0

    def ask(self, name: str, now: float | None = None) -> Verdict | None:
        """The verdict, or None if Redis does not answer."""
        now = time.time() if now is None else now
        if time.monotonic() < self._silent_until:
            return None
        window = int(now // self._period)
        reset = int((window + 1) * self._period - now) + 1
        try:
            count = int(self._client.eval(_COUNT, 1, f"ratelimit:{name}:{window}", self._period + 1))
        except (redis.RedisError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE_AFTER_FAILURE
            LOG.warning("rate limit: Redis does not answer (%s); requests are let through", type(error).__name__)
            return None
        return Verdict(count <= self._requests, max(0, self._requests - count), reset)


_limiter: Limiter | None = None
_lock = threading.Lock()


def limiter() -> Limiter:
    """This process's limiter."""
    global _limiter
    with _lock:
        if _limiter is None:
            config = settings()
            _limiter = Limiter(broker.client(config), config.rate_limit_requests, config.rate_limit_period)
        return _limiter


def limited(caller: Identified, response: Response) -> Caller:
    """The caller of a request that is within its limit, or 429."""
    config = settings()
    if not config.rate_limit_requests:
        return caller
    verdict = limiter().ask(caller.fingerprint)
    if verdict is None:
        metrics.RATE_LIMIT_BYPASSED.inc()
        return caller
    headers = {
        "X-RateLimit-Limit": str(config.rate_limit_requests),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(verdict.reset),
    }
    if not verdict.allowed:
        metrics.RATE_LIMITED.inc()
        raise HTTPException(
            status_code=429,
            detail=f"More than {config.rate_limit_requests} requests in {config.rate_limit_period} s: "
            f"try again in {verdict.reset} s.",
            headers={"Retry-After": str(verdict.reset), **headers},
        )
    response.headers.update(headers)
    return caller
