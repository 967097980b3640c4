"""Docker engines, asked through their sockets: a `docker` command for each poll took a whole core of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
import labtools as lab

# Of Docker 20.10, the oldest engine that a server may have.
API_VERSION = "1.41"


@contextmanager
def machine(seconds: float) -> Iterator[docker.APIClient]:
    """The engine that runs the lab's servers. An answer that takes longer raises requests' ReadTimeout, an OSError."""
    client = docker.from_env(version=API_VERSION, timeout=seconds).api
    try:
        yield client
    finally:
        client.close()


@contextmanager
def server(process: int, seconds: float) -> Iterator[docker.APIClient]:
    """The engine on a server, of which this is the first process."""
    client = docker.APIClient(f"unix:///proc/{process}/root/run/docker.sock", version=API_VERSION, timeout=seconds)
    try:
        yield client
    finally:
        client.close()


def first_process(host: str, seconds: float) -> int:
    """Return the first process of a server, 0 if it does not run. Raises OSError."""
    with machine(seconds) as client:
        return int(client.inspect_container(f"{lab.PREFIX}-{host}")["State"]["Pid"])


def platform_containers(process: int, seconds: float) -> dict[str, str]:
    """Return the status of a server's platform containers, by name. Raises OSError."""
    with server(process, seconds) as client:
        found = client.containers(all=True, filters={"label": "neural.platform"})
    return {item["Names"][0].lstrip("/"): item["Status"] for item in found}
