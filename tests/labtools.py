"""The running lab as the end-to-end and resilience tests see it: its servers, its containers, its playbooks."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
INVENTORY = ROOT / "inventories" / "lab"
PREFIX = os.environ.get("LAB", "lab")
HOSTS = ("app1", "app2", "app3", "db1", "cache1")
FAILED = re.compile(r"^(?:fatal|failed): \[|^\[ERROR\]|^ERROR!", re.MULTILINE)
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)"
    r"\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)


def run(*command: str, timeout: float = 600, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; when it fails, the failure shows the end of its output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, **options)
    if check and done.returncode != 0:
        shown = (done.stdout + done.stderr)[-6000:]
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{shown}")
    return done


def on(host: str, *command: str, **options: Any) -> str:
    """Run a command on a lab server and return what it printed."""
    return run("docker", "exec", f"{PREFIX}-{host}", *command, **options).stdout


@dataclass
class PlaybookRun:
    """What a playbook printed, and its counts by host."""

    output: str
    returncode: int
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        return {
            found["host"]: {key: int(found[key]) for key in ("ok", "changed", "unreachable", "failed")}
            for found in RECAP.finditer(self.output)
        }

    @property
    def failed_tasks(self) -> str:
        """The part of the output in which tasks failed: whole blocks, each with its task's head."""
        blocks = self.output.split("\n\n")
        return "\n\n".join(block for block in blocks if FAILED.search(block))

    @property
    def changed_tasks(self) -> list[str]:
        """Names of the tasks that reported a change, with the hosts."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line.split("[", 1)[1].rsplit("]", 1)[0]
            elif line.startswith("changed: ["):
                found.append(f"{line.split('[', 1)[1].split(']')[0]}: {task}")
        return found


def playbook(name: str, *arguments: str, inventory: Path = INVENTORY, check: bool = True) -> PlaybookRun:
    """Run a playbook, as a user would, with an empty fact cache."""
    start = time.monotonic()
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", str(inventory), f"playbooks/{name}.yml", *arguments]
    done = run(*command, check=False, env=environment, timeout=3600)
    result = PlaybookRun(done.stdout + done.stderr, done.returncode, time.monotonic() - start)
    if check and done.returncode != 0:
        shown = result.failed_tasks or result.output[-8000:]
        raise AssertionError(f"{name} {arguments} ended with {done.returncode}:\n{shown}")
    return result


def containers(host: str) -> dict[str, dict[str, Any]]:
    """Return `docker inspect` of the platform's containers on a server, by name."""
    names = on(host, "docker", "ps", "--all", "--quiet", "--filter", "label=neural.platform").split()
    if not names:
        return {}
    return {item["Name"].lstrip("/"): item for item in json.loads(on(host, "docker", "inspect", *names))}


def identities() -> dict[str, tuple[str, str, int]]:
    """Return Id, StartedAt and restart count of every platform container of every server."""
    return {
        f"{host}/{name}": (item["Id"], item["State"]["StartedAt"], item["RestartCount"])
        for host in HOSTS
        for name, item in containers(host).items()
    }


@functools.cache
def address(host: str) -> str:
    """Return a server's address, as the inventory has it."""
    return str(yaml.safe_load((INVENTORY / "02-addresses.yml").read_text())["all"]["hosts"][host]["ansible_host"])


def inventory_secrets() -> dict[str, str]:
    """Return every secret's value by name; a list's items get a number, and are keys without their owners' names."""
    found: dict[str, str] = {}
    for name, value in yaml.safe_load((INVENTORY / "group_vars/all/secrets.yml").read_text()).items():
        items = value if isinstance(value, list) else [value]
        for number, item in enumerate(items):
            if isinstance(value, list):
                found[f"{name}[{number}]"] = str(item).rpartition(":")[2]
            else:
                found[name] = str(item)
    return found
