#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Check that a host can carry the platform
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Checks operating system, Python, memory, free space, ports, and the way to other hosts, in one call.
  - Fails with all problems, a sentence each. What is not asked for is not checked.
options:
  releases:
    description: Major versions of Debian that are good.
    type: list
    elements: str
    default: []
  min_python:
    description: The least version of Python.
    type: str
    default: "3.9"
  min_memory_mb:
    description: How much memory the host has to have, in MiB.
    type: int
    default: 0
  min_disk_mb:
    description: How much space has to be free, in MiB.
    type: int
    default: 0
  disk_paths:
    description: Where that space has to be free; paths need not exist.
    type: list
    elements: path
    default: []
  controller_time:
    description: The controller's clock when the module was started, in seconds since 1970.
    type: float
  max_clock_skew:
    description: How far the host's clock may be behind O(controller_time), in seconds.
    type: float
    default: 5
  ports:
    description: Where programs of the platform listen on this host.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      addresses:
        description: The addresses; none means all.
        type: list
        elements: str
        default: []
      variable:
        description: The variable that sets it, for the sentence.
        type: str
        required: true
  own_uids:
    description: Users that the platform's programs run as; what they listen on is not in the way.
    type: list
    elements: int
    default: []
  peers:
    description: Hosts that this one has to reach.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, for the sentence.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      ports:
        description: Ports of which one has to answer; a refusal is an answer.
        type: list
        elements: int
        required: true
  timeout:
    description: How long a peer may take to answer, in seconds.
    type: float
    default: 3
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - This action does not modify state.
  diff_mode:
    support: none
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""

EXAMPLES = r"""
- name: Check the host
  neural.platform.host_check:
    releases: ["12", "13"]
    min_memory_mb: 4000
    peers:
      - name: db1
        address: 192.0.2.21
        ports: [22]
"""

RETURN = r"""
time:
  description: The host's clock, in seconds since 1970.
  returned: always
  type: float
"""

import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils import host_checks


def system_problems(options: dict[str, Any]) -> list[str]:
    """Check operating system, Python, memory and space."""
    problems = []
    release = host_checks.parse_os_release(Path("/etc/os-release").read_text())
    version = release.get("VERSION_ID", "")
    if options["releases"] and (release.get("ID") != "debian" or version.partition(".")[0] not in options["releases"]):
        found = release.get("PRETTY_NAME", "an unknown system")
        problems.append(f"The operating system is {found}; expected Debian {' or '.join(options['releases'])}.")
    least = tuple(int(part) for part in options["min_python"].split("."))
    if sys.version_info[: len(least)] < least:
        problems.append(f"Python is {sys.version.split()[0]}; expected {options['min_python']} or newer.")
    memory = host_checks.parse_memory(Path("/proc/meminfo").read_text())
    if memory < options["min_memory_mb"]:
        problems.append(f"Memory is {memory} MiB; expected {options['min_memory_mb']} MiB (preflight_min_memory_mb).")
    for path in options["disk_paths"]:
        space = host_checks.free_space(path)
        if space < options["min_disk_mb"]:
            wanted = f"{options['min_disk_mb']} MiB (preflight_min_disk_mb)"
            problems.append(f"Free space for {path} is {space} MiB; expected {wanted}.")
    return problems


def port_problems(module: AnsibleModule) -> list[str]:
    """Check that nobody else listens where programs of the platform want to."""
    options = module.params
    listeners = []
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        if table.exists():
            listeners += host_checks.parse_listeners(table.read_text())
    ours: set[int] | None = None
    problems = []
    for wanted in options["ports"]:
        blockers = host_checks.in_the_way(listeners, wanted["port"], wanted["addresses"], set(options["own_uids"]))
        for blocker in blockers:
            program, process = host_checks.owner(blocker.inode)
            if program in host_checks.DOCKER:
                ours = own_containers_ports(module) if ours is None else ours
                if wanted["port"] in ours:
                    continue
            problems.append(
                f"Port {wanted['port']} ({wanted['variable']}) is taken on {blocker.address} by {program},"
                f" process {process}; expected it to be free."
            )
    return problems


def own_containers_ports(module: AnsibleModule) -> set[int]:
    """Return the ports that containers of the platform publish."""
    command = [module.get_bin_path("docker", required=True), "ps", "--filter", "label=neural.platform"]
    _rc, output, _error = module.run_command([*command, "--format", "{{json .}}"], check_rc=True)
    return host_checks.published_ports(output)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "releases": {"type": "list", "elements": "str", "default": []},
            "min_python": {"type": "str", "default": "3.9"},
            "min_memory_mb": {"type": "int", "default": 0},
            "min_disk_mb": {"type": "int", "default": 0},
            "disk_paths": {"type": "list", "elements": "path", "default": []},
            "controller_time": {"type": "float"},
            "max_clock_skew": {"type": "float", "default": 5},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                    "variable": {"type": "str", "required": True},
                },
            },
            "own_uids": {"type": "list", "elements": "int", "default": []},
            "peers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "ports": {"type": "list", "elements": "int", "required": True},
                },
            },
            "timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    now = time.time()
    options = module.params
    problems = system_problems(options) + port_problems(module)
    controller_time = options["controller_time"]
    if controller_time is not None and now < controller_time - options["max_clock_skew"]:
        behind = f"{controller_time - now:.0f} seconds behind the controller's"
        problems.append(
            f"The clock is {behind}; expected {options['max_clock_skew']:.0f} at most (preflight_max_clock_skew)."
        )
    for peer in host_checks.out_of_reach(options["peers"], options["timeout"]):
        problems.append(f"{peer['name']} does not answer at {peer['address']}; expected the hosts to reach each other.")
    if problems:
        module.fail_json(msg="\n".join(problems), time=now)
    module.exit_json(changed=False, time=now)


if __name__ == "__main__":
    main()
