"""Threads inside the network of a lab server. Linux keeps the network namespace by thread, so others are not moved."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import labtools as lab

from resilience import engine

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
# A server that is down is not asked about more often than this, and no longer than that.
LOOKUP_SECONDS = 0.5
LOOKUP_TIMEOUT = 1.0
_libc = ctypes.CDLL(None, use_errno=True)
_locks: dict[str, threading.Lock] = {host: threading.Lock() for host in lab.HOSTS}
_known: dict[str, tuple[int, float]] = {}


class ServerDownError(OSError):
    """The server does not run, so it has no network."""


def pid(host: str, refresh: bool = False) -> int:
    """Return the first process of a server, from memory unless `refresh`. Raises ServerDownError."""
    with _locks[host]:
        found, at = _known.get(host, (0, 0.0))
        if host not in _known or ((refresh or not found) and time.monotonic() - at >= LOOKUP_SECONDS):
            try:
                found = engine.first_process(host, LOOKUP_TIMEOUT)
            except OSError:
                # The engine does not answer about a server that it is starting or killing.
                found = 0
            _known[host] = found, time.monotonic()
    if not found:
        raise ServerDownError(f"{host} does not run")
    return found


def enter(host: str, refresh: bool = False) -> bool:
    """Move this thread into a server's network; say whether it was in another one. Raises ServerDownError.

    `refresh`: after a connection failed, as a server that was started again has a new network.
    """
    try:
        target = os.open(f"/proc/{pid(host, refresh)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ServerDownError(f"{host} has just stopped") from error
    try:
        if os.fstat(target).st_ino == Path("/proc/thread-self/ns/net").stat().st_ino:
            return False
        if _libc.setns(target, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise ServerDownError(number, f"cannot enter the network of {host}: {os.strerror(number)}")
        return True
    finally:
        os.close(target)


def inside(host: str, function: Callable[[], T]) -> T:
    """Call a function in a server's network, in a thread of its own, and return what it returned."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            enter(host, refresh=True)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name=f"inside {host}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
