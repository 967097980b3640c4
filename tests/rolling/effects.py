"""Checks that an operation did what it was run for: a run that does nothing would harm nobody, either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import labtools as lab

from resilience.clients import psql_on
from resilience.credentials import members
from rolling.standin import ask

if TYPE_CHECKING:
    from rolling.operation import Check, Seen

# By host, the Docker engine's process before an operation.
engines_before: dict[str, str] = {}


def replaced(prefix: str, group: str) -> Check:
    """Check that no container of a group's hosts whose name begins so is there as it was before."""

    def check(seen: Seen) -> list[str]:
        kept = {name for name, life in seen.before.items() if seen.after.get(name) == life}
        return [
            f"{name} was not restarted"
            for name in sorted(kept)
            if name.split("/")[0] in members(group) and name.split("/")[1].startswith(prefix)
        ]

    return check


def nginx_has(text: str) -> Check:
    """Check that the configuration of every nginx has a text; that it is the one served, the playbook has seen."""

    def check(_seen: Seen) -> list[str]:
        found = {host: lab.on(host, "cat", "/etc/neural/nginx/nginx.conf") for host in members("nginx")}
        return [
            f"nginx on {host} does not have {text}"
            for host, configuration in found.items()
            if text not in configuration
        ]

    return check


def haproxy_has(line: str) -> Check:
    """Check that every HAProxy that runs says a line of its state."""

    def check(_seen: Seen) -> list[str]:
        found = {host: ask(host, "show info").splitlines() for host in members("haproxy")}
        return [f"HAProxy on {host} does not say {line}" for host, lines in found.items() if line not in lines]

    return check


def postgresql_has(parameter: str, value: str) -> Check:
    """Check that PostgreSQL runs with a parameter's value on all hosts."""

    def check(_seen: Seen) -> list[str]:
        found = {host: psql_on(host, f"show {parameter}", "postgres").strip() for host in members("patroni")}
        return [f"{parameter} is {now} on {host}, not {value}" for host, now in found.items() if now != value]

    return check


def _engines() -> dict[str, str]:
    return {host: lab.on(host, "cat", "/run/docker.pid").strip() for host in lab.HOSTS}


def remember_engines() -> None:
    engines_before.update(_engines())


def engines_restarted(_seen: Seen) -> list[str]:
    """Check that the Docker engine of every host is another process than before."""
    return [
        f"the Docker engine of {host} was not restarted"
        for host, pid in _engines().items()
        if pid == engines_before[host]
    ]
