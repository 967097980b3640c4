"""What an operator does at noon, and what has to come of it. `test_rolling.py` has its course."""

from __future__ import annotations

import json

import labtools as lab

from rolling import canary, certificates, images, maintenance, rotation
from rolling.effects import engines_restarted, haproxy_has, nginx_has, postgresql_has, remember_engines, replaced
from rolling.operation import (
    APPLICATION_HOSTS,
    Check,
    Operation,
    runs,
    runs_original,
    shows_log,
    touches_only,
    version,
    workers_consume,
)


def _stop_registry() -> None:
    lab.on(images.members("registry")[0], "docker", "stop", "neural-registry")


def _start_registry() -> None:
    lab.on(images.members("registry")[0], "docker", "start", "neural-registry")


def image(tier: str, title: str, *checks: Check) -> Operation:
    """Return the update of a tier's image, its members one after the other."""
    return Operation(
        f"{tier}-image",
        f"{title}: another image",
        tier,
        lambda: ("-e", f"{tier}_image={images.reference('next', tier)}"),
        checks=(replaced(f"neural-{tier}", tier), *checks),
        restore=lambda: lab.playbook(tier),
    )


def rejected(tier: str, title: str, settings: dict[str, str], *words: str) -> Operation:
    """Return a change of a tier's settings that its program does not take."""
    return Operation(
        f"{tier}-rejected",
        f"{title}: a configuration that it rejects",
        tier,
        lambda: ("-e", json.dumps(settings)),
        refused=(*words, "what runs goes on as it is"),
        checks=(touches_only(),),
        restore=lambda: lab.playbook(tier),
    )


UPDATE = "rolling_update"

OPERATIONS: tuple[Operation, ...] = (
    Operation("update", "Application: update of three hosts", UPDATE, version("next"), checks=(runs("next"),)),
    Operation("rollback", "Application: rollback", "rollback", checks=(runs_original,)),
    Operation(
        "update-one-host",
        "Application: update of one host (--limit app2)",
        UPDATE,
        lambda: (*version("next")(), "--limit", "app2"),
        checks=(runs("next", "app2"), touches_only("app2")),
        short=True,
    ),
    Operation(
        "update-force",
        "Application: replaced though nothing differs (neural_force)",
        UPDATE,
        lambda: (*version("next")(), "-e", "neural_force=true"),
        checks=(runs("next"),),
    ),
    Operation(
        "image-absent",
        "Application: an image that the registry does not have",
        UPDATE,
        version("no-such-version"),
        refused=("no-such-version", "nothing was touched"),
        checks=(touches_only(),),
    ),
    Operation(
        "image-broken",
        "Application: an image that cannot run",
        UPDATE,
        version("broken"),
        refused=(":broken", "nothing was touched"),
        checks=(touches_only(),),
    ),
    Operation(
        "image-dies",
        "Application: an image that starts and then dies",
        UPDATE,
        version("dies"),
        refused=(":dies", "serves on"),
        checks=(touches_only(), shows_log),
    ),
    Operation(
        "image-never-healthy",
        "Application: an image that never becomes healthy",
        UPDATE,
        lambda: (*version("never-healthy")(), "-e", '{"neural_api_wait_timeout": 30}'),
        refused=(":never-healthy", "serves on"),
        checks=(touches_only(), shows_log),
    ),
    Operation(
        "registry-down",
        "Application: update while the registry is down",
        UPDATE,
        version("not-pulled-yet"),
        refused=(":not-pulled-yet", "nothing was touched"),
        checks=(touches_only(),),
        prepare=_stop_registry,
        restore=_start_registry,
    ),
    Operation(
        "nginx-reload",
        "nginx: a changed setting (reload)",
        "nginx",
        lambda: ("-e", '{"nginx_read_timeout": 299}'),
        checks=(nginx_has("proxy_read_timeout 299s;"), touches_only()),
        restore=lambda: lab.playbook("nginx"),
    ),
    image("nginx", "nginx", touches_only("app1", "app2")),
    Operation(
        "haproxy-reload",
        "HAProxy: a changed setting (reload)",
        "haproxy",
        lambda: ("-e", '{"haproxy_maxconn": 1999}'),
        checks=(haproxy_has("Maxconn: 1999"), touches_only()),
        restore=lambda: lab.playbook("haproxy"),
    ),
    image("haproxy", "HAProxy", touches_only(*APPLICATION_HOSTS), workers_consume),
    Operation(
        "etcd-restart",
        "etcd: a changed setting (rolling restart)",
        "etcd",
        lambda: ("-e", '{"etcd_snapshot_count": 9999}'),
        checks=(replaced("neural-etcd", "etcd"),),
        restore=lambda: lab.playbook("etcd"),
    ),
    Operation(
        "redis-restart",
        "Redis: a changed setting (rolling restart)",
        "redis",
        lambda: ("-e", '{"redis_tcp_keepalive": 61}'),
        checks=(replaced("neural-redis", "redis"), workers_consume),
        restore=lambda: lab.playbook("redis"),
    ),
    Operation(
        "postgresql-parameter",
        "PostgreSQL: a parameter that needs a restart",
        "patroni",
        lambda: ("-e", '{"patroni_max_connections": 151}'),
        checks=(postgresql_has("max_connections", "151"),),
        restore=lambda: lab.playbook("patroni"),
    ),
    Operation(
        "postgresql-switchover", "PostgreSQL: planned switchover", "switchover", lambda: ("-e", "service=postgresql")
    ),
    Operation("redis-switchover", "Redis: planned switchover", "switchover", lambda: ("-e", "service=redis")),
    Operation(
        "docker-restart",
        "Docker engine: a setting that needs a restart, on every host",
        "docker",
        lambda: ("-e", '{"docker_host_daemon_options": {"log-level": "warn"}}'),
        prepare=remember_engines,
        checks=(engines_restarted, touches_only()),
        restore=lambda: lab.playbook("docker"),
    ),
    image("etcd", "etcd"),
    image("redis", "Redis", workers_consume),
    image("patroni", "PostgreSQL and Patroni"),
    rejected("nginx", "nginx", {"nginx_tls_ciphers": "NO-SUCH-CIPHER"}, "app1: nginx does not take", "no cipher match"),
    rejected("haproxy", "HAProxy", {"haproxy_queue_timeout": "3 parsecs"}, "app1: HAProxy does not take", "parsecs"),
    rejected("redis", "Redis", {"redis_maxmemory": "lots"}, "app1: Redis does not take", "maxmemory"),
    rejected("patroni", "PostgreSQL", {"patroni_work_mem": "lots"}, "db1: PostgreSQL", "work_mem", "lots"),
    Operation(
        "certificates",
        "Certificates: new keys and certificates of all hosts",
        "rotate_certificates",
        prepare=certificates.remember,
        checks=(certificates.renewed(*lab.HOSTS), certificates.replaces_only(certificates.REPLACED), workers_consume),
    ),
    Operation(
        "certificates-limited",
        "Certificates: new key and certificate of one host (--limit app2)",
        "rotate_certificates",
        lambda: ("--limit", "app2"),
        prepare=certificates.remember,
        checks=(
            certificates.renewed("app2"),
            certificates.replaces_only(certificates.REPLACED),
            touches_only("app2"),
        ),
    ),
    Operation(
        "authority-limited",
        "Certificates: a new authority on one host",
        "rotate_certificates",
        lambda: ("-e", "rotate_ca=true", "--limit", "app2"),
        refused=("found --limit app2", "Nothing was touched"),
        prepare=certificates.remember,
        checks=(touches_only(), certificates.renewed(), certificates.trusts_as_before),
    ),
    # What it leaves, two that are trusted, is what the next one begins with.
    Operation(
        "authority-trust",
        "Certificates: a new authority, first phase (both are trusted)",
        "rotate_certificates",
        lambda: ("-e", "rotate_ca=trust"),
        prepare=certificates.remember,
        checks=(
            certificates.trusts_both,
            certificates.renewed(*lab.HOSTS),
            certificates.replaces_only(certificates.REPLACED_FOR_AUTHORITY),
        ),
    ),
    Operation(
        "authority",
        "Certificates: a new authority, to the end",
        "rotate_certificates",
        lambda: ("-e", "rotate_ca=true"),
        prepare=certificates.remember,
        checks=(
            certificates.trusts_the_new_one,
            certificates.replaces_only(certificates.REPLACED_FOR_AUTHORITY),
            workers_consume,
        ),
    ),
    *maintenance.OPERATIONS,
    *canary.OPERATIONS,
    *rotation.ROTATIONS,
)
