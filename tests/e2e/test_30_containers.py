"""Every container of ours is closed: non-root, read-only, no capability but the named ones, limits."""

from __future__ import annotations

from typing import Any

import labtools as lab
import pytest

# Name prefix and what it may do beyond the rule, with the reason.
EXCEPTIONS: dict[str, dict[str, Any]] = {
    # It gives its host an address (NET_ADMIN), speaks VRRP and ARP (NET_RAW), and empties the list of groups of its
    # check (SETGID). Root, as no-new-privileges leaves no capability to anybody else.
    "neural-keepalived": {"user": "0:0", "capabilities": {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETGID"}},
}


def exception(name: str) -> dict[str, Any]:
    return next((rule for prefix, rule in EXCEPTIONS.items() if name.startswith(prefix)), {})


def capabilities(names: list[str] | None) -> set[str]:
    return {f"CAP_{name.removeprefix('CAP_')}" for name in names or []}


def is_root(user: str) -> bool:
    return user.split(":")[0] in ("", "0", "root")


@pytest.mark.parametrize("host", lab.HOSTS)
def test_containers_are_closed(host: str) -> None:
    found = lab.containers(host)
    assert found
    wrong = []
    for name, item in found.items():
        allowed = exception(name)
        settings = item["HostConfig"]
        checks = {
            "runs as root": is_root(item["Config"]["User"]) and item["Config"]["User"] != allowed.get("user"),
            "writable root file system": not settings["ReadonlyRootfs"],
            "capabilities not dropped": "ALL" not in (settings["CapDrop"] or []),
            "capabilities added": not capabilities(settings["CapAdd"]) <= allowed.get("capabilities", set()),
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
    """What Docker was told is what runs: no process of a container has uid 0; the exception's is watched closer."""
    for name in lab.containers(host):
        users = lab.on(host, "docker", "top", name, "-eo", "uid,pid,comm").splitlines()[1:]
        assert users
        if is_root(exception(name).get("user", "nobody")):
            # Its check of nginx comes and goes.
            for line in (line for line in users if line.split()[2] == "keepalived"):
                check_capabilities(host, int(line.split()[1]), exception(name)["capabilities"])
        else:
            assert all(line.split()[0] != "0" for line in users), (name, users)


def check_capabilities(host: str, process: int, allowed: set[str]) -> None:
    """A process has no capability but the allowed ones, and gets none by executing a program."""
    bits = {"CAP_SETGID": 6, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
    most = sum(1 << bits[name] for name in allowed)
    status = dict(line.split(":", 1) for line in lab.on(host, "cat", f"/proc/{process}/status").splitlines())
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) | most == most, (process, kind, status[kind])
    assert status["NoNewPrivs"].strip() == "1"


@pytest.mark.parametrize("host", lab.HOSTS)
def test_only_ssh_and_nginx_listen_everywhere(host: str) -> None:
    """Nothing but SSH and nginx's two ports is bound to every address."""
    open_ports = set()
    for line in lab.on(host, "ss", "-Hltn").splitlines():
        address, port = line.split()[3].rsplit(":", 1)
        if address in ("0.0.0.0", "*", "[::]"):
            open_ports.add(int(port))
    assert open_ports <= {22, 80, 443}, open_ports
