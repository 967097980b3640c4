# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What Patroni's REST API says about a cluster, who may lead it next, and how its dynamic configuration differs."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState, http_request

# One member's answers by name of the question, or {"error": sentence}.
Answers = Mapping[str, Any]

LEADER_ROLES = ("leader", "standby_leader")
SYNCHRONOUS_ROLES = ("sync_standby", "quorum_standby")


@dataclass(frozen=True)
class Endpoints:
    """Where the members' REST APIs listen, and how to ask them."""

    members: Mapping[str, str]
    port: int
    tls: ssl.SSLContext | None
    timeout: float = 3.0

    def url(self, name: str) -> str:
        address = self.members[name]
        return f"https://{f'[{address}]' if ':' in address else address}:{self.port}"


@dataclass(frozen=True)
class Expected:
    """What a healthy cluster is expected to be; what concerns only the members in ignore is no problem."""

    synchronous: bool = True
    max_lag: int = 16777216
    ignore: Collection[str] = ()


class PatroniError(Exception):
    """A request that Patroni refused or did not answer."""


def reason_of(error: Exception) -> str:
    """Return why a request failed, in a few words."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {inner.verify_message}"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__


def request(
    endpoints: Endpoints,
    name: str,
    path: str,
    body: dict[str, Any] | None = None,
    method: str | None = None,
    timeout: float | None = None,
) -> tuple[int, str]:
    """Return status and text of a member's answer. Raises PatroniError when there is none."""
    try:
        return http_request(
            endpoints.url(name) + path,
            tls=endpoints.tls,
            body=body,
            method=method,
            timeout=timeout or endpoints.timeout,
        )
    except (OSError, http.client.HTTPException) as error:
        raise PatroniError(reason_of(error)) from error


def ask_member(endpoints: Endpoints, name: str) -> dict[str, Any]:
    """Return what one member says about itself and about the cluster."""
    try:
        # /patroni answers 503 while PostgreSQL does not run, with the state all the same.
        return {
            "patroni": json.loads(request(endpoints, name, "/patroni")[1]),
            "cluster": json.loads(request(endpoints, name, "/cluster")[1]),
        }
    except PatroniError as error:
        return {"error": str(error)}
    except ValueError as error:
        return {"error": f"its answer is not JSON: {error}"}


def ask_all(endpoints: Endpoints) -> dict[str, dict[str, Any]]:
    """Ask all members at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(endpoints.members))) as pool:
        answered = pool.map(lambda name: ask_member(endpoints, name), endpoints.members)
        return dict(zip(endpoints.members, answered, strict=True))


def cluster_view(found: Mapping[str, Answers]) -> dict[str, Any]:
    """Return the cluster as the member sees it that has talked to etcd last."""
    views = [answers for answers in found.values() if "cluster" in answers]
    if not views:
        return {}
    newest = max(views, key=lambda answers: int(answers["patroni"].get("dcs_last_seen", 0)))
    return dict(newest["cluster"])


def version_text(number: int) -> str:
    """Return PostgreSQL's version from its number: 170005 is 17.5."""
    return f"{number // 10000}.{number % 10000}" if number else ""


def evaluate(endpoints: Endpoints, found: Mapping[str, Answers], expected: Expected) -> ClusterState:
    """Return the cluster's state."""
    state = ClusterState()
    view = cluster_view(found)
    listed = {str(member["name"]): member for member in view.get("members", [])}
    for name, address in endpoints.members.items():
        member = listed.get(name, {})
        own = found[name].get("patroni", {})
        lag = member.get("lag", 0)
        state.members.append(
            {
                "name": name,
                "host": str(member.get("host", address)),
                "answers": "patroni" in found[name],
                "role": str(member.get("role", "")),
                "state": str(member.get("state", own.get("state", ""))),
                "timeline": int(member.get("timeline") or 0),
                "lag": int(lag) if isinstance(lag, int) else None,
                "tags": dict(own.get("tags") or member.get("tags") or {}),
                "pending_restart": bool(own.get("pending_restart", member.get("pending_restart", False))),
                "version": version_text(int(own.get("server_version") or 0)),
                "patroni_version": str(own.get("patroni", {}).get("version", "")),
            }
        )
    leaders = [name for name, member in listed.items() if member.get("role") in LEADER_ROLES]
    leader = leaders[0] if leaders else ""
    state.details = {"leader": leader, "paused": bool(view.get("pause", False))}

    for name in endpoints.members:
        if name not in expected.ignore:
            state.problems += member_problems(endpoints, name, found[name], listed, leader, expected)
    state.problems += cluster_problems(endpoints, found, listed, leader, expected)
    if state.details["paused"]:
        state.problems.append("The PostgreSQL cluster is paused: Patroni does not fail over, expected is that it does.")
    return state


def member_problems(
    endpoints: Endpoints,
    name: str,
    answers: Answers,
    listed: Mapping[str, Any],
    leader: str,
    expected: Expected,
) -> list[str]:
    """Return what is wrong with one member."""
    where = f"PostgreSQL member {name} ({endpoints.members[name]}:{endpoints.port})"
    if "error" in answers:
        return [f"{where} does not answer: {answers['error']}."]
    if name not in listed:
        said = answers["patroni"].get("state", "unknown")
        return [f"{where} is not in the cluster, its state is {said}; the cluster has {', '.join(listed) or 'nobody'}."]
    member = listed[name]
    found = str(member.get("state", "unknown"))
    if name == leader:
        own = (answers["patroni"].get("role"), answers["patroni"].get("state"))
        if own[0] not in ("primary", "master") or own[1] != "running":
            return [f"{where} is the leader, but calls itself {own[0]} ({own[1]}), expected primary (running)."]
        return []
    if found != "streaming":
        return [f"{where} is a replica in state {found}, expected streaming."]
    problems = []
    lag = member.get("lag")
    if not isinstance(lag, int):
        problems.append(f"{where} has an unknown lag, expected {expected.max_lag} bytes at most.")
    elif lag > expected.max_lag:
        problems.append(f"{where} is {lag} bytes behind, expected {expected.max_lag} at most.")
    timeline = listed.get(leader, {}).get("timeline")
    if timeline and member.get("timeline") != timeline:
        problems.append(f"{where} is on timeline {member.get('timeline')}, expected the leader's {timeline}.")
    return problems


def cluster_problems(
    endpoints: Endpoints,
    found: Mapping[str, Answers],
    listed: Mapping[str, Any],
    leader: str,
    expected: Expected,
) -> list[str]:
    """Return what is wrong with the cluster as a whole."""
    problems = []
    if not leader:
        said = [f"{name}: {member.get('role')} ({member.get('state')})" for name, member in listed.items()]
        said = said or [
            f"{name}: {answers['patroni'].get('state', 'unknown')}"
            for name, answers in found.items()
            if "patroni" in answers
        ]
        problems.append(f"The PostgreSQL cluster has no leader ({', '.join(said) or 'nobody answers'}).")
    primaries = [
        name
        for name in endpoints.members
        if found[name].get("patroni", {}).get("role") in ("primary", "master")
        and found[name]["patroni"].get("state") == "running"
    ]
    if len(primaries) > 1:
        problems.append(f"More than one member calls itself primary: {', '.join(primaries)}, expected is one.")
    problems += [
        f"The PostgreSQL cluster has a member {name} ({member.get('host', 'no address')}) that the inventory does not"
        f" know; it knows {', '.join(endpoints.members)}."
        for name, member in listed.items()
        if name not in endpoints.members
    ]
    wanted = [name for name in endpoints.members if name not in expected.ignore and name != leader]
    synchronous = [name for name, member in listed.items() if member.get("role") in SYNCHRONOUS_ROLES]
    if expected.synchronous and wanted and leader and not synchronous:
        problems.append("No replica is synchronous, expected is one at least: an acknowledged write could be lost.")
    return problems


def member_works(state: ClusterState, name: str, tags: Mapping[str, str]) -> bool:
    """Whether a member answers, leads or streams from a leader, and shows the tags."""
    members = {member["name"]: member for member in state.members}
    member = members.get(name, {})
    return bool(
        state.details["leader"]
        and member.get("answers")
        and (member["state"] == "streaming" or (state.details["leader"] == name and member["state"] == "running"))
        and all(str(member["tags"].get(tag)) == str(value) for tag, value in tags.items())
    )


class Turns:
    """Counts the turns of each member's control loop, as far as they are seen."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {}

    def see(self, found: Mapping[str, Answers]) -> None:
        for name, answers in found.items():
            if "patroni" in answers:
                self.seen.setdefault(name, set()).add(int(answers["patroni"].get("dcs_last_seen", 0)))

    def completed(self) -> int:
        """Return how many turns every member that answers has begun since the first look."""
        return min((len(times) - 1 for times in self.seen.values()), default=0)


# --- moving the leadership ---------------------------------------------------------------------------------------


def best_candidate(state: ClusterState) -> str:
    """Return the replica to promote: synchronous before others, then by failover priority and lag; "" for none."""

    def priority(member: Mapping[str, Any]) -> int:
        tags = member["tags"]
        return 0 if tags.get("nofailover") else int(tags.get("failover_priority", 1))

    fit = [
        member
        for member in state.members
        if member["answers"] and member["state"] == "streaming" and member["lag"] is not None and priority(member) > 0
    ]
    if any(member["role"] in SYNCHRONOUS_ROLES for member in fit):
        fit = [member for member in fit if member["role"] in SYNCHRONOUS_ROLES]
    fit.sort(key=lambda member: (-priority(member), member["lag"], member["name"]))
    return str(fit[0]["name"]) if fit else ""


def next_restart(state: ClusterState, restarted: Sequence[str]) -> str:
    """Return the member to restart next, of those where settings wait for it; "" when all is done.

    Replicas come first, then the leader, then once more the replicas that still wait: a few settings cannot be lower
    on a replica than on its leader.
    """
    waiting = [member["name"] for member in state.members if member["pending_restart"]]
    leader = state.details["leader"]
    for name in waiting:
        if name != leader and name not in restarted:
            return str(name)
    if leader in waiting and leader not in restarted:
        return str(leader)
    if leader in restarted:
        done = restarted[restarted.index(leader) :]
        for name in waiting:
            if name != leader and name not in done:
                return str(name)
    return ""


# --- the dynamic configuration -----------------------------------------------------------------------------------


def same(found: Any, wanted: Any) -> bool:
    """Whether two values mean the same: 20 and "20" do, true and "true" do not."""
    if isinstance(found, bool) or isinstance(wanted, bool) or found is None or wanted is None:
        return found is wanted
    return str(found) == str(wanted)


def config_patch(
    found: Mapping[str, Any], wanted: Mapping[str, Any], exact: Collection[str] = (), path: str = ""
) -> dict[str, Any]:
    """Return the smallest patch that makes found what is wanted.

    A wanted null removes a key. Below the dotted paths in exact, keys that are not wanted are removed.
    """
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        where = f"{path}.{key}" if path else key
        present = found.get(key)
        if isinstance(value, Mapping):
            inner = config_patch(present if isinstance(present, Mapping) else {}, value, exact, where)
            if inner or not isinstance(present, Mapping):
                patch[key] = inner
        elif isinstance(value, (list, tuple)):
            if list(value) != present:
                patch[key] = list(value)
        elif value is None:
            if key in found:
                patch[key] = None
        elif key not in found or not same(present, value):
            patch[key] = value
    if path in exact:
        patch.update({key: None for key in found if key not in wanted})
    return patch


def patched(found: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration is after a patch."""
    result = dict(found)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            present = result.get(key)
            result[key] = patched(present if isinstance(present, Mapping) else {}, value)
        else:
            result[key] = value
    return result
