# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One picture of the platform, of what every host reports, and one table of that picture.

A report has containers (as the filter containers returns them) and, as far as they apply, the results of the *_info
modules by etcd, patroni, redis, haproxy, celery, keepalived and tls, and problems, workers, api_instances and
virtual_address. A host that was not reached has no report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What a host of a group runs, by container; the API's, the dashboard's and the workers' are counted by their hosts.
CONTAINERS = {
    "registry": ["neural-registry"],
    "etcd": ["neural-etcd"],
    "patroni": ["neural-patroni"],
    "redis": ["neural-redis", "neural-sentinel"],
    "haproxy": ["neural-haproxy"],
    "neural_api": ["neural-api"],
    "neural_worker": ["neural-worker"],
    "neural_dashboard": ["neural-dashboard"],
    "nginx": ["neural-nginx"],
}
# Groups whose instances live in any slot of their host, by what their containers' names begin with.
SLOTTED = {"neural_api": "neural-api-", "neural_dashboard": "neural-dashboard-"}
# Those, and a canary of the API, which no host has to run.
IN_SLOTS = (*SLOTTED.values(), "neural-canary-")
NAMES = {"neural-patroni": "postgresql"}
# Services of which an info module says itself, and better, what is wrong.
TOLD = ("etcd", "postgresql", "redis", "sentinel", "haproxy", "keepalived")
INFO = ("etcd", "patroni", "redis", "haproxy", "celery", "keepalived", "tls")
# Those that speak of their own host, not of a cluster.
OF_A_HOST = ("haproxy", "keepalived", "tls")


def service_name(container: str) -> str:
    """Return what a person calls the service that a container runs."""
    return NAMES.get(container, container.removeprefix("neural-"))


def image_tag(image: str) -> str:
    """Return the tag of an image's reference, without the registry's port being taken for one."""
    return image.rpartition("/")[2].partition(":")[2] or "latest"


def views(reports: Mapping[str, Any], info: str) -> dict[str, Mapping[str, Any]]:
    """Return what an info module told on each host where it ran."""
    return {host: report[info] for host, report in reports.items() if "healthy" in (report.get(info) or {})}


def seen_member(reports: Mapping[str, Any], info: str, host: str) -> Mapping[str, Any]:
    """Return a cluster's member: as its own host sees it, or any other that gets an answer from it, or any at all."""
    seen = views(reports, info)
    order = [host, *(other for other in seen if other != host)]
    found: list[Mapping[str, Any]] = [
        member for name in order if name in seen for member in seen[name]["members"] if member.get("name") == host
    ]
    answering = [member for member in found if member.get("answers", not member.get("error"))]
    return next(iter(answering or found), {})


def size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count} {unit}"
        count //= 1000
    return f"{count} GB"


def etcd_row(member: Mapping[str, Any]) -> dict[str, Any]:
    role = "leader" if member.get("leader") else "learner" if member.get("learner") else "follower"
    return {
        "role": role if member.get("answers") else "",
        "version": member.get("version") or "",
        "sound": bool(member.get("answers")),
        "details": f"{size(int(member.get('db_size_in_use') or 0))} in use" if member.get("answers") else "no answer",
    }


def postgresql_row(member: Mapping[str, Any]) -> dict[str, Any]:
    role = str(member.get("role") or "")
    details = [str(member.get("state") or "no answer")]
    if member.get("answers") and role != "leader":
        lag = member.get("lag")
        details.append("lag unknown" if lag is None else f"lag {size(int(lag))}")
    if member.get("timeline"):
        details.append(f"timeline {member['timeline']}")
    if member.get("patroni_version"):
        details.append(f"Patroni {member['patroni_version']}")
    return {
        "role": role,
        "version": member.get("version") or "",
        "sound": bool(member.get("answers")) and member.get("state") in ("running", "streaming"),
        "details": ", ".join(details),
    }


def redis_row(member: Mapping[str, Any]) -> dict[str, Any]:
    role = str(member.get("role") or "")
    sound = role in ("master", "replica") and not member.get("error")
    details = str(member.get("error") or "")
    if role == "replica" and sound:
        sound = member.get("link") == "up"
        details = f"link {member.get('link')}, lag {size(int(member.get('lag_bytes') or 0))}"
    elif role == "master" and sound:
        details = f"{member.get('connected_replicas', 0)} replicas"
    return {"role": role, "version": member.get("version") or "", "sound": sound, "details": details}


def sentinel_row(member: Mapping[str, Any]) -> dict[str, Any]:
    view = member.get("sentinel") or {}
    error = str(view.get("error") or "")
    return {
        "role": "sentinel",
        "version": member.get("version") or "",
        "sound": bool(view) and not error,
        "details": error or f"{view.get('sentinels', 0)} Sentinels, {view.get('replicas', 0)} replicas known",
    }


def haproxy_row(view: Mapping[str, Any]) -> dict[str, Any]:
    backends = view.get("members") or []
    ways = [
        f"{backend['name']} {backend['up']}/{len(backend['servers'])}" for backend in backends if backend["servers"]
    ]
    return {"role": "router", "sound": bool(backends), "details": ", ".join(ways) + " up" if ways else "no answer"}


def slot_row(container: str, view: Mapping[str, Any]) -> dict[str, Any]:
    kind, _dash, slot = service_name(container).rpartition("-")
    servers = [
        server
        for backend in view.get("members") or []
        if backend["name"] == kind
        for server in backend["servers"]
        if server.get("name") == f"slot{slot}"
    ]
    if not servers:
        return {"role": f"slot {slot}", "sound": True, "details": ""}
    where = "" if servers[0].get("ejected") else " in HAProxy"
    return {
        "role": f"slot {slot}",
        "sound": bool(servers[0]["up"]),
        "details": f"{servers[0]['status']}{where}, {servers[0].get('sessions', 0)} sessions",
    }


def worker_row(container: str, host: str, view: Mapping[str, Any]) -> dict[str, Any]:
    worker = container.removeprefix("neural-worker-")
    role = worker.rpartition("-")[0]
    member = next((item for item in view.get("members") or [] if item["name"] == f"{worker}@{host}"), None)
    if member is None:
        return {"role": role, "sound": True, "details": ""}
    if not member["answers"]:
        return {"role": role, "sound": False, "details": "no answer"}
    details = f"takes {', '.join(member['queues'])}; {member['concurrency']} at a time, {member['tasks']} so far"
    return {"role": role, "sound": True, "details": details, "queues": member["queues"]}


def keepalived_row(view: Mapping[str, Any]) -> dict[str, Any]:
    member: Mapping[str, Any] = next(iter(view.get("members") or []), {})
    state = str(member.get("state") or "")
    details = f"has {view.get('address')}" if member.get("holds") else "ready" if state == "BACKUP" else ""
    problems = " ".join(view.get("problems") or [])
    return {"role": state.lower(), "sound": bool(view.get("healthy")), "details": problems or details}


def cluster_row(reports: Mapping[str, Any], host: str, container: str) -> dict[str, Any]:
    """Return role, version, soundness and details of a service, as the info modules told."""
    report = reports[host]
    if container == "neural-etcd" and views(reports, "etcd"):
        return etcd_row(seen_member(reports, "etcd", host))
    if container == "neural-patroni" and views(reports, "patroni"):
        return postgresql_row(seen_member(reports, "patroni", host))
    if container in ("neural-redis", "neural-sentinel") and views(reports, "redis"):
        member = seen_member(reports, "redis", host)
        return redis_row(member) if container == "neural-redis" else sentinel_row(member)
    haproxy, celery = (report.get(info) or {} for info in ("haproxy", "celery"))
    if container == "neural-haproxy":
        return haproxy_row(haproxy)
    if container == "neural-keepalived":
        return keepalived_row(report.get("keepalived") or {})
    if container.startswith(IN_SLOTS):
        return slot_row(container, haproxy)
    if container.startswith("neural-worker-"):
        return worker_row(container, host, celery)
    roles = {"neural-nginx": "load balancer", "neural-registry": "images"}
    return {"role": roles.get(container, ""), "sound": True, "details": ""}


def virtual_address(reports: Mapping[str, Any]) -> str:
    """Return the load balancer's virtual address; all hosts know the same one."""
    return next((str(report["virtual_address"]) for report in reports.values() if report.get("virtual_address")), "")


def containers_of(group: str, address: str) -> list[str]:
    """Return the containers of a group's host; there is a virtual address where address is not empty."""
    return [*CONTAINERS[group], *(["neural-keepalived"] if group == "nginx" and address else [])]


def holder_problems(reports: Mapping[str, Any], groups: Mapping[str, Sequence[str]], address: str) -> list[str]:
    """Return what is wrong where not exactly one host has the virtual address."""
    holders = [
        host
        for host, view in views(reports, "keepalived").items()
        if any(member.get("holds") for member in view["members"])
    ]
    if not address or len(holders) == 1:
        return []
    asked = ", ".join(groups.get("nginx", []))
    found = ", ".join(holders) or "no host that was asked"
    return [f"The virtual address {address} is held by {found} (expected one of {asked})."]


def expected_containers(
    host: str, report: Mapping[str, Any], groups: Mapping[str, Sequence[str]], address: str = ""
) -> list[str]:
    """Return the names of the containers that a host should run."""
    found = {container["name"] for container in report.get("containers") or []}
    names: list[str] = []
    for group in CONTAINERS:
        if host not in groups.get(group, []):
            continue
        if group in SLOTTED:
            # An instance may live in any slot: those that are there count, the missing ones get the lowest free slots.
            taken = sorted(name for name in found if name.startswith(SLOTTED[group]))
            free = (name for name in (f"{SLOTTED[group]}{slot}" for slot in range(1, 100)) if name not in taken)
            wanted = int(report.get("api_instances") or 1) if group == "neural_api" else 1
            missing = max(0, wanted - len(taken))
            names += taken + [next(free) for _number in range(missing)]
        elif group == "neural_worker":
            names += [str(name) for name in report.get("workers") or []]
        else:
            names += containers_of(group, address)
    return names


def service(
    reports: Mapping[str, Any], host: str, name: str, container: Mapping[str, Any] | None, problems: list[str]
) -> dict[str, Any]:
    """Return the row of one service, and add to the problems what is wrong with its container."""
    row = cluster_row(reports, host, name)
    sound = row.pop("sound")
    if container is None:
        state = "missing"
        problems.append(f"Host {host}: the container {name} is not there (expected to run).")
    elif container["state"] != "running":
        state = container["state"]
        problems.append(f"Host {host}: the container {name} is {state} (expected to run).")
    elif container["health"] == "unhealthy":
        state = "unhealthy"
        problems.append(f"Host {host}: the container {name} runs, but its health check fails.")
    else:
        state = "healthy" if sound else "failing"
    return {
        "host": host,
        "service": service_name(name),
        "role": row["role"],
        "healthy": state == "healthy",
        "version": row.get("version") or (image_tag(container["image"]) if container else ""),
        "state": state,
        "details": row["details"],
        "queues": row.get("queues", []),
    }


def unreached(host: str, groups: Mapping[str, Sequence[str]], address: str = "") -> list[dict[str, Any]]:
    """Return the services of a host that was not reached."""
    names = [name for group in CONTAINERS if host in groups.get(group, []) for name in containers_of(group, address)]
    row = {"role": "", "healthy": False, "version": "", "state": "unreachable", "details": "", "queues": []}
    return [{"host": host, "service": service_name(name), **row} for name in names]


def platform_status(
    reports: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    hosts: Iterable[str],
    more_problems: Iterable[str] = (),
) -> dict[str, Any]:
    """Return services, queues and problems of the hosts; more_problems are those that no host reports."""
    services: list[dict[str, Any]] = []
    problems: list[str] = []
    queues: dict[str, int] = {}
    address = virtual_address(reports)
    for host in hosts:
        report = reports.get(host)
        if not report:
            problems.append(f"Host {host} was not reached.")
            services += unreached(host, groups, address)
            continue
        containers = {container["name"]: container for container in report.get("containers") or []}
        expected = expected_containers(host, report, groups, address)
        services += [service(reports, host, name, containers.get(name), problems) for name in expected]
        for name in sorted(set(containers) - set(expected)):
            services.append(service(reports, host, name, containers[name], problems))
        problems += [f"Host {host}: {problem}" for problem in report.get("problems") or []]
    for info in INFO:
        for host, view in views(reports, info).items():
            problems += [f"Host {host}: {line}" if info in OF_A_HOST else line for line in view["problems"]]
            if info == "celery":
                queues.update(view.get("queues") or {})
    problems += [*holder_problems(reports, groups, address), *more_problems]
    for item in services:
        told = item["service"] in TOLD or item["service"].startswith("worker-")
        if item["state"] == "failing" and not (told and any(item["host"] in problem for problem in problems)):
            problems.append(f"Host {item['host']}: {item['service']} does not work: {item['details'] or 'no answer'}.")
    problems = list(dict.fromkeys(problems))
    healthy = not problems and bool(services)
    return {"healthy": healthy, "problems": problems, "services": services, "queues": dict(sorted(queues.items()))}


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return the table that a person reads."""
    rows: list[list[str]] = [["HOST", "SERVICE", "ROLE", "STATE", "VERSION", "DETAILS"]]
    for item in status["services"]:
        mark = item["state"] if item["healthy"] else f"! {item['state']}"
        rows.append([item["host"], item["service"], item["role"] or "-", mark, item["version"] or "-", item["details"]])
    lines = ["", *aligned(rows)]
    if status["queues"]:
        taken = [name for item in status["services"] if item["healthy"] for name in item["queues"]]
        table = [["QUEUE", "WAITING", "WORKERS"]]
        table += [[name, str(length), str(taken.count(name))] for name, length in status["queues"].items()]
        lines += ["", *aligned(table)]
    lines += ["", *(f"PROBLEM  {problem}" for problem in status["problems"])]
    good = sum(1 for item in status["services"] if item["healthy"])
    verdict = "healthy" if status["healthy"] else "NOT HEALTHY"
    lines.append(f"{verdict}: {good} of {len(status['services'])} services are well. {status.get('url', '')}".rstrip())
    return lines
