"""What is broken on purpose, and how it is put right again. Everything happens to the lab's own servers.

Every function returns what it did, as a sentence for the report.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import labtools as lab

# Rules of ours are in this chain of a server, and nowhere else: so they can all be found and removed.
CHAIN = "RESILIENCE"
HOOKS = ("INPUT", "OUTPUT", "FORWARD")
FILLER = "filler"
DATABASE = "/var/lib/neural/postgresql"


def together(work: Callable[[str], Any], hosts: Iterable[str]) -> list[Any]:
    """Do the same on several servers at once."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(work, hosts))


def server(host: str) -> str:
    """Name of the container that is this server."""
    return f"{lab.PREFIX}-{host}"


def state(host: str) -> str:
    """What the engine says of a server: running, paused, exited."""
    return lab.run("docker", "inspect", "--format", "{{.State.Status}}", server(host)).stdout.strip()


# --- whole servers ----------------------------------------------------------------------------------------------------


def kill_server(*hosts: str) -> str:
    """Cut the power of servers."""
    lab.run("docker", "kill", *map(server, hosts))
    return f"docker kill {' '.join(map(server, hosts))}"


def start_server(*hosts: str) -> str:
    """Switch servers on."""
    lab.run("docker", "start", *map(server, hosts))
    return f"docker start {' '.join(map(server, hosts))}"


def pause_server(host: str) -> str:
    """Make a server hang: every process stops where it is, its address still takes connections."""
    lab.run("docker", "pause", server(host))
    return f"docker pause {server(host)}"


def unpause_server(host: str) -> str:
    """Let a server that hangs go on."""
    lab.run("docker", "unpause", server(host))
    return f"docker unpause {server(host)}"


# --- containers on a server -------------------------------------------------------------------------------------------


def kill_container(host: str, name: str) -> str:
    """Kill a container for good: its engine takes that for a person's wish and leaves it down."""
    lab.on(host, "docker", "kill", name)
    return f"docker kill {name} on {host}; it stays down"


def start_container(host: str, *names: str) -> str:
    """Start containers that were killed."""
    lab.on(host, "docker", "start", *names)
    return f"docker start {' '.join(names)} on {host}"


def crash_container(host: str, name: str) -> str:
    """Kill a container's first process, as a crash would: its engine starts it again."""
    lab.on(host, "sh", "-c", f"kill -KILL $(docker inspect --format '{{{{.State.Pid}}}}' {name})")
    return f"kill -9 of {name} on {host}"


def _programs(names: tuple[str, ...]) -> str:
    """Shell words: the programs of containers that have an init, which is each program's parent."""
    parents = "docker inspect --format '{{.State.Pid}}' " + " ".join(names)
    return f"$(ps -o pid= --ppid $({parents} | paste -sd ,))"


def freeze_programs(host: str, *names: str) -> str:
    """Stop the programs of containers that have an init (SIGSTOP); the containers themselves go on.

    Not `docker pause`: control groups of version 1 cannot freeze a container whose health check is just starting.
    """
    lab.on(host, "sh", "-ec", f"kill -STOP {_programs(names)}")
    return f"kill -STOP of the programs of {' '.join(names)} on {host}"


def thaw_programs(host: str, *names: str) -> str:
    """Let the programs of containers go on."""
    lab.on(host, "sh", "-ec", f"kill -CONT {_programs(names)}")
    return f"kill -CONT of the programs of {' '.join(names)} on {host}"


def frozen_programs(host: str) -> list[str]:
    """Command lines of a server's processes that were stopped (SIGSTOP)."""
    processes = [line.split(None, 1) for line in lab.on(host, "ps", "-eo", "stat=,args=").splitlines()]
    return [arguments for state, arguments in processes if state.startswith("T")]


def names_on(host: str, prefix: str) -> list[str]:
    """Names of a server's containers that begin so."""
    names = lab.on(host, "docker", "ps", "--format", "{{.Names}}", "--filter", f"name=^{prefix}")
    return sorted(names.split())


def restart_engine(host: str) -> str:
    """Restart a server's Docker engine."""
    lab.on(host, "systemctl", "restart", "docker")
    return f"systemctl restart docker on {host}"


# --- the network ------------------------------------------------------------------------------------------------------


def drop(host: str, *rules: str) -> str:
    """Drop the packets that match any of the iptables rules."""
    commands = [f"iptables -N {CHAIN}"]
    commands += [f"iptables -A {CHAIN} {rule} -j DROP" for rule in rules]
    # The jumps come last: so all rules begin to hold together.
    commands += [f"iptables -I {hook} -j {CHAIN}" for hook in HOOKS]
    lab.on(host, "sh", "-ec", "; ".join(commands))
    return f"on {host} dropped: {'; '.join(rules)}"


def cable(host: str) -> str:
    """Return this machine's end of a server's network cable."""
    wanted = lab.on(host, "cat", "/sys/class/net/eth0/iflink").strip()
    for device in Path("/sys/class/net").iterdir():
        if (device / "ifindex").read_text().strip() == wanted:
            return device.name
    raise AssertionError(f"the other end of eth0 of {host} is not among this machine's network devices")


def cut_server(host: str) -> str:
    """Pull a server's network cable. Not by iptables: ARP would pass, and the server could still claim addresses."""
    lab.run("ip", "link", "set", cable(host), "down")
    return f"network cable of {host} pulled"


def cut_from_etcd(host: str) -> str:
    """Keep a server from etcd, and from nothing else."""
    drop(host, "-o eth0 -p tcp --dport 2379", "-i eth0 -p tcp --sport 2379")
    return f"{host} cut from etcd (port 2379), from nothing else"


def cut_replication(host: str) -> str:
    """Cut the primary's replication connections, and nothing else."""
    rows = database(host, "select client_addr || ' ' || client_port from pg_stat_replication").splitlines()
    assert rows, f"nobody replicates from {host}"
    rules = []
    for row in rows:
        address, port = row.split()
        rules.append(f"-o eth0 -p tcp -d {address} --sport 5432 --dport {port}")
        rules.append(f"-i eth0 -p tcp -s {address} --dport 5432 --sport {port}")
    drop(host, *rules)
    return f"the {len(rows)} replication connections of {host} cut"


def mend_network(host: str) -> None:
    """Put a server's cable back in, and remove every rule of ours."""
    lab.run("ip", "link", "set", cable(host), "up")
    lab.on(
        host,
        "sh",
        "-ec",
        f"iptables -S {CHAIN} >/dev/null 2>&1 || exit 0; "
        + "; ".join(f"while iptables -D {hook} -j {CHAIN} 2>/dev/null; do :; done" for hook in HOOKS)
        + f"; iptables -F {CHAIN}; iptables -X {CHAIN}",
    )


# --- PostgreSQL and Redis themselves ----------------------------------------------------------------------------------


def database(host: str, statement: str) -> str:
    """Ask a server's PostgreSQL, as its superuser."""
    return lab.on(
        host,
        "docker",
        "exec",
        "neural-patroni",
        "psql",
        "-U",
        "postgres",
        "-d",
        "neural_api",
        "-AtqF",
        " ",
        "-c",
        statement,
    ).strip()


PATRONI_FILE = "/etc/neural/patroni/patroni.yml"


def patronictl(host: str, *arguments: str) -> str:
    """Run patronictl on a server."""
    return lab.on(host, "docker", "exec", "neural-patroni", "patronictl", "-c", PATRONI_FILE, *arguments)


def switch_primary(host: str, target: str) -> str:
    """Planned switchover."""
    patronictl(host, "switchover", "--force", "--candidate", target)
    return f"patronictl switchover --candidate {target}"


def redis(host: str, port: int, *command: str) -> str:
    """Ask the Redis (6379) or Sentinel (26379) of a server."""
    words = ("sh", "/etc/neural/redis/node", "cli", lab.address(host), str(port), *command)
    return lab.on(host, "docker", "exec", "neural-redis" if port == 6379 else "neural-sentinel", *words).strip()


# --- a volume that is full --------------------------------------------------------------------------------------------


def small_volume(host: str, mebibytes: int) -> str:
    """Put a server's database on a file system of its own, of limited size (in memory: its disk is the machine's)."""
    lab.on(host, "docker", "stop", "neural-patroni")
    lab.on(
        host,
        "sh",
        "-ec",
        f"mkdir -p /run/small; mount -t tmpfs -o size={mebibytes}m,mode=0755 tmpfs /run/small; "
        f"cp -a {DATABASE}/. /run/small/; "
        f"chown --reference={DATABASE} /run/small; chmod --reference={DATABASE} /run/small; "
        f"mount --bind /run/small {DATABASE}",
    )
    lab.on(host, "docker", "start", "neural-patroni")
    return f"{DATABASE} of {host} on a file system of {mebibytes} MiB"


def fill_volume(host: str) -> str:
    """Leave not a byte free, then have PostgreSQL write more WAL than fits into the segments that it has."""
    full = f"df --output=avail {DATABASE} | grep -qx ' *0'"
    lab.on(host, "sh", "-c", f"dd if=/dev/zero of={DATABASE}/{FILLER} bs=1M 2>/dev/null; {full}")
    messages = "select pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) from generate_series(1, 1000)"
    command = ["docker", "exec", server(host), "docker", "exec", "neural-patroni", "psql", "-U", "postgres"]
    done = subprocess.run([*command, "-c", messages], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, f"PostgreSQL on {host} wrote 1 GB of WAL to a volume without room"
    return f"{DATABASE} of {host} filled to the last byte; PostgreSQL: {done.stderr.strip().splitlines()[0]}"


def empty_volume(host: str) -> str:
    """Make room again."""
    lab.on(host, "rm", "-f", f"{DATABASE}/{FILLER}")
    return f"room again on {DATABASE} of {host}"


def large_volume(host: str) -> None:
    """Take a server's database back to where it was."""
    if lab.run("docker", "exec", server(host), "mountpoint", "-q", DATABASE, check=False).returncode != 0:
        return
    # The server's own volume is mounted above, on /var/lib/neural.
    lab.on(host, "docker", "stop", "neural-patroni")
    lab.on(
        host,
        "sh",
        "-ec",
        f"umount {DATABASE}; find {DATABASE} -mindepth 1 -delete; cp -a /run/small/. {DATABASE}/; umount /run/small",
    )
    lab.on(host, "docker", "start", "neural-patroni")


# --- everything as it was ---------------------------------------------------------------------------------------------


def restore(host: str) -> None:
    """Undo whatever was done to a server, also by a run that was cut off."""
    found = state(host)
    if found == "paused":
        unpause_server(host)
    elif found != "running":
        start_server(host)
    # A server that has just been switched on: its engine comes with it.
    lab.on(host, "sh", "-c", "for try in $(seq 300); do docker info >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1")
    mend_network(host)
    found_containers: dict[str, dict[str, Any]] = lab.containers(host)
    if frozen_programs(host):
        lab.on(host, "sh", "-c", "ps -eo pid=,stat= | awk '$2 ~ /^T/ {print $1}' | xargs kill -CONT")
    stopped = [name for name, item in found_containers.items() if item["State"]["Status"] in ("exited", "created")]
    if stopped:
        lab.on(host, "docker", "start", *stopped)
    lab.on(host, "rm", "-f", f"{DATABASE}/{FILLER}")
    large_volume(host)


def restore_all() -> None:
    """Undo whatever was done to any server."""
    together(restore, lab.HOSTS)
