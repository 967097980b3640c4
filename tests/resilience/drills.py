"""The drills: what is broken, in which state, what must hold. `test_drills.py` has their course."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import labtools as lab

from resilience import faults
from resilience.analysis import Limit
from resilience.credentials import members
from resilience.health import Health, virtual_address

PREFERRED_PRIMARY = "db1"
PREFERRED_MASTER = "cache1"


class Stage:
    """The platform during a drill: who leads what, and what it is asked by."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.primary = ""
        self.standby = ""
        self.master = ""
        self.balancer = ""
        self.synchronous_mode = ""

    def look(self) -> None:
        """Find out who leads what."""
        cluster = {str(member["role"]): str(member["name"]) for member in self.health.patroni()}
        self.primary = cluster["leader"]
        self.standby = cluster.get("sync_standby") or cluster.get("quorum_standby", "")
        self.master = self.health.master()
        self.balancer = holder()

    def settle(self, balancer: str | None) -> None:
        """Have the preferred hosts lead, so that every round of a drill begins alike."""
        self.look()
        if self.primary != PREFERRED_PRIMARY:
            faults.switch_primary(self.primary, PREFERRED_PRIMARY)
        if self.master != PREFERRED_MASTER:
            faults.redis(self.master, 26379, "SENTINEL", "FAILOVER", "neural-redis")
        if balancer and self.balancer != balancer:
            lab.on(self.balancer, "docker", "restart", "neural-keepalived")
        wait_for(self._settled, 60, "the preferred hosts lead")
        if balancer:
            wait_for(lambda: holder() == balancer, 30, f"the virtual address is on {balancer}")

    def _settled(self) -> bool:
        self.health.wait(60)
        self.look()
        return self.primary == PREFERRED_PRIMARY and self.master == PREFERRED_MASTER


def wait_for(condition: Callable[[], bool], seconds: float, what: str, step: float = 0.2) -> None:
    """Wait until something holds. Raises AssertionError that says what did not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:.0f} s it is not so that {what}"
        time.sleep(step)


def holder() -> str:
    """Return the host that has the virtual address."""
    address = f" {virtual_address()}/"
    found = [host for host in members("nginx") if address in lab.on(host, "ip", "-o", "-4", "addr", "show")]
    assert len(found) == 1, f"the virtual address {virtual_address()} is on {found}, expected is one host"
    return found[0]


Act = Callable[[Stage], str]


def nothing(_stage: Stage) -> str:
    """Do nothing: what was broken mends itself."""
    return "nothing to do"


@dataclass(frozen=True)
class Drill:
    """One drill. `observe`: how long it is watched, at least, before it is healed (seconds)."""

    name: str
    title: str
    fault: Act
    heal: Act = nothing
    limits: tuple[Limit, ...] = ()
    # The application host whose HAProxy the database clients use: not one that the drill switches off.
    via: str = "app1"
    balancer: str | None = None
    prepare: Callable[[Stage], object] | None = None
    restore: Callable[[Stage], object] | None = None
    observe: float = 5.0
    # How long clients may take to get answers again before the drill is healed all the same.
    patience: float = 45.0
    # How long the platform may take from the heal until it is healthy, without any help.
    recovery: float = 60.0
    # A control: acknowledged rows (jobs are rows, too) must be lost here, or the harness could not see a loss.
    loses: bool = False
    # Redis is emptied on purpose: its own ledger says nothing.
    forgets: bool = False
    # Parts of the names (host/container) of those that end by this drill.
    crashes: tuple[str, ...] = ()
    short: bool = field(default=False, kw_only=True)

    @property
    def all_limits(self) -> tuple[Limit, ...]:
        """Its own limits, and those that hold in every drill."""
        common = [Limit("doubled", 0), Limit("violations", 0), Limit("recovery", self.recovery)]
        if not self.loses:
            common += [Limit("lost.postgresql", 0), Limit("lost.jobs", 0)]
        if not self.forgets:
            common.append(Limit("lost.redis", 0))
        return (*self.limits, *common)


# --- what is done -----------------------------------------------------------------------------------------------------


def kill(host: str) -> tuple[Act, Act]:
    """Switch a server off, and on again."""
    return lambda _stage: faults.kill_server(host), lambda _stage: faults.start_server(host)


def _cut_replication_and_kill(stage: Stage) -> str:
    cut = faults.cut_replication(stage.primary)
    time.sleep(1.5)
    return f"{cut}; 1.5 s later {faults.kill_server(stage.primary)}"


def _set_synchronous_mode(stage: Stage, value: str) -> None:
    faults.patronictl(stage.primary, "edit-config", "--force", "--quiet", "--set", f"synchronous_mode={value}")
    names = "select current_setting('synchronous_standby_names') <> ''"
    wait_for(
        lambda: faults.database(stage.primary, names) == ("f" if value == "false" else "t"),
        30,
        f"synchronous_mode is {value}",
    )


def _asynchronous(stage: Stage) -> None:
    stage.synchronous_mode = json.dumps(stage.health.settings(stage.primary)["synchronous_mode"]).strip('"')
    _set_synchronous_mode(stage, "false")


def _synchronous_again(stage: Stage) -> None:
    stage.look()
    _set_synchronous_mode(stage, stage.synchronous_mode)


def _kill_etcd(count: int) -> tuple[Act, Act]:
    hosts = members("etcd")[:count]

    def fault(_stage: Stage) -> str:
        return "; ".join(faults.together(lambda host: faults.kill_container(host, "neural-etcd"), hosts))

    def heal(_stage: Stage) -> str:
        return "; ".join(faults.together(lambda host: faults.start_container(host, "neural-etcd"), hosts))

    return fault, heal


def _kill_all(_stage: Stage) -> str:
    return faults.kill_server(*lab.HOSTS)


def _start_in_any_order(_stage: Stage) -> str:
    order = random.sample(lab.HOSTS, len(lab.HOSTS))
    for host in order:
        faults.start_server(host)
        # Somebody walks from one server to the next.
        time.sleep(2)
    return f"started, 2 s apart: {', '.join(order)}"


def _empty_redis(stage: Stage) -> str:
    """Have messages wait in Redis, then lose all of them."""
    workers = {host: faults.names_on(host, "neural-worker-") for host in members("neural_worker")}
    faults.together(lambda host: faults.freeze_programs(host, *workers[host]), workers)
    time.sleep(3)
    faults.redis(stage.master, 6379, "FLUSHALL", "SYNC")
    faults.together(lambda host: faults.thaw_programs(host, *workers[host]), workers)
    return f"workers held for 3 s, so that messages wait; FLUSHALL on {stage.master}; workers go on"


def _crash_workers(_stage: Stage) -> str:
    done = faults.together(
        lambda host: [faults.crash_container(host, name) for name in faults.names_on(host, "neural-worker-general")],
        members("neural_worker"),
    )
    return "; ".join(text for texts in done for text in texts)


def _freeze_worker(_stage: Stage) -> str:
    # A pool runs on some of the application hosts.
    workers = {host: faults.names_on(host, "neural-worker-general") for host in members("neural_worker")}
    host = next(host for host, names in workers.items() if names)
    return faults.freeze_programs(host, workers[host][0])


def _worker_replaced(_stage: Stage) -> str:
    def frozen() -> bool:
        return any(faults.frozen_programs(host) for host in members("neural_worker"))

    wait_for(lambda: not frozen(), 270, "the worker that hangs was ended", step=2)
    return "nothing done: its health check ended it"


def _wake_up(host: Callable[[Stage], str]) -> Act:
    return lambda stage: faults.unpause_server(host(stage))


def _mend(host: str) -> Act:
    def heal(_stage: Stage) -> str:
        faults.mend_network(host)
        return f"network of {host} mended"

    return heal


def _switch_to_standby(stage: Stage) -> str:
    return faults.switch_primary(stage.primary, stage.standby)


def small(stage: Stage) -> None:
    """Give the primary's database a file system that can be filled."""
    used = int(lab.on(stage.primary, "du", "-sm", faults.DATABASE).split()[0])
    faults.small_volume(stage.primary, used + 200)
    stage.health.wait(60)
    stage.settle(None)


# --- the list ---------------------------------------------------------------------------------------------------------
# ttl 20 s and down-after 5 s are the defaults of the roles patroni and redis.
TTL = 20
DOWN_AFTER = 5

FAILOVER = Limit("gap.postgresql", TTL + 5, TTL + 2)
REDIS_FAILOVER = Limit("gap.redis", DOWN_AFTER + 2)
VIRTUAL_ADDRESS = Limit("gap.https", 3)
UNTOUCHED = Limit("gap.postgresql", 2)

etcd_one, etcd_one_back = _kill_etcd(1)
etcd_two, etcd_two_back = _kill_etcd(2)

DRILLS = (
    # Each of the five servers.
    Drill("kill-db1", "PostgreSQL primary's server killed", *kill("db1"), (FAILOVER,), short=True),
    Drill(
        "kill-cache1",
        "Server of the Redis master and an etcd member killed",
        *kill("cache1"),
        (REDIS_FAILOVER, UNTOUCHED),
        short=True,
    ),
    Drill(
        "kill-app1",
        "Load balancer's server killed (it has the virtual address)",
        *kill("app1"),
        (VIRTUAL_ADDRESS,),
        via="app3",
        balancer="app1",
        short=True,
    ),
    Drill(
        "kill-app2",
        "Server of the synchronous standby killed",
        *kill("app2"),
        (Limit("gap.https", 3),),
        via="app3",
        balancer="app1",
        observe=15,
    ),
    Drill(
        "kill-app3",
        "API host killed",
        *kill("app3"),
        (Limit("failed_share.https.first", 1), Limit("failed.https.after", 0)),
        observe=15,
    ),
    # Single containers.
    Drill(
        "kill-patroni",
        "Patroni's container killed on the primary",
        lambda stage: faults.kill_container(stage.primary, "neural-patroni"),
        lambda _stage: faults.start_container(PREFERRED_PRIMARY, "neural-patroni"),
        (FAILOVER,),
    ),
    Drill(
        "crash-postgresql",
        "Patroni and PostgreSQL crash on the primary, and are started again by the engine",
        lambda stage: faults.crash_container(stage.primary, "neural-patroni"),
        limits=(FAILOVER,),
        crashes=("neural-patroni",),
    ),
    Drill(
        "kill-redis",
        "Redis master's container killed",
        lambda stage: faults.kill_container(stage.master, "neural-redis"),
        lambda _stage: faults.start_container(PREFERRED_MASTER, "neural-redis"),
        (REDIS_FAILOVER,),
    ),
    Drill(
        "crash-nginx",
        "nginx crashes where the virtual address is",
        lambda stage: faults.crash_container(stage.balancer, "neural-nginx"),
        limits=(VIRTUAL_ADDRESS,),
        crashes=("neural-nginx",),
    ),
    Drill(
        "crash-haproxy",
        "HAProxy crashes on an application host",
        lambda _stage: faults.crash_container("app1", "neural-haproxy"),
        limits=(Limit("gap.postgresql", 5),),
        crashes=("neural-haproxy",),
    ),
    Drill(
        "crash-api",
        "An API instance crashes",
        lambda _stage: faults.crash_container("app2", faults.names_on("app2", "neural-api-")[0]),
        limits=(Limit("failed_share.https.first", 2), Limit("failed.https.after", 0)),
        crashes=("neural-api",),
    ),
    Drill(
        "crash-workers",
        "All workers of a pool crash at once",
        _crash_workers,
        limits=(Limit("failed.https.after", 0),),
        crashes=("neural-worker-general",),
    ),
    Drill(
        "freeze-worker",
        "A worker hangs: it lives, and consumes nothing",
        _freeze_worker,
        _worker_replaced,
        (Limit("failed.https.after", 0), UNTOUCHED),
        # The health check waits for 180 s before it takes silence for a hang.
        recovery=270,
        crashes=("neural-worker-general",),
    ),
    # Planned.
    Drill(
        "switchover",
        "Planned switchover of PostgreSQL",
        _switch_to_standby,
        limits=(Limit("gap.postgresql", 5, 2),),
        short=True,
    ),
    Drill(
        "restart-docker",
        "Docker restarted on the primary's server",
        lambda stage: faults.restart_engine(stage.primary),
        limits=(UNTOUCHED,),
    ),
    # Servers that hang, networks that are cut.
    Drill(
        "pause-db1",
        "PostgreSQL primary's server hangs, then goes on",
        lambda stage: faults.pause_server(stage.primary),
        _wake_up(lambda _stage: PREFERRED_PRIMARY),
        (FAILOVER,),
    ),
    Drill(
        "pause-cache1",
        "Redis master's server hangs, then goes on",
        lambda stage: faults.pause_server(stage.master),
        _wake_up(lambda _stage: PREFERRED_MASTER),
        (Limit("gap.redis", DOWN_AFTER + 4),),
        observe=15,
    ),
    Drill(
        "cut-db1",
        "PostgreSQL primary's server cut from the network",
        lambda stage: faults.cut_server(stage.primary),
        _mend(PREFERRED_PRIMARY),
        (FAILOVER,),
        observe=30,
    ),
    Drill(
        "cut-app2",
        "Standby's server cut from the network: it goes without a word",
        lambda _stage: faults.cut_server("app2"),
        _mend("app2"),
        (UNTOUCHED, Limit("gap.https", 3)),
        via="app3",
        balancer="app1",
        observe=15,
    ),
    Drill(
        "cut-app3",
        "API host cut from the network: it goes without a word",
        lambda _stage: faults.cut_server("app3"),
        _mend("app3"),
        (UNTOUCHED, Limit("gap.https", 3), Limit("failed.https.after", 0)),
        observe=15,
    ),
    Drill(
        "cut-etcd",
        "PostgreSQL primary cut from etcd alone",
        lambda stage: faults.cut_from_etcd(stage.primary),
        _mend(PREFERRED_PRIMARY),
        (FAILOVER,),
        observe=45,
    ),
    Drill(
        "replication-cut",
        "Replication cut, then the primary's server killed",
        _cut_replication_and_kill,
        lambda _stage: faults.start_server(PREFERRED_PRIMARY),
        (Limit("gap.postgresql", TTL + 7),),
        short=True,
    ),
    Drill(
        "replication-cut-async",
        "The same without synchronous mode: rows must be lost",
        _cut_replication_and_kill,
        lambda _stage: faults.start_server(PREFERRED_PRIMARY),
        prepare=_asynchronous,
        restore=_synchronous_again,
        loses=True,
        short=True,
    ),
    # Quorums.
    Drill("etcd-one", "One of three etcd members killed", etcd_one, etcd_one_back, (UNTOUCHED,), observe=30),
    Drill("etcd-two", "Two of three etcd members killed", etcd_two, etcd_two_back, (UNTOUCHED,), observe=45),
    # Everything.
    Drill("redis-empty", "Redis loses all it had", _empty_redis, forgets=True),
    Drill(
        "disk-full",
        "The primary's database volume is full",
        lambda stage: faults.fill_volume(stage.primary),
        lambda _stage: faults.empty_volume(PREFERRED_PRIMARY),
        (Limit("gap.postgresql", 60),),
        prepare=small,
        restore=lambda _stage: faults.large_volume(PREFERRED_PRIMARY),
        patience=90,
        crashes=("neural-patroni",),
    ),
    Drill(
        "cold-start",
        "All five servers off at once, and on again in any order",
        _kill_all,
        _start_in_any_order,
        observe=5,
        patience=0,
        recovery=120,
    ),
)
