"""Every container of ours is closed: non-root, read-only, no capability but the named ones, limits."""

from __future__ import annotations

from typing import Any

import labtools as lab
import pytest

# Name prefix and what it may do beyond the rule, with the reason.
EXCEPTIONS: dict[str, dict[str, Any]] = {}


@pytest.mark.parametrize("host", lab.HOSTS)
def test_containers_are_closed(host: str) -> None:
    found = lab.containers(host)
    assert found
    wrong = []
    for name, item in found.items():
        allowed = next((rule for prefix, rule in EXCEPTIONS.items() if name.startswith(prefix)), {})
        settings = item["HostConfig"]
        checks = {
            "runs as root": item["Config"]["User"].split(":")[0] in ("", "0", "root"),
            "writable root file system": not settings["ReadonlyRootfs"],
            "capabilities not dropped": "ALL" not in (settings["CapDrop"] or []),
            "capabilities added": not set(settings["CapAdd"] or []) <= set(allowed.get("capabilities", [])),
            "may gain privileges": "no-new-privileges:true" not in (settings["SecurityOpt"] or []),
            "privileged": settings["Privileged"],
            "no CPU limit": not settings["NanoCpus"],
            "no memory limit": not settings["Memory"],
            "no limit of processes": not settings["PidsLimit"],
            "no health check": not (item["Config"].get("Healthcheck") or {}).get("Test"),
            "Docker's socket inside": any("docker.sock" in mount["Source"] for mount in item["Mounts"]),
            "not healthy": item["State"].get("Health", {}).get("Status") != "healthy",
        }
        wrong += [f"{name}: {what}" for what, is_so in checks.items() if is_so]
    assert not wrong, wrong


@pytest.mark.parametrize("host", lab.HOSTS)
def test_processes_are_not_root(host: str) -> None:
    """What Docker was told is what runs: no process of a container has uid 0."""
    for name in lab.containers(host):
        users = lab.on(host, "docker", "top", name, "-eo", "uid,pid,comm").splitlines()[1:]
        assert users
        assert all(line.split()[0] != "0" for line in users), (name, users)


@pytest.mark.parametrize("host", lab.HOSTS)
def test_only_ssh_and_nginx_listen_everywhere(host: str) -> None:
    """Nothing but SSH and nginx's two ports is bound to every address."""
    open_ports = set()
    for line in lab.on(host, "ss", "-Hltn").splitlines():
        address, port = line.split()[3].rsplit(":", 1)
        if address in ("0.0.0.0", "*", "[::]"):
            open_ports.add(int(port))
    assert open_ports <= {22, 80, 443}, open_ports
