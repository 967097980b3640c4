# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The deploy lock: one key in etcd that a run creates, who holds it, and whether it may be taken over.

A key's modification revision says which lock it is; revision 0 stands for no lock. Every change compares it first, so
two runs never both believe that they hold the lock, and asking the next member again after a lost answer does no harm.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.etcd import Endpoints, EtcdError, ask

UTC_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Holder:
    """Who runs a playbook: the value of the key, as JSON.

    The process is known by its number, its start (in clock ticks since the controller's boot) and its PID namespace, as
    numbers are used again and every container on a machine has the same boot's. What a controller cannot tell is empty.
    """

    who: str = ""
    controller: str = ""
    controller_boot_id: str = ""
    controller_pid_namespace: str = ""
    pid: int = 0
    pid_started: str = ""
    playbook: str = ""
    what: str = ""
    since: str = ""
    run: str = ""

    @classmethod
    def from_dict(cls, values: Any) -> Holder:
        """Return the holder that a dictionary describes; what it lacks, or has of another type, is left empty."""
        known: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(field.name) if isinstance(values, dict) else None
            if isinstance(value, int if field.name == "pid" else str):
                known[field.name] = value
        return cls(**known)

    @classmethod
    def from_json(cls, text: str) -> Holder:
        """Return the holder that a key's value describes; a value of another kind is an unknown holder."""
        try:
            return cls.from_dict(json.loads(text))
        except ValueError:
            return cls()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def same_controller(self, other: Holder) -> bool:
        """Whether both ran where one of them can see whether the other's process lives."""
        mine = (self.controller, self.controller_boot_id, self.controller_pid_namespace)
        return all(mine) and mine == (
            other.controller,
            other.controller_boot_id,
            other.controller_pid_namespace,
        )

    def same_process(self, other: Holder) -> bool:
        """Whether both are the same ansible-playbook process, as where it runs several playbooks."""
        return self.same_controller(other) and (self.pid, self.pid_started) == (other.pid, other.pid_started)

    def age(self, now: datetime.datetime) -> float | None:
        """Return for how many seconds the lock has been held; None where the value does not tell."""
        began = parse_time(self.since)
        return None if began is None else max(0.0, (now - began).total_seconds())

    def described(self, now: datetime.datetime) -> str:
        """Return who holds the lock with what since when, as a part of a sentence."""
        age = self.age(now)
        since = "an unknown time" if age is None else f"{self.since}, for {duration(age)}"
        who, controller = printable(self.who) or "somebody unknown", printable(self.controller) or "an unknown host"
        return f"{who} on {controller}, running {printable(self.what) or 'something unknown'} since {since}"


@dataclass(frozen=True)
class Lock:
    """The key as etcd has it after a request."""

    revision: int
    holder: Holder


def parse_time(text: str) -> datetime.datetime | None:
    """Return the time that an ISO 8601 text in UTC names; None where it is none."""
    try:
        return datetime.datetime.strptime(text, UTC_FORMAT).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """Return a length of time as a person reads it."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor."""
    return "".join(character for character in text if character.isprintable())


# --- what a lock means -------------------------------------------------------------------------------------------


def takeover_reason(
    holder: Holder,
    me: Holder,
    lives: Callable[[Holder], bool],
    now: datetime.datetime,
    timeout: float,
    force: bool,
) -> str:
    """Return why a lock may be taken over, as the end of a sentence; empty where it may not.

    lives tells of a holder on this controller whether its process is still there; timeout is in seconds.
    """
    if holder.same_controller(me):
        if not lives(holder):
            return "that process has ended"
    else:
        age = holder.age(now)
        if age is not None and age > timeout:
            return f"that is longer than deploy_lock_timeout ({timeout:g} s)"
    return "deploy_lock_force is set" if force else ""


def refusal(holder: Holder, me: Holder, now: datetime.datetime, timeout: float) -> str:
    """Return the sentence that a run is refused with."""
    if holder.same_controller(me):
        hint = f"process {holder.pid} of this controller"
    else:
        hint = f"its lock counts as stale after {timeout:g} s, deploy_lock_timeout"
    return (
        f"The deploy lock is held by {holder.described(now)}: wait until that run has ended ({hint}),"
        " or take the lock over with -e deploy_lock_force=true if you know that it is dead."
    )


def takeover(holder: Holder, reason: str, now: datetime.datetime) -> str:
    """Return the sentence that tells of a takeover."""
    return f"The deploy lock is taken over from {holder.described(now)}: {reason}."


# --- the key in etcd ---------------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    """Return a text as the JSON gateway takes keys and values."""
    return base64.b64encode(text.encode()).decode()


def ask_any(endpoints: Endpoints, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the first member that gives one. Raises EtcdError with every member's reason."""
    reasons = []
    for name in endpoints.members:
        try:
            answer: dict[str, Any] = ask(endpoints, name, path, body)
            return answer
        except EtcdError as error:
            reasons.append(f"{name}: {error}")
    raise EtcdError("; ".join(reasons))


def transaction(key: str, revision: int, change: dict[str, Any]) -> dict[str, Any]:
    """Return the request that makes a change where the key has a revision (0: is absent), and else reads the key."""
    compare = {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
    return {"compare": [compare], "success": [change], "failure": [{"request_range": {"key": encoded(key)}}]}


def found_lock(found: dict[str, Any]) -> Lock | None:
    """Return the lock that an answer to a range request holds; None where the key is absent."""
    for pair in found.get("kvs", []):
        value = base64.b64decode(pair.get("value", "")).decode(errors="replace")
        return Lock(int(pair["mod_revision"]), Holder.from_json(value))
    return None


def read_lock(endpoints: Endpoints, key: str) -> Lock | None:
    """Return the lock; None where nobody holds it. Raises EtcdError."""
    return found_lock(ask_any(endpoints, "/v3/kv/range", {"key": encoded(key)}))


def take_lock(endpoints: Endpoints, key: str, holder: Holder, revision: int = 0) -> Lock:
    """Take the lock where there is none, or where it is the one with this revision; return the one that is there then.

    It has been taken where the holder's run is the given one. Raises EtcdError.
    """
    change = {"request_put": {"key": encoded(key), "value": encoded(holder.to_json())}}
    answer = ask_any(endpoints, "/v3/kv/txn", transaction(key, revision, change))
    if answer.get("succeeded"):
        return Lock(int(answer["header"]["revision"]), holder)
    found = found_lock(answer["responses"][0]["response_range"])
    # The lock that was to be taken over has been released meanwhile.
    return found or take_lock(endpoints, key, holder)


def release_lock(endpoints: Endpoints, key: str, revision: int) -> Lock | None:
    """Remove the lock with this revision; return the other one that is there instead, None where there is none.

    Raises EtcdError.
    """
    change = {"request_delete_range": {"key": encoded(key)}}
    answer = ask_any(endpoints, "/v3/kv/txn", transaction(key, revision, change))
    return None if answer.get("succeeded") else found_lock(answer["responses"][0]["response_range"])
