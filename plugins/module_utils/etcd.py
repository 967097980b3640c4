# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What etcd's JSON gateway says about a cluster, and whether a member may start, join or has to be replaced."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState, http_request

# One member's answers by name of the question, or {"error": sentence}.
Answers = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoints:
    """Where the members listen, and how to ask them."""

    members: Mapping[str, str]
    port: int
    peer_port: int
    tls: ssl.SSLContext | None
    timeout: float = 3.0

    def client_url(self, name: str) -> str:
        return f"https://{host_part(self.members[name])}:{self.port}"

    def peer_url(self, name: str) -> str:
        return f"https://{host_part(self.members[name])}:{self.peer_port}"


class EtcdError(Exception):
    """A request that etcd refused or did not answer."""


def host_part(address: str) -> str:
    """Return an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


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


def ask(endpoints: Endpoints, name: str, path: str, body: dict[str, Any] | None = None, peer: bool = False) -> Any:
    """Return a member's answer. Raises EtcdError when there is none or it is an error."""
    url = endpoints.peer_url(name) if peer else endpoints.client_url(name)
    try:
        status, text = http_request(url + path, tls=endpoints.tls, body=body, timeout=endpoints.timeout)
        answer = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EtcdError(reason_of(error)) from error
    # /health answers 503 with its reason.
    if status >= 400 and path != "/health":
        detail = answer.get("message") or answer.get("error") if isinstance(answer, dict) else answer
        raise EtcdError(str(detail))
    return answer


def ask_member(endpoints: Endpoints, name: str, peers: bool = False) -> dict[str, Any]:
    """Return what one member says about itself and about the cluster.

    A member that has never seen a quorum answers no clients: with peers it is asked for the list of members as
    another member would ask it.
    """
    try:
        answers = {
            "status": ask(endpoints, name, "/v3/maintenance/status", {}),
            "members": ask(endpoints, name, "/v3/cluster/member/list", {}),
        }
    except EtcdError as error:
        answers = {"error": str(error)}
        if peers:
            try:
                listed = ask(endpoints, name, "/members", peer=True)
                answers["members"] = {"members": [{**member, "ID": str(member["id"])} for member in listed]}
            except EtcdError:
                pass
        return answers
    try:
        answers["health"] = ask(endpoints, name, "/health")
    except EtcdError as error:
        answers["health"] = {"health": "false", "reason": str(error)}
    return answers


def ask_all(endpoints: Endpoints, peers: bool = False) -> dict[str, dict[str, Any]]:
    """Ask all members at the same time; the cluster's alarms, which need a quorum, through one healthy member."""
    with ThreadPoolExecutor(max_workers=max(1, len(endpoints.members))) as pool:
        answered = pool.map(lambda name: ask_member(endpoints, name, peers), endpoints.members)
        found = dict(zip(endpoints.members, answered, strict=True))
    for name, answers in found.items():
        if answers_well(answers):
            try:
                answers["alarms"] = ask(endpoints, name, "/v3/maintenance/alarm", {"action": "GET"})
            except EtcdError:
                continue
            break
    return found


def answers_well(answers: Answers) -> bool:
    """Whether a member answers, sees a leader and takes part; an alarm alone does not count against it."""
    health = answers.get("health", {})
    return health.get("health") == "true" or str(health.get("reason", "")).startswith("ALARM")


def listed_members(found: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Return the cluster's members, as a member says that is not cut off, else as any says."""
    for answers in sorted(found.values(), key=lambda answers: not answers_well(answers)):
        if "members" in answers:
            return list(answers["members"].get("members", []))
    return []


def has_quorum(found: Mapping[str, Answers]) -> bool:
    """Whether more than half of the cluster's members answer well and agree about the leader."""
    leaders = [answers["status"].get("leader", "0") for answers in found.values() if answers_well(answers)]
    size = len(listed_members(found))
    return size > 0 and any(leaders.count(leader) > size // 2 for leader in set(leaders) - {"0"})


def evaluate(
    endpoints: Endpoints,
    found: Mapping[str, Answers],
    ignore: Collection[str] = (),
    max_raft_lag: int = 1000,
) -> ClusterState:
    """Return the cluster's state; what concerns only the members in ignore is no problem."""
    state = ClusterState()
    listed = listed_members(found)
    alarms = [alarm for answers in found.values() for alarm in answers.get("alarms", {}).get("alarms", [])]
    raised: dict[str, list[str]] = {}
    for alarm in alarms:
        raised.setdefault(str(alarm["memberID"]), []).append(str(alarm["alarm"]))
    statuses = {name: answers["status"] for name, answers in found.items() if "status" in answers}
    names = {str(status["header"]["member_id"]): name for name, status in statuses.items()}
    indexes = {name: int(status.get("raftIndex", 0)) for name, status in statuses.items()}

    for name, address in endpoints.members.items():
        status = statuses.get(name, {})
        member_id = str(status.get("header", {}).get("member_id", ""))
        state.members.append(
            {
                "name": name,
                "address": address,
                "id": member_id,
                "answers": bool(status),
                "leader": bool(status) and status.get("leader") == member_id,
                "version": str(status.get("version", "")),
                "db_size": int(status.get("dbSize", 0)),
                "db_size_in_use": int(status.get("dbSizeInUse", 0)),
                "raft_index": int(status.get("raftIndex", 0)),
                "raft_term": int(status.get("raftTerm", 0)),
                "learner": bool(status.get("isLearner", False)),
                "alarms": raised.get(member_id, []),
            }
        )
        if name not in ignore:
            state.problems += member_problems(endpoints, name, found[name])
            behind = max(indexes.values(), default=0) - indexes.get(name, 0)
            if name in indexes and behind > max_raft_lag:
                state.problems.append(
                    f"etcd member {name} is {behind} raft entries behind the furthest member,"
                    f" expected {max_raft_lag} at most."
                )

    if listed:
        state.problems += membership_problems(endpoints, listed, ignore)
    state.problems += agreement_problems({name: status for name, status in statuses.items() if name not in ignore})
    state.problems += [
        f"etcd member {names.get(member_id, member_id)} has raised the alarm {alarm}, expected no alarm."
        for member_id, kinds in raised.items()
        for alarm in kinds
    ]
    quorum = has_quorum(found)
    if not quorum:
        well = [name for name, answers in found.items() if answers_well(answers)]
        size = len(listed) or len(endpoints.members)
        state.problems.append(
            f"The etcd cluster has no quorum: {len(well)} of {size} members answer well ({', '.join(well) or 'none'}),"
            f" expected are {size // 2 + 1} at least."
        )
    leaders = [member["name"] for member in state.members if member["leader"]]
    state.details = {"leader": leaders[0] if quorum and leaders else "", "quorum": quorum}
    return state


def member_problems(endpoints: Endpoints, name: str, answers: Answers) -> list[str]:
    """Return what is wrong with one member by its own words."""
    where = f"etcd member {name} ({endpoints.members[name]}:{endpoints.port})"
    if "error" in answers:
        return [f"{where} does not answer: {answers['error']}."]
    problems = []
    if answers["status"].get("leader", "0") == "0":
        problems.append(f"{where} sees no leader.")
    elif not answers_well(answers):
        problems.append(f"{where} says that it is not healthy: {answers['health'].get('reason') or 'no reason given'}.")
    if answers["status"].get("isLearner"):
        problems.append(f"{where} is a learner, expected is a voting member.")
    return problems


def membership_problems(endpoints: Endpoints, listed: list[dict[str, Any]], ignore: Collection[str]) -> list[str]:
    """Return where the cluster's members are not the expected ones."""
    problems = []
    by_url = {url: member for member in listed for url in member.get("peerURLs", [])}
    for name in endpoints.members:
        url = endpoints.peer_url(name)
        if name in ignore:
            continue
        if url not in by_url:
            problems.append(f"etcd host {name} ({url}) is not a member of the cluster, which has {', '.join(by_url)}.")
        elif not by_url[url].get("clientURLs"):
            problems.append(f"etcd member {name} ({url}) is in the cluster but has never started.")
        elif by_url[url].get("name") != name:
            problems.append(f"etcd member at {url} is named {by_url[url].get('name')}, expected {name}.")
    expected = {endpoints.peer_url(name) for name in endpoints.members}
    problems += [
        f"The etcd cluster has a member {by_url[url].get('name') or by_url[url]['ID']} ({url})"
        f" that the inventory does not know; it knows {', '.join(endpoints.members)}."
        for url in by_url
        if url not in expected
    ]
    return problems


def agreement_problems(statuses: Mapping[str, Any]) -> list[str]:
    """Return where members belong to different clusters or follow different leaders."""
    problems = []
    clusters = {name: str(status["header"]["cluster_id"]) for name, status in statuses.items()}
    if len(set(clusters.values())) > 1:
        said = ", ".join(f"{name}: {cluster}" for name, cluster in clusters.items())
        problems.append(f"The etcd members belong to different clusters ({said}), expected is one.")
    leaders = {name: str(status.get("leader", "0")) for name, status in statuses.items()}
    if len(set(leaders.values()) - {"0"}) > 1:
        said = ", ".join(f"{name}: {leader}" for name, leader in leaders.items())
        problems.append(f"The etcd members follow different leaders ({said}), expected is one.")
    return problems


# --- how a member starts -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """How a member without data is to be started.

    how: bootstrap (as one of the first members), join (it is in the list already, and waited for), add (it has to be
    put into the list first, and the members in remove taken out of it), unclear (problem says why).
    """

    how: str
    reason: str
    remove: list[str] = field(default_factory=list)
    initial_cluster: str = ""


def decide_start(endpoints: Endpoints, name: str, found: Mapping[str, Answers], all_new: bool) -> Start:
    """Decide how a member whose data directory is empty starts, from what the others say.

    all_new: it is known that no expected member has data, so that there is no cluster yet.
    """
    url = endpoints.peer_url(name)
    others = {other: answers for other, answers in found.items() if other != name}
    listed = listed_members(others)
    if not listed:
        if all_new:
            return Start("bootstrap", "No member has data, a new cluster begins.")
        return Start(
            "unclear",
            f"{name} has no data, and no other etcd member answers, so that it cannot be known whether there is"
            " a cluster to join. Expected: a quorum of the others running, or all etcd hosts in this run without data.",
        )
    mine = [member for member in listed if url in member.get("peerURLs", [])]
    dead = [str(member["ID"]) for member in listed if member in mine or member.get("name") == name]
    if mine and not mine[0].get("clientURLs"):
        if mine[0].get("name"):
            return Start("bootstrap", f"{name} is one of the first members and has never started.")
        return Start(
            "join", f"{name} is a member that has never started.", initial_cluster=initial_cluster(name, url, listed)
        )
    if not has_quorum(others):
        return Start(
            "unclear",
            f"{name} has no data and has to join the cluster, which has no quorum to let it in:"
            f" {sum(answers_well(answers) for answers in others.values())} of {len(listed)} members answer well.",
        )
    kept = [member for member in listed if str(member["ID"]) not in dead]
    reason = f"{name} has lost its data" if dead else f"{name} is new"
    return Start("add", f"{reason}, it joins the living cluster.", dead, initial_cluster(name, url, kept))


def initial_cluster(name: str, url: str, listed: list[dict[str, Any]]) -> str:
    """Return etcd's initial-cluster for a member that joins the listed ones."""
    pairs = [(str(member["name"]), peer) for member in listed if member.get("name") for peer in member["peerURLs"]]
    return ",".join(f"{member}={peer}" for member, peer in sorted({*pairs, (name, url)}))


def admit(endpoints: Endpoints, name: str, found: Mapping[str, Answers], start: Start) -> None:
    """Take the dead members out of the cluster's list and put the new one in. Raises EtcdError."""
    via = next(other for other, answers in found.items() if other != name and answers_well(answers))
    for member_id in start.remove:
        ask(endpoints, via, "/v3/cluster/member/remove", {"ID": member_id})
    ask(endpoints, via, "/v3/cluster/member/add", {"peerURLs": [endpoints.peer_url(name)]})
