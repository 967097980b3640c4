"""No secret's value is where somebody else can read it."""

from __future__ import annotations

import re
import subprocess

import labtools as lab
import pytest

SECRETS = lab.inventory_secrets()
# Command line of a client of Redis.
ASKING = "^redis-cli .* XREAD "


def needles() -> dict[str, list[str]]:
    """Return what to look for, by secret; a private key is looked for line by line."""
    found = {}
    for name, value in SECRETS.items():
        lines = [line for line in value.splitlines() if line and not line.startswith("-----")]
        assert lines
        assert all(len(line) >= 16 for line in lines[:1]), f"{name} is too short to be looked for"
        found[name] = [line for line in lines if len(line) >= 16]
    return found


def leaked(text: str) -> list[str]:
    """Return the names, never the values, of the secrets found."""
    return [name for name, lines in needles().items() if any(line in text for line in lines)]


def test_the_search_sees_a_leak() -> None:
    name, value = next(iter(SECRETS.items()))
    assert name in leaked(f"password={value}\n")


@pytest.mark.parametrize("arguments", [("-vvv",), ("-vvv", "--check", "--diff")], ids=["run", "check"])
def test_ansible_output(arguments: tuple[str, ...]) -> None:
    """Also when a configuration with secrets in it is written anew."""
    for host, path in (
        ("cache1", "/etc/neural/redis/redis.conf"),
        ("db1", "/etc/neural/patroni/patroni.yml"),
        ("app1", "/etc/neural/haproxy/haproxy.cfg"),
    ):
        lab.on(host, "sh", "-c", f"test -f {path} && printf '\\n' >> {path}")
    run = lab.playbook("site", *arguments)
    assert run.changed_tasks, "the tampered files were not found"
    assert leaked(run.output) == []


@pytest.mark.parametrize("playbook", ["secrets", "preflight", "status"])
def test_other_playbooks_output(playbook: str) -> None:
    extra = ("-e", "secrets_plaintext=true") if playbook == "secrets" else ()
    assert leaked(lab.playbook(playbook, "-vvv", *extra).output) == []


@pytest.mark.parametrize("host", lab.HOSTS)
def test_server(host: str) -> None:
    """Containers' configuration and logs, the journal, command lines and environments of processes."""
    found_containers = lab.containers(host)
    if "neural-redis" in found_containers:
        # A client that is there while processes are looked at, as those of health checks are now and then.
        client = f"docker exec neural-redis sh /etc/neural/redis/node cli {lab.address(host)} 6379"
        wait = f"for _ in $(seq 50); do pgrep -f '{ASKING}' && exit; sleep 0.1; done; exit 1"
        lab.on(host, "sh", "-c", f"{client} XREAD BLOCK 2500 STREAMS nothing 0 >/dev/null 2>&1 & {wait}")
    looked = {
        "process list": lab.on(host, "ps", "-eww", "-o", "args"),
        "environments": lab.on(host, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' || true"),
        "docker inspect": lab.on(host, "sh", "-c", "docker inspect $(docker ps -aq)"),
        "docker image history": lab.on(
            host, "sh", "-c", "docker images -q | sort -u | xargs -rn1 docker history --no-trunc"
        ),
        "journal": lab.on(host, "journalctl", "--no-pager", "-o", "cat"),
        "/var/log": lab.on(host, "sh", "-c", "find /var/log -type f -name '*.log' -exec cat {} +"),
        "files that anybody may read": lab.on(
            host, "sh", "-c", "find /etc/neural /etc/docker -xdev -type f -perm -o=r -exec cat {} +"
        ),
    }
    asking = re.search(ASKING, looked["process list"], re.MULTILINE)
    assert asking or "neural-redis" not in found_containers, "the client of Redis had ended already"
    for name in found_containers:
        done = subprocess.run(
            ["docker", "exec", f"{lab.PREFIX}-{host}", "docker", "logs", name],
            capture_output=True,
            text=True,
            check=True,
        )
        looked[f"log of {name}"] = done.stdout + done.stderr
    found = {where: names for where, text in looked.items() if (names := leaked(text))}
    assert found == {}
