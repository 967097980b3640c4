# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Redis with Sentinel: ask every node over TLS, judge what they say, change Sentinel's settings, move the master."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    ClusterState,
    client_tls,
)
from ansible_collections.neural.platform.plugins.module_utils.tls_info import read_der

# Writes are held for longer than a promotion is waited for, so that none is taken by a master that is one no more.
PAUSE_SECONDS = 20
PROMOTION_SECONDS = 15
# A replica with a lower priority is promoted before others (0: never). Sentinel asks for it every ten seconds.
PREFERRED_PRIORITY = 1
PRIORITY_SECONDS = 15
# Sentinel asks its master every 10 s.
STALE_SECONDS = 60

# option of the module: (name in Sentinel, what it is for a person)
SENTINEL_SETTINGS = {
    "quorum": "quorum",
    "down_after_milliseconds": "down-after-milliseconds",
    "failover_timeout": "failover-timeout",
    "parallel_syncs": "parallel-syncs",
}

CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "port": {"type": "int", "default": 6379},
    "sentinel_port": {"type": "int", "default": 26379},
    "password": {"type": "str", "no_log": True},
    "master_name": {"type": "str", "default": "neural-redis"},
    **TLS_ARGUMENTS,
}


class RedisError(Exception):
    """The server answered with an error."""


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate's PEM text."""
    return hashlib.sha256(ssl.DER_cert_to_PEM_cert(der).encode()).hexdigest()


class Connection:
    """One connection to a Redis or a Sentinel; speaks RESP2."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None, password: str | None, timeout: float):
        raw = socket.create_connection((address, port), timeout=timeout)
        try:
            self._socket = tls.wrap_socket(raw, server_hostname=address) if tls else raw
        except OSError:
            raw.close()
            raise
        self._reader = self._socket.makefile("rb")
        if password:
            self.command("AUTH", password)

    @property
    def certificate(self) -> str:
        """SHA-256 of the server's certificate in PEM form, as that of its file; empty without TLS."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return ""
        return fingerprint(self._socket.getpeercert(True) or b"")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def command(self, *words: str) -> Any:
        """Send one command and return its answer: str, int, list or None. Raises RedisError or OSError."""
        request = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            request.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(request))
        return self._answer()

    def _answer(self) -> Any:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed in the middle of an answer")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == "-1":
                return None
            data = self._reader.read(int(rest) + 2)
            if len(data) != int(rest) + 2:
                raise ConnectionError("the connection was closed in the middle of an answer")
            return data[:-2].decode(errors="replace")
        if kind == b"*":
            return None if rest == "-1" else [self._answer() for _item in range(int(rest))]
        raise ConnectionError(f"not an answer of a Redis: {line[:40]!r}")


@dataclass
class Target:
    """Where the nodes are and how to speak to them."""

    members: Mapping[str, str]
    port: int
    sentinel_port: int
    master_name: str
    password: str | None
    tls: ssl.SSLContext | None
    timeout: float

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Target:
        """Return the target that a module's parameters describe. Raises OSError when a TLS file can't be read."""
        return cls(
            members=params["members"],
            port=params["port"],
            sentinel_port=params["sentinel_port"],
            master_name=params["master_name"],
            password=params["password"],
            tls=client_tls(params["ca_file"], params["cert_file"], params["key_file"]),
            timeout=params["request_timeout"],
        )

    def redis(self, address: str) -> Connection:
        return Connection(address, self.port, self.tls, self.password, self.timeout)

    def sentinel(self, address: str) -> Connection:
        return Connection(address, self.sentinel_port, self.tls, self.password, self.timeout)


@dataclass
class Node:
    """What one host's Redis and Sentinel said."""

    name: str
    address: str
    info: dict[str, str] = field(default_factory=dict)
    certificate: str = ""
    redis_error: str = ""
    sentinel: dict[str, str] = field(default_factory=dict)
    sentinel_error: str = ""
    quorum_error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parse_info(text: str) -> dict[str, str]:
    """Return the fields of INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def pairs(answer: Iterable[str]) -> dict[str, str]:
    """Return a flat list of keys and values as a dictionary."""
    items = list(answer)
    return dict(zip(items[::2], items[1::2], strict=True))


def _sentence(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text[:200]


def ask_node(target: Target, name: str, address: str) -> Node:
    """Ask one host's Redis and Sentinel; errors are part of the answer."""
    node = Node(name, address)
    try:
        with target.redis(address) as redis:
            node.certificate = redis.certificate
            node.info = parse_info(redis.command("INFO"))
    except (OSError, RedisError) as error:
        node.redis_error = _sentence(error)
    try:
        with target.sentinel(address) as sentinel:
            node.sentinel = pairs(sentinel.command("SENTINEL", "MASTER", target.master_name))
            try:
                sentinel.command("SENTINEL", "CKQUORUM", target.master_name)
            except RedisError as error:
                node.quorum_error = _sentence(error)
    except (OSError, RedisError) as error:
        node.sentinel_error = _sentence(error)
    return node


def ask_all(target: Target) -> list[Node]:
    """Ask all hosts at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(target.members))) as pool:
        return list(pool.map(lambda item: ask_node(target, *item), sorted(target.members.items())))


def find_master(nodes: Iterable[Node]) -> str:
    """Return the address of the living cluster's master, or an empty string.

    The Sentinels decide, the highest configuration epoch first; where none answers, a Redis that is master and the
    only one.
    """
    nodes = list(nodes)
    views = [node.sentinel for node in nodes if node.sentinel]
    if views:
        return max(views, key=lambda view: int(view.get("config-epoch", "0")))["ip"]
    masters = [node.address for node in nodes if node.info.get("role") == "master"]
    return masters[0] if len(masters) == 1 else ""


def _redis_problems(node: Node, where: str, master: str, names: Mapping[str, str]) -> list[str]:
    if node.redis_error:
        return [f"Redis on {where} does not answer: {node.redis_error}."]
    info = node.info
    problems = []
    if info.get("loading", "0") != "0":
        problems.append(f"Redis on {where} is still loading its data.")
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status", "ok") != "ok":
        problems.append(f"Redis on {where} cannot write its append-only file.")
    if info.get("role") == "slave":
        follows = info.get("master_host", "")
        if master and follows != master:
            found, expected = names.get(follows, follows), names.get(master, master)
            problems.append(f"Redis on {where} follows {found}, but the master is {expected}.")
        elif info.get("master_link_status") != "up":
            down = info.get("master_link_down_since_seconds", "-1")
            since = f"for {down} s" if down != "-1" else "since it started"
            problems.append(f"Redis on {where} has had no link to its master {names.get(follows, follows)} {since}.")
        elif info.get("master_sync_in_progress", "0") != "0":
            problems.append(f"Redis on {where} is still copying its master's data.")
    return problems


def _sentinel_problems(
    node: Node, where: str, master: str, names: Mapping[str, str], count: int, quorum: int | None
) -> list[str]:
    if node.sentinel_error:
        return [f"Sentinel on {where} does not answer: {node.sentinel_error}."]
    view = node.sentinel
    problems = []
    if view["ip"] != master:
        problems.append(
            f"Sentinel on {where} names {names.get(view['ip'], view['ip'])} as master, "
            f"but the newest configuration says {names.get(master, master)}."
        )
    bad = [flag for flag in view.get("flags", "").split(",") if flag not in ("", "master")]
    if bad:
        problems.append(f"Sentinel on {where} says of the master: {', '.join(bad)}.")
    age = int(view.get("info-refresh", "0")) // 1000
    if age < 0:
        problems.append(
            f"Sentinel on {where} is blind for the next {-age} s, as its clock was set back; it has to be restarted."
        )
    elif age > STALE_SECONDS and not bad:
        problems.append(f"Sentinel on {where} has not asked the master anything for {age} s.")
    sentinels = int(view.get("num-other-sentinels", "0")) + 1
    if sentinels != count:
        problems.append(f"Sentinel on {where} knows {sentinels} Sentinels, expected are {count}.")
    replicas = int(view.get("num-slaves", "0"))
    if replicas != count - 1:
        problems.append(f"Sentinel on {where} knows {replicas} replicas, expected are {count - 1}.")
    if quorum is not None and view.get("quorum") != str(quorum):
        problems.append(f"Sentinel on {where} works with a quorum of {view.get('quorum')}, expected is {quorum}.")
    if node.quorum_error:
        problems.append(f"Sentinel on {where} finds no quorum: {node.quorum_error}.")
    return problems


def _member(node: Node, master_offset: int | None) -> dict[str, Any]:
    info, view = node.info, node.sentinel
    role = {"master": "master", "slave": "replica"}.get(info.get("role", ""), "unknown")
    offset = None
    if role == "master":
        offset = int(info.get("master_repl_offset", "0"))
    elif role == "replica":
        offset = int(info.get("slave_repl_offset", "0"))
    return {
        "name": node.name,
        "address": node.address,
        "role": role,
        "version": info.get("redis_version", ""),
        "link": info.get("master_link_status", "") if role == "replica" else "",
        "follows": info.get("master_host", "") if role == "replica" else "",
        "offset": offset,
        "lag_bytes": max(0, master_offset - offset) if master_offset is not None and offset is not None else None,
        "connected_replicas": int(info.get("connected_slaves", "0")),
        "priority": int(info["slave_priority"]) if "slave_priority" in info else None,
        "used_memory": int(info.get("used_memory", "0")),
        "certificate": node.certificate,
        "error": node.redis_error,
        "sentinel": {
            "answers": bool(view),
            "master": view.get("ip", ""),
            "epoch": int(view.get("config-epoch", "0")),
            "sentinels": int(view.get("num-other-sentinels", "0")) + 1 if view else 0,
            "replicas": int(view.get("num-slaves", "0")),
            "flags": view.get("flags", ""),
            "settings": {option: int(view.get(name, "0")) for option, name in SENTINEL_SETTINGS.items()},
            "error": node.sentinel_error or node.quorum_error,
        },
    }


def assess(nodes: Iterable[Node], port: int, quorum: int | None = None) -> ClusterState:
    """Judge what the nodes said: one master that everyone agrees on, all replicas linked, no Sentinel blind."""
    nodes = list(nodes)
    names = {node.address: node.name for node in nodes}
    master = find_master(nodes)
    problems: list[str] = []
    masters = [node for node in nodes if node.info.get("role") == "master"]
    if not masters:
        problems.append("No Redis is master.")
    elif len(masters) > 1:
        problems.append(f"More than one Redis says that it is master: {', '.join(node.name for node in masters)}.")
    elif master and masters[0].address != master:
        named = names.get(master, master)
        problems.append(f"The Sentinels name {named} as master, but the only Redis that is one is {masters[0].name}.")
    if master and master not in names:
        problems.append(f"The Sentinels name {master} as master, which is none of the expected members.")
    for node in nodes:
        where = f"{node.name} ({node.address})"
        problems += _redis_problems(node, where, master, names)
        problems += _sentinel_problems(node, where, master, names, len(nodes), quorum)
    offsets = [int(node.info.get("master_repl_offset", "0")) for node in masters if node.address == master]
    members = [_member(node, offsets[0] if offsets else None) for node in nodes]
    details = {"master": {"name": names.get(master, ""), "address": master, "port": port if master else 0}}
    return ClusterState(members=members, problems=problems, details=details)


def read_state(target: Target, quorum: int | None = None) -> ClusterState:
    """Ask all hosts and judge."""
    return assess(ask_all(target), target.port, quorum)


def setting_differences(view: Mapping[str, str], wanted: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Return, by Sentinel's name of the setting, what it is and what it should be, where the two differ."""
    differences = {}
    for option, value in wanted.items():
        name = SENTINEL_SETTINGS[option]
        found = view.get(name, "")
        if found != str(value):
            differences[name] = (found, str(value))
    return differences


def configure_sentinel(
    target: Target, address: str, wanted: Mapping[str, int], check_mode: bool
) -> dict[str, tuple[str, str]]:
    """Give one Sentinel the wanted settings, those that differ only, and return the differences.

    Raises OSError or RedisError.
    """
    with target.sentinel(address) as sentinel:
        view = pairs(sentinel.command("SENTINEL", "MASTER", target.master_name))
        differences = setting_differences(view, wanted)
        if differences and not check_mode:
            words = [word for name, (_found, value) in differences.items() for word in (name, value)]
            sentinel.command("SENTINEL", "SET", target.master_name, *words)
        return differences


def reload_certificate(target: Target, address: str, files: Mapping[str, str], check_mode: bool) -> tuple[bool, str]:
    """Have one Redis read its TLS files, where it presents another certificate than the one in its file.

    Returns whether it had to, and which one it presents. Raises OSError, ValueError or RedisError.
    """
    wanted = fingerprint(read_der(files["tls-cert-file"]))
    with target.redis(address) as redis:
        found = redis.certificate
        if found == wanted or check_mode:
            return found != wanted, found
        redis.command("CONFIG", "SET", *(word for pair in files.items() for word in pair))
    with target.redis(address) as redis:
        found = redis.certificate
    if found != wanted:
        raise RedisError(f"it goes on with another certificate than that of {files['tls-cert-file']}")
    return True, found


class FailoverError(Exception):
    """The master could not be moved; the message says why and what was done about it."""


def _wait(check: Callable[[], bool], deadline: float, interval: float = 0.1) -> bool:
    while not check():
        if time.monotonic() + interval > deadline:
            return False
        time.sleep(interval)
    return True


def _any_sentinel(target: Target, first: str) -> Connection:
    """Return a connection to the Sentinel at the address `first`, or to another one where that one does not answer."""
    errors = []
    for address in sorted(target.members.values(), key=lambda address: address != first):
        try:
            return target.sentinel(address)
        except (OSError, RedisError) as error:
            errors.append(f"{address}: {_sentence(error)}")
    raise FailoverError(f"no Sentinel answers ({'; '.join(errors)})")


def _undo_promotions(target: Target, master: str) -> list[str]:
    """Make every Redis that calls itself master, but for the given one, its replica; return their addresses."""
    demoted = []
    for address in target.members.values():
        try:
            with target.redis(address) as redis:
                if address != master and redis.command("ROLE")[0] == "master":
                    redis.command("REPLICAOF", master, str(target.port))
                    demoted.append(address)
        except (OSError, RedisError):
            continue  # not there, so no second master
    return demoted


@contextmanager
def _preferred(target: Target, sentinel: Connection, candidate: str) -> Iterator[None]:
    """Have Sentinel promote the candidate, as long as this lasts: it takes the replica with the lowest priority.

    Raises FailoverError, OSError or RedisError.
    """

    def priority_seen() -> bool:
        for replica in map(pairs, sentinel.command("SENTINEL", "REPLICAS", target.master_name)):
            if replica.get("ip") == candidate:
                return replica.get("slave-priority") == str(PREFERRED_PRIORITY)
        return False

    with target.redis(candidate) as redis:
        usual = pairs(redis.command("CONFIG", "GET", "replica-priority"))["replica-priority"]
        redis.command("CONFIG", "SET", "replica-priority", str(PREFERRED_PRIORITY))
    try:
        if not _wait(priority_seen, time.monotonic() + PRIORITY_SECONDS):
            raise FailoverError(f"Sentinel does not know {candidate} as a replica that may be promoted")
        yield
    finally:
        with target.redis(candidate) as redis:
            redis.command("CONFIG", "SET", "replica-priority", usual)


def move_master(target: Target, old: str, timeout: float, candidate: str = "") -> str:
    """Move the master away from the address `old` without losing a write, and return the new one's address.

    That is the candidate's, if there is one, else that of the replica that Sentinel chooses.

    Writes are held on the old master until a replica has all of them, then Sentinel fails over, and the old master
    becomes a replica before the held writes go on (they then get an error, which clients retry, and nothing is
    acknowledged by a master that is none any more). Raises FailoverError, OSError or RedisError.
    """
    promoted = ""
    refused = ""

    def replicas_have_all() -> bool:
        info = parse_info(master.command("INFO", "replication"))
        offset = info.get("master_repl_offset")
        replicas = [value for key, value in info.items() if key.startswith("slave") and "state=online" in value]
        return bool(replicas) and all(f"offset={offset}," in f"{replica}," for replica in replicas)

    def failover_accepted() -> bool:
        nonlocal refused
        try:
            sentinel.command("SENTINEL", "FAILOVER", target.master_name)
        except RedisError as error:
            refused = _sentence(error)
            return False
        return True

    def promotion_seen() -> bool:
        nonlocal promoted
        answer = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.master_name)
        if not answer or answer[0] == old:
            return False
        with target.redis(answer[0]) as other:
            if other.command("ROLE")[0] != "master":
                return False
        promoted = answer[0]
        return True

    with ExitStack() as stack:
        master = stack.enter_context(target.redis(old))
        sentinel = stack.enter_context(_any_sentinel(target, old))
        if candidate:
            stack.enter_context(_preferred(target, sentinel, candidate))
        deadline = time.monotonic() + min(timeout, PROMOTION_SECONDS)
        master.command("CLIENT", "PAUSE", str(PAUSE_SECONDS * 1000), "WRITE")
        try:
            if not _wait(replicas_have_all, min(deadline, time.monotonic() + 5)):
                raise FailoverError(f"no replica caught up with {old} within 5 s; the master stays where it is")
            if not _wait(failover_accepted, min(deadline, time.monotonic() + 5)):
                raise FailoverError(f"Sentinel refuses to move the master from {old}: {refused}")
            if not _wait(promotion_seen, deadline):
                demoted = _undo_promotions(target, old)
                also = f"; {', '.join(demoted)}, promoted without being noticed, follows it again" if demoted else ""
                raise FailoverError(f"the Sentinels noticed no promotion in time; {old} stays the master{also}")
            master.command("REPLICAOF", promoted, str(target.port))
        finally:
            master.command("CLIENT", "UNPAUSE")
    return promoted
