# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""keepalived: read what its VRRP process says of itself, and judge it together with the addresses that the host has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState

# vrrp_instance's `state` in keepalived's JSON.
STATES = ("INIT", "BACKUP", "MASTER", "FAULT")


class KeepalivedError(Exception):
    """What keepalived or a command answered is no success; the message is its own."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a host: the address, for how many seconds the state has to last, the configuration's version."""

    address: str
    settled: float = 0
    config_version: str = ""


def parse_state(text: str) -> dict[str, Any]:
    """Return what the first instance says of itself. Raises KeepalivedError when the text is no such answer."""
    try:
        data = json.loads(text)[0]["data"]
        number = int(data["state"])
        state = STATES[number] if 0 <= number < len(STATES) else f"state {number}"
        return {
            "name": str(data["iname"]),
            "state": state,
            "interface": str(data["ifp_ifname"]),
            "priority": int(data["effective_priority"]),
            "since": float(data["last_transition"]),
        }
    except (ValueError, LookupError, TypeError) as error:
        raise KeepalivedError(f"found {text[:80].strip()!r}, expected is the state of an instance in JSON") from error


def has_address(text: str, address: str) -> bool:
    """Tell whether `ip -4 -oneline address show` lists an address."""
    return bool(re.search(rf" inet {re.escape(address)}[ /]", text))


def assess(answer: str, addresses: str, version: str, now: float, wanted: Wanted) -> ClusterState:
    """Judge one host: keepalived lives, its state lasts, and the host has the address just while it is the master."""
    holds = has_address(addresses, wanted.address)
    details = {"address": wanted.address, "config_version": version}
    try:
        member = parse_state(answer)
    except KeepalivedError as error:
        return ClusterState([{"state": "", "holds": holds}], [f"keepalived does not answer: {error}."], details)
    member["holds"] = holds
    state, age = member["state"], round(max(0, now - member["since"]), 1)
    problems = []
    if state == "FAULT":
        problems.append(
            "keepalived is in state FAULT: nginx of this host does not answer it, or the interface is down."
        )
    elif state not in ("MASTER", "BACKUP"):
        problems.append(f"keepalived is in state {state} (expected MASTER or BACKUP).")
    elif age < wanted.settled:
        problems.append(f"keepalived is {state} for {age:g} s only (expected for {wanted.settled:g} s).")
    if holds != (state == "MASTER"):
        has = "has" if holds else "does not have"
        problems.append(f"keepalived is in state {state}, but the host {has} the address {wanted.address}.")
    if wanted.config_version and version != wanted.config_version:
        found = version or "unknown"
        problems.append(f"keepalived runs with the configuration {found} (expected {wanted.config_version}).")
    return ClusterState([member], problems, details)


def read_state(
    run: Callable[[list[str]], str], container: str, wanted: Wanted, clock: Callable[[], float]
) -> ClusterState:
    """Ask keepalived and the host, and judge. No answer of keepalived's is a problem, none of the host's an error."""
    addresses = run(["ip", "-4", "-oneline", "address", "show"])
    ask = ["docker", "exec", container, "keepalived-state"]
    try:
        version = run([*ask, "version"]).strip() if wanted.config_version else ""
        return assess(run(ask), addresses, version, clock(), wanted)
    except KeepalivedError as error:
        members = [{"state": "", "holds": has_address(addresses, wanted.address)}]
        details = {"address": wanted.address, "config_version": ""}
        return ClusterState(members, [f"keepalived does not answer: {error}."], details)
