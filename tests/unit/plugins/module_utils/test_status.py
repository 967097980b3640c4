"""The picture and the table that are made of what the hosts report.

The reports are put together here, with the values that a status run on the lab showed.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.neural.platform.plugins.module_utils.platform_status import (
    image_tag,
    platform_status,
    service_name,
    size,
    status_lines,
)

GROUPS = {
    "registry": ["cache1"],
    "etcd": ["app1", "app3", "cache1"],
    "patroni": ["db1", "app2", "app3"],
    "redis": ["cache1", "app1", "app2"],
    "haproxy": ["app1", "app2", "app3"],
    "nginx": ["app1", "app2"],
    "neural_api": ["app1", "app2", "app3"],
    "neural_dashboard": ["app1", "app2"],
    "neural_worker": ["app1", "app2", "app3"],
}
HOSTS = ["app1", "app2", "app3", "db1", "cache1"]


POOLS = ("training", "compilation", "export", "general")
CONTAINERS = {
    "registry": ["registry"],
    "etcd": ["etcd"],
    "patroni": ["patroni"],
    "redis": ["redis", "sentinel"],
    "haproxy": ["haproxy"],
    "nginx": ["nginx", "keepalived"],
    "neural_api": ["api-1"],
    "neural_dashboard": ["dashboard-1"],
    "neural_worker": [f"worker-{pool}-1" for pool in POOLS],
}


def well(members: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"healthy": True, "problems": [], "members": members, **more}


def etcd() -> dict[str, Any]:
    return well(
        [
            {"name": name, "answers": True, "leader": name == "app3", "version": "3.5.16", "db_size_in_use": 49152}
            for name in GROUPS["etcd"]
        ]
    )


def patroni() -> dict[str, Any]:
    roles = {"db1": "leader", "app2": "replica", "app3": "sync_standby"}
    return well(
        [
            {
                "name": name,
                "answers": True,
                "role": role,
                "state": "running" if role == "leader" else "streaming",
                "timeline": 1,
                "lag": 0,
                "version": "17.12",
                "patroni_version": "4.0.7",
            }
            for name, role in roles.items()
        ]
    )


def redis() -> dict[str, Any]:
    return well(
        [
            {
                "name": name,
                "role": "master" if name == "app1" else "replica",
                "version": "8.0.2",
                "link": "up",
                "lag_bytes": 0,
                "connected_replicas": 2 if name == "app1" else 0,
                "error": "",
                "sentinel": {"sentinels": 3, "replicas": 2, "error": ""},
            }
            for name in GROUPS["redis"]
        ]
    )


def haproxy() -> dict[str, Any]:
    servers = [
        {"name": f"slot{slot}", "status": "UP" if slot == 1 else "DOWN", "up": slot == 1, "sessions": 0}
        for slot in (1, 2, 3, 4)
    ]
    return well([{"name": "api", "up": 1, "servers": servers}, {"name": "alive", "up": 0, "servers": []}])


def keepalived(host: str) -> dict[str, Any]:
    holds = host == "app2"
    member = {"name": "neural", "state": "MASTER" if holds else "BACKUP", "holds": holds, "interface": "eth0"}
    return well([member], address="192.0.2.10")


def celery(host: str) -> dict[str, Any]:
    return well(
        [
            {
                "name": f"{pool}-1@{host}",
                "pool": pool,
                "answers": True,
                "queues": [pool],
                "concurrency": 1,
                "tasks": 0,
            }
            for pool in POOLS
        ],
        queues=dict.fromkeys(POOLS, 0),
    )


def report(host: str) -> dict[str, Any]:
    """Return what a host reports that is well."""
    mine = [name for group, names in CONTAINERS.items() if host in GROUPS[group] for name in names]
    return {
        "containers": [
            {
                "name": f"neural-{name}",
                "image": f"10.231.240.14:5000/neural/{name}:49469583632a",
                "labels": {},
                "state": "running",
                "health": "healthy",
            }
            for name in mine
        ],
        "etcd": etcd() if host in GROUPS["etcd"] else {"skipped": True},
        "patroni": patroni() if host in GROUPS["patroni"] else {"skipped": True},
        "redis": redis() if host in GROUPS["redis"] else {"skipped": True},
        "haproxy": haproxy() if host in GROUPS["haproxy"] else {"skipped": True},
        "celery": celery(host) if host in GROUPS["neural_worker"] else {"skipped": True},
        "keepalived": keepalived(host) if host in GROUPS["nginx"] else {"skipped": True},
        "virtual_address": "192.0.2.10",
        "api_instances": 1,
        "workers": [f"neural-{name}" for name in mine if name.startswith("worker-")],
        "problems": [],
    }


@pytest.fixture
def reports() -> dict[str, Any]:
    """Reports of all hosts while all is well."""
    return {host: report(host) for host in HOSTS}


def picture(reports: dict[str, Any], *more: str) -> dict[str, Any]:
    return platform_status(reports, GROUPS, HOSTS, more)


def row(status: dict[str, Any], host: str, service: str) -> dict[str, Any]:
    return next(item for item in status["services"] if (item["host"], item["service"]) == (host, service))


def container(reports: dict[str, Any], host: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in reports[host]["containers"] if item["name"] == name)
    return found


def test_a_platform_that_is_well(reports: dict[str, Any]) -> None:
    status = picture(reports)
    assert status["healthy"], status["problems"]
    assert {item["host"] for item in status["services"]} == set(HOSTS)
    assert all(item["healthy"] and item["version"] and item["role"] for item in status["services"])
    assert sum(item["role"] == "leader" for item in status["services"] if item["service"] == "postgresql") == 1
    assert sum(item["role"] == "master" for item in status["services"] if item["service"] == "redis") == 1
    assert sum(item["role"] == "leader" for item in status["services"] if item["service"] == "etcd") == 1
    assert set(status["queues"]) == {"compilation", "export", "general", "training"}
    assert row(status, "app1", "worker-compilation-1")["queues"] == ["compilation"]
    assert "lag" in next(
        item["details"] for item in status["services"] if item["service"] == "postgresql" and item["role"] != "leader"
    )


def test_the_table_has_a_line_for_everything(reports: dict[str, Any]) -> None:
    status = picture(reports)
    lines = status_lines({**status, "url": "https://192.0.2.11"})
    assert lines[1].split() == ["HOST", "SERVICE", "ROLE", "STATE", "VERSION", "DETAILS"]
    for item in status["services"]:
        assert any(line.split()[:2] == [item["host"], item["service"]] for line in lines), item
    assert ["compilation", "0", "3"] in [line.split() for line in lines]
    assert lines[-1].startswith("healthy: ")
    assert lines[-1].endswith("https://192.0.2.11")
    assert not any(line != line.rstrip() or "\t" in line for line in lines)


def test_before_the_application_is_there(reports: dict[str, Any]) -> None:
    for host in GROUPS["neural_api"]:
        kept = [item for item in reports[host]["containers"] if not item["name"].startswith("neural-api")]
        reports[host]["containers"] = kept
    status = picture(reports)
    assert not status["healthy"]
    assert "Host app3: the container neural-api-1 is not there (expected to run)." in status["problems"]
    assert row(status, "app3", "api-1")["state"] == "missing"
    assert row(status, "db1", "postgresql")["healthy"]


def test_a_host_that_is_switched_off(reports: dict[str, Any]) -> None:
    reports["app2"] = {}
    status = picture(reports)
    assert not status["healthy"]
    assert "Host app2 was not reached." in status["problems"]
    services = [item["service"] for item in status["services"] if item["host"] == "app2"]
    assert services == [
        "postgresql",
        "redis",
        "sentinel",
        "haproxy",
        "api",
        "worker",
        "dashboard",
        "nginx",
        "keepalived",
    ]
    assert all(item["state"] == "unreachable" for item in status["services"] if item["host"] == "app2")
    assert row(status, "db1", "postgresql")["healthy"]


def test_no_host_at_all() -> None:
    status = picture({})
    assert not status["healthy"]
    assert len(status["problems"]) == len(HOSTS)
    assert status_lines(status)[-1].startswith("NOT HEALTHY: 0 of ")


def test_a_container_that_fails_its_health_check(reports: dict[str, Any]) -> None:
    container(reports, "app1", "neural-nginx")["health"] = "unhealthy"
    status = picture(reports)
    assert status["problems"] == ["Host app1: the container neural-nginx runs, but its health check fails."]
    assert row(status, "app1", "nginx")["state"] == "unhealthy"
    assert any("! unhealthy" in line for line in status_lines(status))


def test_who_has_the_virtual_address(reports: dict[str, Any]) -> None:
    status = picture(reports)
    held, ready = (row(status, host, "keepalived") for host in ("app2", "app1"))
    assert (held["role"], held["details"]) == ("master", "has 192.0.2.10")
    assert (ready["role"], ready["details"]) == ("backup", "ready")


def test_two_hosts_have_the_virtual_address(reports: dict[str, Any]) -> None:
    reports["app1"]["keepalived"]["members"][0].update(state="MASTER", holds=True)
    assert picture(reports)["problems"] == [
        "The virtual address 192.0.2.10 is held by app1, app2 (expected one of app1, app2)."
    ]


def test_no_host_has_the_virtual_address(reports: dict[str, Any]) -> None:
    problem = "keepalived is in state FAULT: nginx of this host does not answer it, or the interface is down."
    for host in GROUPS["nginx"]:
        view = reports[host]["keepalived"]
        view["members"][0].update(state="FAULT", holds=False)
        view.update(healthy=False, problems=[problem])
    status = picture(reports)
    assert status["problems"] == [
        f"Host app1: {problem}",
        f"Host app2: {problem}",
        "The virtual address 192.0.2.10 is held by no host that was asked (expected one of app1, app2).",
    ]
    assert row(status, "app1", "keepalived")["state"] == "failing"


def test_a_keepalived_that_is_gone_but_left_the_address(reports: dict[str, Any]) -> None:
    reports["app1"]["containers"] = [c for c in reports["app1"]["containers"] if c["name"] != "neural-keepalived"]
    problem = "keepalived does not answer: no such container."
    reports["app1"]["keepalived"] = {
        "healthy": False,
        "problems": [problem],
        "members": [{"state": "", "holds": True}],
        "address": "192.0.2.10",
    }
    assert picture(reports)["problems"] == [
        "Host app1: the container neural-keepalived is not there (expected to run).",
        f"Host app1: {problem}",
        "The virtual address 192.0.2.10 is held by app1, app2 (expected one of app1, app2).",
    ]


def test_without_a_virtual_address_there_is_no_keepalived(reports: dict[str, Any]) -> None:
    for report in reports.values():
        report.update(virtual_address="", keepalived={})
        report["containers"] = [item for item in report["containers"] if item["name"] != "neural-keepalived"]
    status = picture(reports)
    assert status["healthy"], status["problems"]
    assert not [item for item in status["services"] if item["service"] == "keepalived"]


def test_a_container_that_is_stopped(reports: dict[str, Any]) -> None:
    container(reports, "db1", "neural-patroni")["state"] = "exited"
    status = picture(reports)
    assert "Host db1: the container neural-patroni is exited (expected to run)." in status["problems"]


def test_an_instance_in_another_slot_is_the_instance(reports: dict[str, Any]) -> None:
    container(reports, "app1", "neural-api-1")["name"] = "neural-api-2"
    for backend in reports["app1"]["haproxy"]["members"]:
        if backend["name"] == "api":
            backend["servers"][1]["up"] = True
    status = picture(reports)
    assert status["healthy"], status["problems"]
    assert row(status, "app1", "api-2")["role"] == "slot 2"


def test_an_instance_that_haproxy_calls_down(reports: dict[str, Any]) -> None:
    for backend in reports["app1"]["haproxy"]["members"]:
        if backend["name"] == "api":
            backend["servers"][0].update(up=False, status="DOWN")
    status = picture(reports)
    assert row(status, "app1", "api-1")["state"] == "failing"
    assert len(status["problems"]) == 1
    assert status["problems"][0].startswith("Host app1: api-1 does not work: DOWN in HAProxy")


def test_a_canary_that_haproxy_calls_down(reports: dict[str, Any]) -> None:
    canary = {**container(reports, "app1", "neural-api-1"), "name": "neural-canary-1"}
    reports["app1"]["containers"].append(canary)
    server = {"name": "slot1", "status": "UP", "up": True, "sessions": 3}
    backend = {"name": "canary", "status": "UP", "up": 1, "servers": [server]}
    reports["app1"]["haproxy"]["members"].append(backend)
    status = picture(reports)
    assert status["healthy"], status["problems"]
    assert row(status, "app1", "canary-1")["details"] == "UP in HAProxy, 3 sessions"
    server.update(up=False, status="DOWN")
    status = picture(reports)
    assert status["problems"] == ["Host app1: canary-1 does not work: DOWN in HAProxy, 3 sessions."]


def test_a_second_instance_that_is_declared_and_missing(reports: dict[str, Any]) -> None:
    reports["app1"]["api_instances"] = 2
    status = picture(reports)
    assert status["problems"] == ["Host app1: the container neural-api-2 is not there (expected to run)."]


def test_a_worker_that_does_not_answer(reports: dict[str, Any]) -> None:
    view = reports["app3"]["celery"]
    next(member for member in view["members"] if member["pool"] == "export")["answers"] = False
    view.update(healthy=False, problems=["The worker export-1@app3 does not answer (expected one on export)."])
    status = picture(reports)
    assert row(status, "app3", "worker-export-1")["state"] == "failing"
    assert status["problems"] == view["problems"]


def test_what_several_hosts_see_is_said_once(reports: dict[str, Any]) -> None:
    for host in ("app1", "app3", "cache1"):
        reports[host]["etcd"].update(healthy=False, problems=["etcd has no leader."])
    assert picture(reports)["problems"] == ["etcd has no leader."]


def test_a_container_that_nobody_declared_is_shown(reports: dict[str, Any]) -> None:
    reports["app3"]["containers"].append({**container(reports, "app1", "neural-nginx"), "name": "neural-nginx"})
    assert row(picture(reports), "app3", "nginx")["healthy"]


def test_what_could_not_be_asked_and_what_no_host_reports(reports: dict[str, Any]) -> None:
    reports["app1"]["problems"] = ["Ask etcd: boom"]
    status = picture(reports, "https://192.0.2.11/ready does not answer.")
    assert status["problems"] == ["Host app1: Ask etcd: boom", "https://192.0.2.11/ready does not answer."]


@pytest.mark.parametrize(
    ("image", "tag"),
    [("192.0.2.31:5000/neural/etcd:abc", "abc"), ("neural/etcd", "latest"), ("192.0.2.31:5000/etcd", "latest")],
)
def test_image_tag(image: str, tag: str) -> None:
    assert image_tag(image) == tag


def test_service_name() -> None:
    assert [service_name(name) for name in ("neural-patroni", "neural-api-1")] == ["postgresql", "api-1"]


def test_size() -> None:
    assert [size(count) for count in (0, 999, 1000, 49152, 16777216, 5 * 10**9)] == [
        "0 B",
        "999 B",
        "1 kB",
        "49 kB",
        "16 MB",
        "5 GB",
    ]
