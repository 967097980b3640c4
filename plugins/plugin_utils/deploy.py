# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The controller's part of the deploy lock: who runs a playbook, which processes live, the history as a table."""

from __future__ import annotations

import datetime
import getpass
import json
import multiprocessing
import os
import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.deploy_history import Event
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import UTC_FORMAT, Holder, printable
from ansible_collections.neural.platform.plugins.module_utils.platform_status import aligned

COLLECTION = Path(__file__).resolve().parents[2]


# --- who runs the playbook ---------------------------------------------------------------------------------------


def read(path: Path) -> str:
    """Return a file's text; empty where there is no such file, as on a controller without /proc."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def process_state(stat: str) -> tuple[str, str]:
    """Return the state's letter and the start, in clock ticks since the boot, out of /proc/<pid>/stat."""
    # The program's name stands in brackets and may hold anything, brackets and spaces as well.
    values = stat.rpartition(")")[2].split()
    return (values[0], values[19]) if len(values) > 19 else ("", "")


def main_process() -> int:
    """Return the number of the ansible-playbook process, of which a task's worker is a child."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent and parent.pid else os.getpid()


def login_name() -> str:
    """Return who started the controller's process, also through sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def command_line(arguments: Mapping[str, Any]) -> str:
    """Return what is run, out of the parsed command line: playbooks, and what they are limited to.

    Extra variables are left out, as they may hold secrets.
    """
    words = [Path(str(name)).name for name in arguments.get("args") or ()]
    for option, name in (("--limit", "subset"), ("--start-at-task", "start_at_task")):
        if arguments.get(name):
            words += [option, str(arguments[name])]
    for option, name in (("--tags", "tags"), ("--skip-tags", "skip_tags")):
        tags = [str(tag) for tag in arguments.get(name) or () if tag != "all"]
        if tags:
            words += [option, ",".join(tags)]
    return " ".join(words)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def this_run(who: str, playbook: str, arguments: Mapping[str, Any]) -> Holder:
    """Return this run as the holder of a lock; who is empty where only the controller's login tells."""
    pid = main_process()
    known = Holder(
        who=who or login_name(),
        controller=platform.node(),
        controller_boot_id=read(Path("/proc/sys/kernel/random/boot_id")),
        controller_pid_namespace=pid_namespace(),
        pid=pid,
        pid_started=process_state(read(Path(f"/proc/{pid}/stat")))[1],
        playbook=playbook,
        what=command_line(arguments),
        since=now().strftime(UTC_FORMAT),
    )
    return Holder(**{**known.to_dict(), "run": str(uuid.uuid4())})


def pid_namespace() -> str:
    """Return the identity of the namespace that process numbers belong to, such as pid:[4026531836]."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_lives(holder: Holder) -> bool:
    """Whether the process of a holder on this controller is there. In doubt it is."""
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    # Where other users' processes are hidden (hidepid) there is nothing to read.
    state, started = process_state(read(Path(f"/proc/{holder.pid}/stat")))
    return state not in ("Z", "X") and started in ("", holder.pid_started)


def collection_version(root: Path = COLLECTION) -> str:
    """Return the version of this collection, installed or as a checkout; empty where neither tells."""
    try:
        return str(json.loads(read(root / "MANIFEST.json"))["collection_info"]["version"])
    except (KeyError, TypeError, ValueError):
        found = re.search(r"^version: *[\"']?([^\s\"']+)", read(root / "galaxy.yml"), re.MULTILINE)
        return found[1] if found else ""


# --- the audit trail as a table ----------------------------------------------------------------------------------


def merged_events(events_by_host: Mapping[str, Sequence[Event]]) -> list[tuple[Event, list[str]]]:
    """Return the events of all hosts, oldest first, each with its hosts: one of a run on several hosts is one event."""
    merged: dict[tuple[str, ...], tuple[Event, list[str]]] = {}
    for host, events in events_by_host.items():
        for item in events:
            key = tuple(str(item.get(name, "")) for name in ("run", "result", "from", "to"))
            known, hosts = merged.setdefault(key, (item, []))
            if host not in hosts:
                hosts.append(host)
            if str(item.get("at", "")) < str(known.get("at", "")):
                merged[key] = (item, hosts)
    return sorted(merged.values(), key=lambda found: str(found[0].get("at", "")))


def event_row(item: Event, hosts: Sequence[str]) -> list[str]:
    """Return an event as a row of the table."""
    failed = ", ".join(str(host) for host in item.get("failed_hosts") or ())
    result = f"{item.get('result', '')}, failed on {failed}" if failed else str(item.get("result", ""))
    cells = [str(item.get(name, "")) for name in ("at", "who", "controller", "what", "from", "to")]
    return [printable(cell) or "-" for cell in (*cells, result, " ".join(hosts))]


def lock_line(reports: Mapping[str, Mapping[str, Any]], at: datetime.datetime) -> str:
    """Return who holds the lock, as the first host says that got an answer from etcd."""
    answers = [report for report in reports.values() if "lock" in report]
    for report in answers:
        if not report["problem"]:
            holder = report["lock"]
            held = f"held by {Holder.from_dict(holder).described(at)}" if holder else "nobody holds it"
            return f"Deploy lock: {held}."
    reason = answers[0]["problem"] if answers else "no host answers"
    return f"Deploy lock: it cannot be told who holds it: {reason}."


def history_lines(reports: Mapping[str, Mapping[str, Any]], count: int, at: datetime.datetime) -> list[str]:
    """Return the last events of all hosts as a table, newest last, and who holds the lock.

    reports holds by host what the module deploy_info returned; a host that was not reached has no events in it.
    """
    reached = {host: report["events"] for host, report in reports.items() if "events" in report}
    rows = [event_row(item, hosts) for item, hosts in merged_events(reached)[-count:]]
    head = ["AT", "WHO", "CONTROLLER", "WHAT", "FROM", "TO", "RESULT", "HOSTS"]
    lines = ["", *(aligned([head, *rows]) if rows else ["No run has been written down."]), ""]
    lines += [f"{host} does not answer." for host in reports if host not in reached]
    return [*lines, lock_line(reports, at)]
