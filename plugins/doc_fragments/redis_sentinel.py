"""Documentation that the Redis modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """How a module reaches Redis and Sentinel."""

    DOCUMENTATION = r"""
options:
  members:
    description: Address of every host that runs a Redis and a Sentinel, by its name.
    type: dict
    required: true
  port:
    description: TLS port of every Redis.
    type: int
    default: 6379
  sentinel_port:
    description: TLS port of every Sentinel.
    type: int
    default: 26379
  master_name:
    description: Name under which the Sentinels know the master.
    type: str
    default: neural-redis
  password:
    description: Password of every Redis and every Sentinel.
    type: str
"""
