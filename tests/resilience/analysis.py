"""What one drill's events say: gaps, failures, latencies, invariants. Pure functions, no input or output.

An *event* is one record of a drill's JSON-lines file (`attempt`, `sample`, `mark`, `ledger`). `begin`, `end` and
`at` are seconds of one machine's monotonic clock. Results give seconds **relative to the fault** (negative: before it)
unless they say otherwise; latencies are milliseconds.

A drill's *fault* is its first mark of that name (a drill may do two things one after the other: the time counts
from the first), its heal and its health are the last marks `healed` and `healthy`. A drill without a fault counts from
its load's begin.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Event = Mapping[str, Any]
Events = Sequence[Event]

CLIENTS = ("https", "jobs", "postgresql", "redis")
LEDGERS = ("jobs", "postgresql", "redis")
# The time directly after a fault in which a request may fail that was on its way to what died, seconds.
FIRST = 2.0
# Two short samples that overlap are closer together than any handover: Patroni stops being leader, then shuts
# PostgreSQL down (a checkpoint), then lets go of the lock, and only then can another one take it. Seconds.
HANDOVER = 0.25
# A client without any attempt for this long before the end of the time that is looked at hangs. Seconds.
SILENCE = 10.0
# Failed attempts at a client's very end for less than this are its load being stopped. Seconds.
TAIL = 2.0
# Ids, errors and the like are cut to this many in an entry.
SHOWN = 20


@dataclass(frozen=True)
class Gap:
    """The longest time without an acknowledgement.

    `seconds` is infinite when the client never got an acknowledgement again: `end` is None then, and
    `at_least` says for how long it was watched. `begin` and `end` are relative to the fault.
    """

    client: str
    seconds: float
    begin: float
    end: float | None
    at_least: float


@dataclass(frozen=True)
class Failures:
    """Attempts of a window, those that failed, their share (0 to 1), and the most frequent errors with their counts."""

    attempts: int
    failed: int
    share: float
    errors: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Latency:
    """Latencies of a window's good attempts, in milliseconds (nearest rank); None when there was none."""

    count: int
    p50: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True)
class Violation:
    """A proven breach of an invariant, from `begin` to `end` relative to the fault, seen `count` times."""

    what: str
    rule: str
    hosts: tuple[str, ...]
    begin: float
    end: float
    count: int
    text: str


@dataclass(frozen=True)
class Tenure:
    """A host in office (primary, master) without interruption as sampled, for pictures; relative to the fault."""

    host: str
    begin: float
    end: float


@dataclass(frozen=True)
class Convergence:
    """How the HAProxies followed.

    `seconds`: from the fault until every living HAProxy showed the same one primary and the same one master, and kept
    to it until the heal (the end, where nothing is healed); 0 when they never differed, None when they did not agree.
    `agreed_at_end`: the same, of each one's last answer. `last_wrong`: by living host, the end of its last answer
    that showed anything but one primary and one master, up to the drill's end; None when it had none. `living`: those
    that answered just before the heal. `notes`: two primaries (masters) up in one HAProxy.
    """

    seconds: float | None
    agreed_at_end: bool
    living: tuple[str, ...]
    last_wrong: dict[str, float | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """What a drill's measure (see `measure`) must stay at or below, and what its median aims at.

    A gap varies with the moment of the fault, so its median over the rounds counts; all else has to hold in each round.
    """

    name: str
    at_most: float
    aim: float | None = None


# --- marks -----------------------------------------------------------------------------------------------------------


def attempts_of(events: Events, client: str) -> list[Event]:
    """Return a client's attempts in the order in which they ended."""
    return sorted((e for e in events if e["kind"] == "attempt" and e["client"] == client), key=lambda e: e["end"])


def samples_of(events: Events, what: str) -> list[Event]:
    """Return the samples of postgresql, redis or haproxy in the order in which they ended."""
    return sorted((e for e in events if e["kind"] == "sample" and e["what"] == what), key=lambda e: e["end"])


def mark(events: Events, name: str, *, last: bool = False) -> float | None:
    """Return when the first (last) mark of a name was made, on the recorder's clock."""
    found = sorted(e["at"] for e in events if e["kind"] == "mark" and e["name"] == name)
    return found[-1 if last else 0] if found else None


def origin(events: Events) -> float:
    """Return the moment that times are relative to: the fault, else the load's begin, else the first event."""
    for name in ("fault", "load"):
        found = mark(events, name)
        if found is not None:
            return found
    return min((_first(e) for e in events if e["kind"] != "ledger"), default=0.0)


def horizon(events: Events) -> float:
    """Return where the time that is looked at stops: healthy, else the end, else the last event."""
    for name in ("healthy", "end"):
        found = mark(events, name, last=True)
        if found is not None:
            return found
    return max((_last(e) for e in events if e["kind"] != "ledger"), default=0.0)


def _first(event: Event) -> float:
    return float(event["at"] if event["kind"] == "mark" else event["begin"])


def _last(event: Event) -> float:
    return float(event["at"] if event["kind"] == "mark" else event["end"])


# --- clients ---------------------------------------------------------------------------------------------------------


def gap(events: Events, client: str, after: float | None = None, until: float | None = None) -> Gap:
    """Find a client's longest gap: from the end of a good attempt to the end of the next good one.

    Counted are gaps that overlap [`after`, `until`] (recorder's clock; default: the fault, and healthy or the end).
    A client that got no acknowledgement any more has an infinite gap: when none came after `after`; when its failed
    attempts after the last good one last longer than any gap that ended, and than 2 seconds; or when it made no
    attempt at all in the last 10 seconds before `until` (it hangs: the load runs until everything is healthy).
    """
    zero = origin(events)
    after = zero if after is None else after
    until = horizon(events) if until is None else until
    attempts = attempts_of(events, client)
    acknowledged = [e["end"] for e in attempts if e["ok"]]
    started = min((e["begin"] for e in attempts), default=after)
    stopped = max((e["end"] for e in attempts), default=after)
    if until - stopped > SILENCE:
        stopped = until

    edges = [started, *acknowledged]
    longest = (0.0, after, after)
    for begin, end in itertools.pairwise(edges):
        if end >= after and begin <= until and end - begin > longest[0]:
            longest = (end - begin, begin, end)
    last = edges[-1]
    stands_still = last <= until and stopped - last > max(longest[0], TAIL)
    if not acknowledged or last < after or stands_still:
        return Gap(client, math.inf, last - zero, None, max(0.0, max(stopped, until) - last))
    return Gap(client, longest[0], longest[1] - zero, longest[2] - zero, longest[0])


def _window(events: Events, client: str, start: float | None, stop: float | None) -> list[Event]:
    """Return the attempts that began in [start, stop) relative to the fault; one on its way then began at it."""
    zero = origin(events)
    low = -math.inf if start is None else start
    high = math.inf if stop is None else stop
    found = []
    for event in attempts_of(events, client):
        begin, end = event["begin"] - zero, event["end"] - zero
        if low <= (0.0 if begin < 0 < end else begin) < high:
            found.append(event)
    return found


def failures(events: Events, client: str, start: float | None = None, stop: float | None = None) -> Failures:
    """Count the attempts that began in [start, stop) seconds relative to the fault, and those that failed.

    An attempt on its way when the fault came counts as begun with it: it is the fault's, not the time before's.
    """
    window = _window(events, client, start, stop)
    errors = Counter(str(e.get("error") or e.get("status") or "no reason given") for e in window if not e["ok"])
    failed = sum(errors.values())
    top = tuple(sorted(errors.items(), key=lambda item: (-item[1], item[0]))[:5])
    return Failures(len(window), failed, failed / len(window) if window else 0.0, top)


def latency(events: Events, client: str, start: float | None = None, stop: float | None = None) -> Latency:
    """Give p50, p99 and the maximum, in ms, of the good attempts that began in [start, stop) relative to the fault."""
    times = sorted((e["end"] - e["begin"]) * 1000 for e in _window(events, client, start, stop) if e["ok"])
    if not times:
        return Latency(0, None, None, None)
    return Latency(len(times), _rank(times, 0.50), _rank(times, 0.99), times[-1])


def _rank(ordered: Sequence[float], quantile: float) -> float:
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


# --- invariants ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Claim:
    """A host in office at some moment within [begin, end] of a sample (recorder's clock), in a generation."""

    host: str
    generation: Any
    begin: float
    end: float


def _postgresql_claim(sample: Event) -> _Claim | None:
    """Return a claim where PostgreSQL is out of recovery, and Patroni says primary or a write was committed.

    Patroni answers 200 from the moment it has the lock: PostgreSQL may still be in recovery, which is no primary yet;
    where PostgreSQL does not tell, Patroni's word counts. A write alone counts only where PostgreSQL said in the same
    sample that it is out of recovery: a commit that waits for its standby may have been sent in an earlier
    sample, and its answer be found late, as after the server's restart.
    """
    recovery = sample.get("recovery")
    if recovery is True or not (sample.get("rest") or (sample.get("acked") and recovery is False)):
        return None
    return _Claim(sample["host"], sample.get("timeline"), sample["begin"], sample["end"])


def _redis_claim(sample: Event) -> _Claim | None:
    """Return a claim where a write was acknowledged; a replica's id is its master's, so it is no generation of its."""
    if not sample.get("acked"):
        return None
    generation = sample.get("replication_id") if sample.get("role") == "master" else None
    return _Claim(sample["host"], generation, sample["begin"], sample["end"])


def _redis_role(sample: Event) -> _Claim | None:
    """Return a claim by role alone: two at once are worth a note, because no write was acknowledged."""
    if sample.get("role") != "master":
        return None
    return _Claim(sample["host"], sample.get("replication_id"), sample["begin"], sample["end"])


def _at_once(claims: Iterable[_Claim]) -> list[tuple[_Claim, _Claim, float, float, int]]:
    """Find pairs of hosts that were in office at the same moment, for certain.

    A host comes into office only by a promotion, and each promotion begins a new generation (PostgreSQL: timeline,
    Redis: replication id). So a host seen in office twice in one generation was in office all the time between:
    its *certain span*, from the first such sample's end to the last one's begin. (It may have been dead for a part of
    it; what matters is that it came back without having been promoted.) Two hosts were in office at once when two
    certain spans overlap, or when another host's whole sample lies within one. Overlapping samples alone prove nothing,
    they may lie on both sides of a handover.

    Returns (claim of one, claim of the other, begin, end, number of samples) for each pair of tenures.
    """
    tenures: dict[tuple[str, Any], list[_Claim]] = defaultdict(list)
    for claim in claims:
        tenures[claim.host, claim.generation].append(claim)
    spans = {
        key: span
        for key, found in tenures.items()
        if key[1] is not None
        and (span := (min(c.end for c in found), max(c.begin for c in found)))
        and span[0] <= span[1]
    }
    found_pairs: dict[tuple[Any, ...], tuple[_Claim, _Claim, float, float, int]] = {}
    for (host, generation), (low, high) in spans.items():
        for (other, its), others in tenures.items():
            if other == host:
                continue
            inside = [c for c in others if low <= c.begin and c.end <= high]
            moments = [(c.begin, c.end) for c in inside]
            if (other, its) in spans:
                begin, end = max(low, spans[other, its][0]), min(high, spans[other, its][1])
                if begin < end:
                    moments.append((begin, end))
            if not moments:
                continue
            pair = sorted([(host, generation), (other, its)], key=repr)
            begin, end = min(m[0] for m in moments), max(m[1] for m in moments)
            known = found_pairs.get(tuple(pair))
            if known:
                begin, end = min(begin, known[2]), max(end, known[3])
            one, two = (tenures[key][0] for key in pair)
            found_pairs[tuple(pair)] = (one, two, begin, end, len(inside) + (known[4] if known else 0))
    return sorted(found_pairs.values(), key=lambda pair: pair[2])


def _generation(name: str, value: Any) -> str:
    return f"{name} {str(value)[:8]}" if value is not None else f"{name} unknown"


def two_primaries(events: Events) -> list[Violation]:
    """Find proof in the samples that two PostgreSQL servers were writable primaries, or a deposed one took writes.

    A host *claims* to be primary with a sample in which PostgreSQL is out of recovery, and Patroni answers
    `OPTIONS /primary` with 200 or a write was committed (see `_postgresql_claim`). Flagged are:

    `at once`: two hosts' claims that must have been true at the same moment (see `_at_once`): A, then B, then A
    again on A's old timeline is the plain case. A failover there and back is none, because each promotion raises the
    timeline; nor is a crashed primary that starts again with its timeline when nobody was promoted meanwhile.

    `overlap`: claims whose samples overlap and lie, both together, within `HANDOVER` (0.25 s): none is that fast.
    Longer samples that overlap may lie on both sides of a handover (Patroni answers first, then the write waits for its
    time-out), so they are a note (`near_misses`) unless the rule above proves more.

    `old timeline`: a write was committed on a timeline lower than one on which a write had been committed before the
    sample began. Whatever host it was, that write is on a branch which the cluster has left.

    The timeline must be the one that is written to (`pg_walfile_name(pg_current_wal_lsn())`, or Patroni's `timeline`):
    `pg_control_checkpoint()` tells the old one until the first checkpoint after a promotion. A timeline that is not
    known (null) proves nothing. Two hosts on the *same* timeline one after the other are no violation here: B may die
    before anybody heard of its promotion; what it acknowledged and lost is the ledger's to tell.
    """
    zero = origin(events)
    samples = samples_of(events, "postgresql")
    claims = [claim for claim in map(_postgresql_claim, samples) if claim]
    found = []
    proven = set()
    for one, two, begin, end, count in _at_once(claims):
        proven.add(frozenset((one.host, two.host)))
        text = (
            f"{one.host} ({_generation('timeline', one.generation)}) and {two.host} "
            f"({_generation('timeline', two.generation)}) were primary at once, {_when(begin - zero, end - zero)}"
        )
        found.append(Violation("postgresql", "at once", (one.host, two.host), begin - zero, end - zero, count, text))
    sure = [claim for sample in samples if (claim := _postgresql_claim(sample)) and sample.get("recovery") is False]
    overlaps = [pair for pair in _overlaps(sure) if _extent(*pair) <= HANDOVER]
    for hosts, pairs in _by_hosts(overlaps).items():
        if frozenset(hosts) in proven:
            continue
        begin = min(c.begin for pair in pairs for c in pair) - zero
        end = max(c.end for pair in pairs for c in pair) - zero
        text = f"{hosts[0]} and {hosts[1]} both answered as primary within {HANDOVER:g} s, {_when(begin, end)}"
        found.append(Violation("postgresql", "overlap", hosts, begin, end, len(pairs), text))
    found += _old_timelines([s for s in samples if s.get("acked")], zero)
    return sorted(found, key=lambda violation: violation.begin)


def _old_timelines(acknowledged: Sequence[Event], zero: float) -> list[Violation]:
    """Find writes committed on a timeline that was left before they began."""
    writes = [c for c in map(_postgresql_claim, acknowledged) if c and c.generation is not None]
    stale: dict[tuple[str, int, str, int], list[_Claim]] = defaultdict(list)
    for write in writes:
        newer = [w for w in writes if w.end < write.begin and w.generation > write.generation]
        if newer:
            other = min(newer, key=lambda w: (-w.generation, w.end))
            stale[write.host, write.generation, other.host, other.generation].append(write)
    found = []
    for (host, timeline, other_host, other_timeline), late in stale.items():
        begin, end = min(w.begin for w in late) - zero, max(w.end for w in late) - zero
        text = (
            f"{host} committed {len(late)} writes on timeline {timeline} after {other_host} had committed on "
            f"timeline {other_timeline}, {_when(begin, end)}"
        )
        hosts = (host, other_host)
        found.append(Violation("postgresql", "old timeline", hosts, begin, end, len(late), text))
    return found


def two_masters(events: Events) -> list[Violation]:
    """Find proof in the samples that two Redis servers took writes at the same time.

    A host claims to be master with a sample in which its own SET was answered OK. Flagged (`at once`) is A, then B,
    then A again under A's old replication id: a promotion always makes a new id, so A was never deposed. Flagged as
    well is the master that was killed and *comes back as master*: its restart gives it a new id, too, but its writes
    lie between two writes of B under B's one id. Not flagged: A, B, A where A has a new id and B takes no write any
    more (a failover there and back); samples that merely overlap; `role: master` twice at once without acknowledged
    writes (`near_misses`: a master that was cut off and has too few replicas to write is harmless).
    """
    zero = origin(events)
    found = []
    for one, two, begin, end, count in _at_once(c for c in map(_redis_claim, samples_of(events, "redis")) if c):
        text = (
            f"{one.host} ({_generation('replication id', one.generation)}) and {two.host} "
            f"({_generation('replication id', two.generation)}) took writes at once, {_when(begin - zero, end - zero)}"
        )
        found.append(Violation("redis", "at once", (one.host, two.host), begin - zero, end - zero, count, text))
    return found


def near_misses(events: Events) -> list[str]:
    """Say what looks like two primaries or masters and proves nothing: sentences for the report, no violations."""
    zero = origin(events)
    notes = []
    claims = [c for c in map(_postgresql_claim, samples_of(events, "postgresql")) if c]
    flagged = {frozenset(v.hosts) for v in two_primaries(events)}
    for hosts, pairs in _by_hosts(_overlaps(claims)).items():
        if frozenset(hosts) not in flagged:
            begin, end = min(c.begin for p in pairs for c in p) - zero, max(c.end for p in pairs for c in p) - zero
            notes.append(
                f"PostgreSQL: samples of {hosts[0]} and {hosts[1]} as primary overlap, {_when(begin, end)}: "
                f"a handover within a sample, or too short to prove more"
            )
    flagged = {frozenset(v.hosts) for v in two_masters(events)}
    for one, two, begin, end, _count in _at_once(c for c in map(_redis_role, samples_of(events, "redis")) if c):
        if frozenset((one.host, two.host)) not in flagged:
            notes.append(
                f"Redis: {one.host} and {two.host} both had the role master, {_when(begin - zero, end - zero)}; "
                f"no write proves that both took some"
            )
    return notes


def _overlaps(claims: Sequence[_Claim]) -> list[tuple[_Claim, _Claim]]:
    ordered = sorted(claims, key=lambda c: c.begin)
    return [
        (one, two)
        for number, one in enumerate(ordered)
        for two in itertools.takewhile(lambda c, end=one.end: c.begin <= end, ordered[number + 1 :])
        if two.host != one.host
    ]


def _by_hosts(pairs: Iterable[tuple[_Claim, _Claim]]) -> dict[tuple[str, str], list[tuple[_Claim, _Claim]]]:
    found: dict[tuple[str, str], list[tuple[_Claim, _Claim]]] = defaultdict(list)
    for one, two in pairs:
        first, second = sorted((one.host, two.host))
        found[first, second].append((one, two))
    return found


def _extent(one: _Claim, two: _Claim) -> float:
    return max(one.end, two.end) - min(one.begin, two.begin)


def _when(begin: float, end: float) -> str:
    return f"from {begin:+.1f} s to {end:+.1f} s"


def tenures(events: Events, what: str) -> list[Tenure]:
    """Return who was PostgreSQL's primary or Redis' master when, as sampled, for pictures (relative to the fault).

    A tenure lasts from a host's first sample in office to its last one without one out of office between.
    """
    claim_of: Callable[[Event], _Claim | None] = _postgresql_claim if what == "postgresql" else _redis_claim
    zero = origin(events)
    current: dict[str, Tenure] = {}
    found = []
    for sample in samples_of(events, what):
        host = sample["host"]
        begin, end = sample["begin"] - zero, sample["end"] - zero
        if claim_of(sample):
            current[host] = Tenure(host, current[host].begin if host in current else begin, end)
        elif host in current:
            found.append(current.pop(host))
    return sorted([*found, *current.values()], key=lambda t: (t.begin, t.host))


def haproxy_convergence(events: Events, until: float | None = None) -> Convergence:
    """Tell how long the living HAProxies took to agree on one primary and one master (see `Convergence`).

    `until` (recorder's clock) is where following stops to count, by default the heal: what comes back later is a second
    change. A sample without an answer (null) says nothing about what HAProxy shows and is skipped.
    """
    zero = origin(events)
    if until is None:
        until = mark(events, "healed", last=True)
    if until is None:
        until = math.inf
    samples = [s for s in samples_of(events, "haproxy") if s["end"] >= zero]
    before: dict[str, Event] = {}
    for sample in samples_of(events, "haproxy"):
        if sample["end"] <= until:
            before[sample["host"]] = sample
    living = tuple(sorted(host for host, sample in before.items() if _answered(sample)))

    shown: dict[str, tuple[Any, Any]] = {}
    for sample in samples_of(events, "haproxy"):
        if sample["end"] < zero and _answered(sample):
            shown[sample["host"]] = _shown(sample)
    agreed = bool(living) and _agree(shown, living)
    since: float | None = 0.0 if agreed else None
    last_wrong: dict[str, float | None] = dict.fromkeys(living)
    doubles: dict[tuple[str, str, tuple[str, ...]], list[Event]] = defaultdict(list)
    for sample in samples:
        host = sample["host"]
        if not _answered(sample):
            continue
        state = _shown(sample)
        if host in last_wrong and not _single(state):
            last_wrong[host] = sample["end"] - zero
        for name, servers in zip(("primary", "master"), state, strict=True):
            if len(servers) > 1:
                doubles[host, name, servers].append(sample)
        shown[host] = state
        if sample["end"] <= until:
            now = _agree(shown, living)
            if now and not agreed:
                since = sample["end"] - zero
            agreed = now
    notes = tuple(
        f"HAProxy of {host}: {len(servers)} servers up as {name} ({', '.join(servers)}) in {len(found)} samples, "
        f"{_when(found[0]['begin'] - zero, found[-1]['end'] - zero)}"
        for (host, name, servers), found in doubles.items()
    )
    return Convergence(since if agreed else None, bool(living) and _agree(shown, living), living, last_wrong, notes)


def _answered(sample: Event) -> bool:
    return sample.get("primary") is not None and sample.get("master") is not None


def _shown(sample: Event) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(sample["primary"])), tuple(sorted(sample["master"]))


def _single(state: tuple[Any, Any]) -> bool:
    return len(state[0]) == 1 and len(state[1]) == 1


def _agree(shown: Mapping[str, tuple[Any, Any]], living: Iterable[str]) -> bool:
    states = [shown.get(host, ((), ())) for host in living]
    return len(set(states)) == 1 and _single(states[0])


# --- entries ---------------------------------------------------------------------------------------------------------


def ledgers(events: Events) -> dict[str, dict[str, Any]]:
    """Return the ledgers' verdicts by client: counts, and the first ids of what was lost or doubled."""
    found = {}
    for event in events:
        if event["kind"] == "ledger":
            found[event["client"]] = {
                "acknowledged": event["acknowledged"],
                "lost": len(event["lost"]),
                "lost_ids": list(event["lost"])[:SHOWN],
                "doubled": len(event["doubled"]),
                "doubled_ids": list(event["doubled"])[:SHOWN],
                "unknown_present": event.get("unknown_present", 0),
            }
    return found


def ledger_notes(events: Events) -> list[str]:
    """Say where a ledger cannot be trusted: no verdict although there were attempts, or fewer ids than acknowledged."""
    known = ledgers(events)
    notes = []
    for client in LEDGERS:
        good = [e for e in attempts_of(events, client) if e["ok"]]
        if client not in known:
            if attempts_of(events, client):
                notes.append(f"{client}: the ledger was never compared with what is stored")
            continue
        names = {e.get("key", e.get("id")) for e in good}
        if known[client]["acknowledged"] < len(names):
            notes.append(
                f"{client}: the ledger compared {known[client]['acknowledged']} ids, but {len(names)} were acknowledged"
            )
    return notes


def median_of(rounds: Iterable[float | None]) -> float | None:
    """Return the median of the rounds; None (never ended, not measured) counts as infinite."""
    values = [math.inf if value is None else value for value in rounds]
    if not values:
        return None
    middle = statistics.median(values)
    return None if math.isinf(middle) else middle


def worst_of(rounds: Iterable[float | None]) -> float | None:
    """Return the greatest of the rounds; None counts as infinite and is the result if there is one."""
    values = list(rounds)
    return (
        None
        if not values or any(v is None or math.isinf(v) for v in values)
        else max(v for v in values if v is not None)
    )


UNITS = {
    "gap": "s",
    "failed": "",
    "failed_share": "%",
    "latency_p50": "ms",
    "latency_p99": "ms",
    "latency_max": "ms",
    "lost": "",
    "doubled": "",
    "violations": "",
    "haproxy": "s",
    "recovery": "s",
    "healthy_after": "s",
}


def measure(entry: Mapping[str, Any], name: str) -> float | None:
    """Return an entry's measure by name; None when it never ended or was not measured (which passes no limit).

    `gap.<client>`, `failed.<client>.<window>`, `failed_share.<client>.<window>` (percent; windows `before`,
    `first`, `after`), `latency_p50|p99|max.<client>.<before|during>` (ms), `lost[.<client>]`, `doubled[.<client>]`,
    `violations`, `haproxy` (s until all agreed), `recovery` (s from healed to healthy), `healthy_after` (s from
    the fault).
    """
    kind, *rest = name.split(".")
    if kind not in UNITS:
        raise ValueError(f"no measure is called {name!r}; known are {', '.join(UNITS)}")
    value: Any
    if kind == "gap":
        value = entry["gaps"].get(rest[0], {}).get("seconds")
    elif kind in {"failed", "failed_share"}:
        window = entry["failures"].get(rest[0], {}).get(rest[1], {})
        value = (
            (window["share"] * 100 if kind == "failed_share" else window["failed"]) if window.get("attempts") else None
        )
    elif kind.startswith("latency_"):
        value = entry["latency_ms"].get(rest[0], {}).get(rest[1], {}).get(kind.removeprefix("latency_"))
    elif kind in {"lost", "doubled"}:
        wanted = rest or [client for client in LEDGERS if client in entry["gaps"]]
        counts = [entry["ledgers"].get(client, {}).get(kind) for client in wanted]
        value = None if not counts or None in counts else sum(counts)
    elif kind == "violations":
        value = len(entry["violations"])
    elif kind == "haproxy":
        value = entry["haproxy"]["seconds"]
    else:
        value = entry[kind]
    return None if value is None else float(value)


def summary(events: Events, drill: str | Mapping[str, Any]) -> dict[str, Any]:
    """Make a drill's entry of one round, fit for JSON (no infinities: None is "never").

    `drill` is the drill's name, or a mapping with `name` and, where known, `title`, `description` (what was done),
    `settings` (a mapping of those in force), `order` (its
    place in the report) and `limits` (`Limit`s or mappings with name, at_most, aim).

    Fields of the entry: `drill`, `title`, `description`, `settings`; `marks` (list of name, at [s after the load's
    begin], text); `gaps` by client (seconds, begin, end, at_least); `failures` by client and window (`before` the
    fault, `first` 2 s, `after` that: attempts, failed, share, errors); `latency_ms` by client,
    `before` and `during` (fault to healthy): count, p50, p99, max; `ledgers` by client; `violations`; `notes`;
    `haproxy` (`Convergence`);
    `recovery` (s, healed to healthy), `healthy_after` (s, fault to healthy); `limits`: name, unit, measured, at_most,
    aim, passed; `passed`: all of them. Clients without an attempt are left out.
    """
    given: dict[str, Any] = {"name": drill} if isinstance(drill, str) else dict(drill)
    zero = origin(events)
    load = mark(events, "load")
    load = zero if load is None else load
    stop = horizon(events) - zero
    healthy, healed = mark(events, "healthy", last=True), mark(events, "healed", last=True)
    faulted = mark(events, "fault") is not None
    clients = [client for client in CLIENTS if attempts_of(events, client)]
    convergence = haproxy_convergence(events)
    violations = two_primaries(events) + two_masters(events)
    notes = near_misses(events) + list(convergence.notes) + ledger_notes(events)
    if healthy is None:
        notes.append("the platform was not healthy again while the drill lasted")
    entry: dict[str, Any] = {
        "drill": given["name"],
        "title": given.get("title", given["name"]),
        "description": given.get("description", ""),
        "settings": dict(given.get("settings") or {}),
        "order": given.get("order", 1000),
        "marks": [
            {"name": e["name"], "at": _round(e["at"] - load), "text": e.get("text", "")}
            for e in sorted((e for e in events if e["kind"] == "mark"), key=lambda e: e["at"])
        ],
        "gaps": {client: _plain(gap(events, client), "client") for client in clients},
        "failures": {
            client: {
                "before": _plain(failures(events, client, None, 0.0)),
                "first": _plain(failures(events, client, 0.0, FIRST)),
                "after": _plain(failures(events, client, FIRST, None)),
            }
            for client in clients
        },
        "latency_ms": {
            client: {
                "before": _plain(latency(events, client, None, 0.0)),
                "during": _plain(latency(events, client, 0.0, stop)),
            }
            for client in clients
        },
        "ledgers": ledgers(events),
        "violations": [_plain(violation) for violation in violations],
        "notes": notes,
        "haproxy": _plain(convergence, "notes"),
        "recovery": None if healthy is None or healed is None else _round(healthy - healed),
        "healthy_after": None if healthy is None or not faulted else _round(healthy - zero),
    }
    entry["limits"] = [_judge(entry, limit) for limit in given.get("limits") or ()]
    entry["passed"] = all(limit["passed"] for limit in entry["limits"])
    return entry


def _judge(entry: Mapping[str, Any], limit: Limit | Mapping[str, Any]) -> dict[str, Any]:
    wanted = limit if isinstance(limit, Limit) else Limit(limit["name"], limit["at_most"], limit.get("aim"))
    measured = measure(entry, wanted.name)
    return {
        "name": wanted.name,
        "unit": UNITS[wanted.name.split(".")[0]],
        "measured": measured,
        "at_most": wanted.at_most,
        "aim": wanted.aim,
        "passed": measured is not None and measured <= wanted.at_most,
    }


def _round(value: float) -> float:
    return round(value, 4)


def _plain(thing: Any, *without: str) -> dict[str, Any]:
    """Turn a result into what JSON knows."""
    return {name: _json(value) for name, value in asdict(thing).items() if name not in without}


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return _round(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
