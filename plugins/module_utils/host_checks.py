# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a host has to be like before the platform is put on it: reading the kernel's files, asking other hosts."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTEN = "0A"
# Processes that hold a port for a container.
DOCKER = ("dockerd", "docker-proxy")


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections."""

    address: str
    port: int
    uid: int
    inode: int


def parse_os_release(text: str) -> dict[str, str]:
    """Read /etc/os-release."""
    result = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            result[name.strip()] = value.strip().strip("\"'")
    return result


def parse_memory(text: str) -> int:
    """Return the size of the memory in MiB from /proc/meminfo."""
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def parse_listeners(text: str) -> list[Listener]:
    """Read /proc/net/tcp or /proc/net/tcp6; the kernel writes addresses as words in the machine's byte order."""
    result = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTEN:
            continue
        digits, _colon, port = fields[1].partition(":")
        words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
        address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        result.append(Listener(str(mapped or address), int(port, 16), int(fields[7]), int(fields[9])))
    return result


def in_the_way(
    listeners: Iterable[Listener], port: int, addresses: Iterable[str], own_uids: set[int]
) -> list[Listener]:
    """Return who else listens where a program of ours wants to; no address means all."""
    wanted = set(addresses)
    return [
        listener
        for listener in listeners
        if listener.port == port
        and listener.uid not in own_uids
        and (not wanted or listener.address in wanted or ipaddress.ip_address(listener.address).is_unspecified)
    ]


def _opened(process: Path) -> Iterator[str]:
    """Yield what a process has open; a file that it closes meanwhile is left out, and does not hide the others."""
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(link.readlink())


def owner(inode: int, proc: Path = Path("/proc")) -> tuple[str, int]:
    """Return name and process id of the program that holds a socket."""
    target = f"socket:[{inode}]"
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(opened == target for opened in _opened(process)):
                return (process / "comm").read_text().strip(), int(process.name)
        except OSError:
            continue  # it ended meanwhile
    return "a program that cannot be seen", 0


def published_ports(lines: str) -> set[int]:
    """Return the host's ports in the output of `docker ps --format '{{json .}}'`."""
    result: set[int] = set()
    for line in lines.splitlines():
        for part in str(json.loads(line).get("Ports", "")).split(","):
            before, arrow, _after = part.strip().partition("->")
            if not arrow:
                continue
            first, _dash, last = before.rpartition(":")[2].partition("-")
            result.update(range(int(first), int(last or first) + 1))
    return result


def free_space(path: str) -> int:
    """Return the free space in MiB where a path is, or would be."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize // 1024**2


def reaches(address: str, port: int, timeout: float) -> bool:
    """Tell whether a host answers; a refusal is an answer, too."""
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return True
    except OSError as error:
        return error.errno in (errno.ECONNREFUSED, errno.ECONNRESET)


def out_of_reach(peers: Iterable[Mapping[str, Any]], timeout: float) -> list[Mapping[str, Any]]:
    """Return the peers that answer on none of their ports; all are asked at the same time."""
    peers = list(peers)
    questions = [(number, peer["address"], port) for number, peer in enumerate(peers) for port in peer["ports"]]
    if not questions:
        return []
    with ThreadPoolExecutor(max_workers=min(64, len(questions))) as pool:
        answers = list(pool.map(lambda question: reaches(question[1], question[2], timeout), questions))
    reached = {number for (number, _address, _port), answer in zip(questions, answers, strict=True) if answer}
    return [peer for number, peer in enumerate(peers) if number not in reached]
