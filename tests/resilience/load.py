"""The load of drills and of updates: clients and samplers, and a recorder that knows when each was last answered."""

from __future__ import annotations

import math
import time
from typing import Any

import labtools as lab

from resilience import events
from resilience.clients import HttpsStream, JobLedger, Load, PostgresLedger, RedisLedger
from resilience.credentials import Credentials, members
from resilience.health import virtual_address
from resilience.samplers import HaproxySampler, PostgresSampler, RedisSampler

CLIENTS = ("https", "jobs", "postgresql", "redis")
# How long all clients must have been answered again before a drill goes on, and how long load runs before a fault.
SETTLED = 3.0
WARM = 4.0
# A second. Each costs the platform three TLS handshakes, each job two runs of the compiler. Two cores bear twice as
# much, but not while a whole server starts beside: the platform is to be measured, not a machine too small for six.
REQUESTS = 10
JOBS = 1


class Live(events.Recorder):
    """A recorder that knows when each client was last answered."""

    def __init__(self, path: Any) -> None:
        path.unlink(missing_ok=True)
        super().__init__(path)
        self.answered: dict[str, float] = {}
        self.refused: dict[str, float] = {}

    def put(self, kind: str, **fields: Any) -> None:
        super().put(kind, **fields)
        if kind == "attempt":
            (self.answered if fields["ok"] else self.refused)[fields["client"]] = fields["end"]

    def well_since(self, moment: float) -> bool:
        """Whether every client has been answered after a moment, and none refused in the last seconds."""
        now = time.monotonic()
        return all(
            self.answered.get(client, 0.0) > moment and now - self.refused.get(client, -math.inf) > SETTLED
            for client in CLIENTS
        )


def clients_of(recorder: Live, credentials: Credentials, via: str, answer_seconds: float = 5) -> list[Load]:
    """Return the clients, ledgers first; those of the databases use the HAProxy of `via`.

    A request counts as failed when it has no answer after `answer_seconds`.
    """
    way = (f"https://{virtual_address()}", lab.INVENTORY / "ca.crt", credentials.secret("neural_api_keys[0]"))
    return [
        PostgresLedger(recorder, credentials, via),
        RedisLedger(recorder, credentials, via),
        JobLedger(recorder, *way, rate=JOBS),
        HttpsStream(recorder, *way, rate=REQUESTS, answer_seconds=answer_seconds),
    ]


def samplers_of(recorder: Live, credentials: Credentials) -> list[Load]:
    """Return what looks, all along, for two primaries or masters, and at what HAProxy sees."""
    return [
        *(PostgresSampler(recorder, credentials, host) for host in members("patroni")),
        *(RedisSampler(recorder, credentials, host) for host in members("redis")),
        *(HaproxySampler(recorder, credentials, host) for host in members("haproxy")),
    ]
