# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""HAProxy: read its statistics, judge them, and reload it without losing what it knows about its servers."""

from __future__ import annotations

import csv
import io
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState


class HAProxyError(Exception):
    """HAProxy answered something that is no success; the message is its own."""


@dataclass(frozen=True)
class Expectation:
    """How many servers of a backend have to be up: at least `minimum`, at most `maximum`."""

    name: str
    minimum: int
    maximum: int | None = None

    @classmethod
    def from_params(cls, params: Iterable[Mapping[str, Any]]) -> list[Expectation]:
        return [cls(item["name"], item["minimum"], item["maximum"]) for item in params]

    def __str__(self) -> str:
        if self.maximum == self.minimum:
            return f"exactly {self.minimum}"
        if self.maximum is None:
            return f"at least {self.minimum}"
        return f"{self.minimum} to {self.maximum}"


def ask(path: str, command: str, timeout: float) -> str:
    """Send one command to a runtime socket and return the answer. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode(errors="replace")


def parse_stat(text: str) -> list[dict[str, str]]:
    """Return the rows of `show stat`, or of the statistics page in CSV. Raises HAProxyError when it is neither."""
    if not text.startswith("# pxname,"):
        raise HAProxyError(f"found {text[:80].strip()!r}, expected are statistics in CSV")
    return list(csv.DictReader(io.StringIO(text.removeprefix("# "))))


def parse_info(text: str) -> dict[str, str]:
    """Return the fields of `show info`."""
    return {key: value for key, _colon, value in (line.partition(": ") for line in text.splitlines()) if _colon}


def _number(value: str | None) -> int:
    return int(value) if value else 0


def parse_ejections(text: str) -> dict[str, int]:
    """Return the seconds left of each ejection, by server, that `show circuit-breaker` tells; none if it is unknown."""
    return {name: int(seconds) for name, seconds in re.findall(r"^(\S+) (\d+)$", text, re.MULTILINE)}


def server(row: Mapping[str, str], seconds_left: int | None = None) -> dict[str, Any]:
    """Return what a person wants to know of one server; seconds_left are those of its ejection, as far as known.

    Nobody but the circuit breaker sets a weight, and to HAProxy a server without weight is UP.
    """
    running = row["status"].startswith(("UP", "no check"))
    ejected = running and row.get("uweight") == "0"
    back = "" if seconds_left is None else f", back in {seconds_left} s"
    return {
        "name": row["svname"],
        "address": row.get("addr", ""),
        "status": f"ejected by the circuit breaker{back}" if ejected else row["status"],
        "up": running and not ejected,
        "ejected": ejected,
        "check_status": row.get("check_status", "").lstrip("* "),
        "check": row.get("last_chk", ""),
        "sessions": _number(row.get("scur")),
        "total_sessions": _number(row.get("stot")),
        "queued": _number(row.get("qcur")),
        "seconds_in_this_state": _number(row.get("lastchg")),
    }


def described(item: Mapping[str, Any]) -> str:
    """Return a server with its status, and with the result of its last check where it is that which counts."""
    return f"{item['name']} {item['status']}" + (f" ({item['check']})" if item["check"] and not item["ejected"] else "")


def assess(
    rows: Iterable[Mapping[str, str]], expected: Iterable[Expectation], ejections: Mapping[str, int] | None = None
) -> ClusterState:
    """Judge the statistics: every expected backend exists, has as many servers up as it should, and none ejected.

    Of the backend api, ejections holds the seconds left by server.
    """
    seconds = ejections or {}
    backends: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["svname"] == "FRONTEND":
            continue
        backend = backends.setdefault(row["pxname"], {"name": row["pxname"], "status": "", "up": 0, "servers": []})
        if row["svname"] == "BACKEND":
            backend["status"] = row["status"]
            backend["sessions"] = _number(row.get("scur"))
        else:
            left = seconds.get(row["svname"]) if row["pxname"] == "api" else None
            backend["servers"].append(server(row, left))
            backend["up"] += backend["servers"][-1]["up"]
    problems = []
    for expectation in expected:
        found = backends.get(expectation.name)
        if found is None:
            known = ", ".join(sorted(backends)) or "none"
            problems.append(f"There is no backend {expectation.name}; there are: {known}.")
        elif found["up"] < expectation.minimum or (
            expectation.maximum is not None and found["up"] > expectation.maximum
        ):
            states = ", ".join(described(item) for item in found["servers"])
            up = f"{found['up']} of {len(found['servers'])} servers up"
            problems.append(f"Backend {expectation.name} has {up}, expected are {expectation}: {states or 'none'}.")
        else:
            problems += [
                f"Backend {expectation.name}: {described(item)}." for item in found["servers"] if item["ejected"]
            ]
    return ClusterState(members=list(backends.values()), problems=problems)


def read_state(
    read: Callable[[], str], expected: Iterable[Expectation], read_ejections: Callable[[], str] = str
) -> ClusterState:
    """Read the statistics and what the circuit breaker knows, and judge them; no answer is a problem, too."""
    try:
        return assess(parse_stat(read()), expected, parse_ejections(read_ejections()))
    except (OSError, HAProxyError) as error:
        return ClusterState(problems=[f"HAProxy does not answer: {error}."])


# Bits of srv_admin_state (management guide, "show servers state"): maintenance and drain that somebody asked for.
FORCED_MAINTENANCE, FORCED_DRAIN = 0x01, 0x08


def parse_admin_states(text: str, backend: str) -> dict[str, int]:
    """Return the administrative state, by server, that `show servers state` tells of a backend. Raises HAProxyError."""
    lines = text.splitlines()
    if len(lines) < 2 or not lines[1].startswith("# "):
        raise HAProxyError(text.strip() or "no answer")
    names = lines[1].removeprefix("# ").split()
    rows = (dict(zip(names, line.split(), strict=False)) for line in lines[2:] if line)
    return {row["srv_name"]: int(row["srv_admin_state"]) for row in rows if row["be_name"] == backend}


def wanted_admin_state(found: int, state: str) -> bool:
    """Whether a server's administrative state is the wanted one, ready or drain."""
    forced = found & (FORCED_MAINTENANCE | FORCED_DRAIN)
    return forced == (FORCED_DRAIN if state == "drain" else 0)


def find_server(rows: Iterable[Mapping[str, str]], backend: str, name: str) -> dict[str, Any]:
    """Return one server of the statistics. Raises HAProxyError when it is not there."""
    found = [row for row in rows if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")]
    for row in found:
        if row["svname"] == name:
            return server(row)
    known = ", ".join(row["svname"] for row in found) or "none"
    raise HAProxyError(f"backend {backend} has no server {name}; it has: {known}")


def running_description(admin_socket: str, timeout: float) -> str:
    """Return the description that is in the configuration with which HAProxy runs. Raises OSError."""
    return parse_info(ask(admin_socket, "show info", timeout)).get("description", "")


def save_state(admin_socket: str, state_file: str, timeout: float) -> bool:
    """Write each server's state, for the next HAProxy to begin with; return whether there was one. Raises OSError."""
    state = ask(admin_socket, "show servers state", timeout)
    if not re.match(r"1\n# ", state):
        return False
    file = Path(state_file)
    file.write_text(state, encoding="utf-8")
    file.chmod(0o644)
    return True


def clear_state(state_file: str) -> bool:
    """Empty the file, and return whether it was not: a restart days later must not find a server drained any more."""
    file, empty = Path(state_file), "1\n"
    if not file.exists() or file.read_text(encoding="utf-8") == empty:
        return False
    file.write_text(empty, encoding="utf-8")
    return True


def reload(admin_socket: str, master_socket: str, state_file: str, timeout: float) -> str:
    """Load the configuration anew, keeping each server's state, and return what HAProxy says about it.

    Raises OSError, or HAProxyError when HAProxy refuses the configuration; it then goes on with the old one.
    """
    save_state(admin_socket, state_file, timeout)
    answer = ask(master_socket, "reload", timeout)
    clear_state(state_file)
    if not answer.startswith("Success=1"):
        raise HAProxyError(answer.strip())
    return answer.partition("\n")[2].removeprefix("--\n").strip()


def wait_for_description(wanted: str, admin_socket: str, timeout: float) -> bool:
    """Wait until HAProxy answers with the wanted description, at most timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if running_description(admin_socket, 1) == wanted:
                return True
        except OSError:
            pass  # the new process is taking the socket over
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
