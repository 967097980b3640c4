"""Maintenance of a host, restarts, and a handover of the virtual address: operations for `operations.py`."""

from __future__ import annotations

from collections.abc import Callable

import labtools as lab

from rolling.effects import replaced
from rolling.operation import APPLICATION_HOSTS, Check, Operation, Seen, touches_only, workers_consume

PLAYBOOK = "maintenance"
# On app3; app1 has that pool, too.
WORKER = "neural-worker-general-1"


def begin(host: str) -> Callable[[], tuple[str, ...]]:
    return lambda: ("-e", f"host={host}")


def end(host: str) -> Callable[[], tuple[str, ...]]:
    return lambda: ("-e", f"host={host}", "-e", "state=end")


def brought_back(host: str) -> Callable[[], object]:
    """Return what brings a host back, also after an operation that failed halfway."""
    return lambda: lab.playbook(PLAYBOOK, *end(host)())


def said_free(host: str) -> Check:
    """Check that the host was told to be free; that it is back, the platform's health tells."""

    def check(seen: Seen) -> list[str]:
        return [] if f"{host} is in maintenance: it serves nothing" in seen.output else [f"{host} was never free"]

    return check


def maintenance(host: str, via: str, short: bool = False) -> Operation:
    return Operation(
        f"maintenance-{host}",
        f"Maintenance of {host}: begin, then end",
        PLAYBOOK,
        begin(host),
        then=end(host),
        checks=(said_free(host), touches_only(host), workers_consume),
        restore=brought_back(host),
        via=via,
        short=short,
    )


def restart(service: str, title: str, *checks: Check) -> Operation:
    return Operation(
        f"restart-{service}",
        f"{title}: restart though nothing differs",
        "restart",
        lambda: ("-e", f"service={service}"),
        checks=checks,
    )


def container(action: str, host: str, name: str) -> Callable[[], object]:
    return lambda: lab.on(host, "docker", action, name)


OPERATIONS = (
    Operation(
        "vip-switchover",
        "Virtual address: planned handover",
        "switchover",
        lambda: ("-e", "service=vip"),
        checks=(touches_only("app1", "app2"),),
    ),
    maintenance("app1", via="app2", short=True),
    maintenance("db1", via="app1"),
    maintenance("cache1", via="app1"),
    Operation(
        "maintenance-second",
        "Maintenance of a second host",
        PLAYBOOK,
        begin("app2"),
        refused=("Host cache1 is in maintenance since", "Nothing was touched"),
        checks=(touches_only(),),
        prepare=lambda: lab.playbook(PLAYBOOK, *begin("cache1")()),
        restore=brought_back("cache1"),
    ),
    Operation(
        "maintenance-unhealthy",
        "Maintenance while another host lacks a worker",
        PLAYBOOK,
        begin("app1"),
        refused=(f"{WORKER} on app3 is not healthy", "Nothing was touched"),
        checks=(touches_only(),),
        prepare=container("stop", "app3", WORKER),
        restore=container("start", "app3", WORKER),
    ),
    Operation(
        "maintenance-quorum",
        "Maintenance that would break a quorum",
        PLAYBOOK,
        lambda: (*begin("app1")(), "-e", "neural_require_healthy=false"),
        refused=("Without app1 etcd has no quorum", "Nothing was touched"),
        checks=(touches_only(),),
        prepare=container("stop", "app3", "neural-etcd"),
        restore=container("start", "app3", "neural-etcd"),
    ),
    Operation(
        "restart-unknown",
        "Restart of a service that there is not",
        "restart",
        lambda: ("-e", "service=postgres"),
        refused=("service: found postgres", "api, dashboard, workers, postgresql, etcd", "Nothing was touched"),
        checks=(touches_only(),),
    ),
    restart("api", "API", replaced("neural-api-", "neural_api"), touches_only(*APPLICATION_HOSTS)),
    restart(
        "dashboard", "Dashboard", replaced("neural-dashboard-", "neural_dashboard"), touches_only(*APPLICATION_HOSTS)
    ),
    restart("workers", "Workers", replaced("neural-worker-", "neural_worker"), workers_consume),
    restart("redis", "Redis", replaced("neural-redis", "redis"), workers_consume),
    restart("etcd", "etcd", replaced("neural-etcd", "etcd")),
    restart("postgresql", "PostgreSQL", replaced("neural-patroni", "patroni")),
    restart("haproxy", "HAProxy", replaced("neural-haproxy", "haproxy"), workers_consume),
    restart("nginx", "nginx", replaced("neural-nginx", "nginx")),
    restart("keepalived", "keepalived", replaced("neural-keepalived", "nginx")),
)
