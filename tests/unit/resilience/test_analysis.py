"""What a drill's events say, on lists with known answers; every near miss that must not be flagged, too."""

from __future__ import annotations

import math
from typing import Any

import pytest

from resilience import analysis

LOAD, FAULT, HEALED, HEALTHY, END = 1000.0, 1010.0, 1050.0, 1060.0, 1065.0


def marks(**more: float) -> list[dict[str, Any]]:
    times = {"load": LOAD, "fault": FAULT, "healed": HEALED, "healthy": HEALTHY, "end": END} | more
    return [{"kind": "mark", "name": name, "at": at, "text": name} for name, at in times.items()]


def attempt(client: str, begin: float, took: float = 0.01, ok: bool = True, **more: Any) -> dict[str, Any]:
    return {"kind": "attempt", "client": client, "begin": begin, "end": begin + took, "ok": ok, **more}


def writer(client: str, *silent: tuple[float, float], begin: float = LOAD, end: float = END) -> list[dict[str, Any]]:
    """Ten attempts a second; those begun in a silent time fail."""
    found = []
    for number in range(int((end - begin) * 10)):
        at = begin + number / 10
        bad = any(low <= at < high for low, high in silent)
        found.append(attempt(client, at, ok=not bad, id=number, **({"error": "refused"} if bad else {})))
    return found


def primary(host: str, at: float, timeline: int | None, took: float = 0.02, **more: Any) -> dict[str, Any]:
    sample = {"kind": "sample", "what": "postgresql", "host": host, "begin": at, "end": at + took}
    return sample | {"rest": True, "recovery": False, "acked": True, "timeline": timeline} | more


def replica(host: str, at: float, timeline: int | None = None) -> dict[str, Any]:
    return primary(host, at, timeline, rest=False, recovery=True, acked=False)


def master(host: str, at: float, replid: str | None, took: float = 0.02, **more: Any) -> dict[str, Any]:
    sample = {"kind": "sample", "what": "redis", "host": host, "begin": at, "end": at + took}
    return sample | {"role": "master", "acked": True, "replication_id": replid} | more


def balancer(host: str, at: float, primaries: list[str] | None, masters: list[str] | None) -> dict[str, Any]:
    sample = {"kind": "sample", "what": "haproxy", "host": host, "begin": at, "end": at + 0.01}
    return sample | {"primary": primaries, "master": masters}


class TestGap:
    def test_is_from_one_acknowledgement_to_the_next(self) -> None:
        found = analysis.gap(marks() + writer("postgresql", (FAULT, FAULT + 20)), "postgresql")
        assert found.seconds == pytest.approx(20.1)
        assert found.begin == pytest.approx(-0.09)
        assert found.end == pytest.approx(20.01)

    def test_before_the_fault_does_not_count(self) -> None:
        events = marks() + writer("redis", (LOAD + 1, LOAD + 8))
        assert analysis.gap(events, "redis").seconds == pytest.approx(0.1)
        assert analysis.gap(events, "redis", after=LOAD).seconds == pytest.approx(7.1)

    def test_one_that_begins_before_the_fault_counts_whole(self) -> None:
        assert analysis.gap(marks() + writer("redis", (FAULT - 3, FAULT + 2)), "redis").seconds == pytest.approx(5.1)

    def test_after_healthy_does_not_count(self) -> None:
        found = analysis.gap(marks() + writer("redis", (HEALTHY + 1, END - 1)), "redis")
        assert found.seconds == pytest.approx(0.1)

    def test_is_infinite_when_nothing_was_acknowledged_after_the_fault(self) -> None:
        found = analysis.gap(marks() + writer("postgresql", (FAULT, END)), "postgresql")
        assert math.isinf(found.seconds)
        assert found.end is None
        assert found.at_least > 50

    def test_is_infinite_when_a_client_stops_for_good_later(self) -> None:
        found = analysis.gap(marks() + writer("postgresql", (FAULT, FAULT + 5), (FAULT + 30, END)), "postgresql")
        assert math.isinf(found.seconds)
        assert found.begin == pytest.approx(29.91)

    def test_is_infinite_when_a_client_hangs(self) -> None:
        assert math.isinf(analysis.gap(marks() + writer("jobs", end=HEALTHY - 15), "jobs").seconds)

    def test_a_last_attempt_that_the_loads_end_cut_off_is_none(self) -> None:
        events = [*marks(), *writer("jobs", end=HEALTHY - 1), attempt("jobs", HEALTHY - 1, 0.4, ok=False, error="stop")]
        assert analysis.gap(events, "jobs").seconds == pytest.approx(0.1)

    def test_without_any_attempt(self) -> None:
        assert math.isinf(analysis.gap(marks(), "jobs").seconds)


class TestFailures:
    def test_are_counted_by_window_and_error(self) -> None:
        events = [
            *marks(),
            attempt("https", FAULT - 5),
            attempt("https", FAULT - 0.5, 1.0, ok=False, error="reset"),  # on its way when the fault came
            attempt("https", FAULT + 1, ok=False, error="refused"),
            attempt("https", FAULT + 1.9, 5.0, ok=False, error="refused"),
            attempt("https", FAULT + 2, ok=False, status=503),
            attempt("https", FAULT + 3),
        ]
        assert analysis.failures(events, "https", None, 0).attempts == 1
        first = analysis.failures(events, "https", 0, 2)
        assert (first.attempts, first.failed, first.share) == (3, 3, 1.0)
        assert first.errors == (("refused", 2), ("reset", 1))
        after = analysis.failures(events, "https", 2)
        assert (after.attempts, after.failed, after.share, after.errors) == (2, 1, 0.5, (("503", 1),))

    def test_an_empty_window(self) -> None:
        assert analysis.failures(marks(), "https").share == 0


def test_latency_is_of_the_good_ones_in_milliseconds() -> None:
    events = [*marks(), *(attempt("https", FAULT + n, (n + 1) / 1000) for n in range(100))]
    events.append(attempt("https", FAULT + 1, 9.0, ok=False))
    found = analysis.latency(events, "https", 0)
    assert found.count == 100
    assert (found.p50, found.p99, found.max) == (pytest.approx(50), pytest.approx(99), pytest.approx(100))
    assert analysis.latency(events, "https", None, 0).p99 is None


class TestTwoPrimaries:
    def rules(self, *samples: dict[str, Any]) -> list[str]:
        return [violation.rule for violation in analysis.two_primaries([*marks(), *samples])]

    def test_an_ordinary_failover(self) -> None:
        before = [primary("db1", FAULT - n, 1) for n in range(1, 5)]
        assert (
            self.rules(*before, *(primary("app2", FAULT + 20 + n, 2) for n in range(9)), replica("db1", HEALED)) == []
        )

    def test_there_and_back_raises_the_timeline(self) -> None:
        times = [(n, "db1", 1) for n in range(3)] + [(n, "app2", 2) for n in range(4, 7)]
        times += [(n, "db1", 3) for n in range(8, 11)]
        assert self.rules(*(primary(host, FAULT + n, line) for n, host, line in times)) == []

    def test_a_crashed_primary_starts_again_on_its_timeline(self) -> None:
        assert self.rules(primary("db1", FAULT, 1), primary("db1", FAULT + 9, 1), replica("app2", FAULT + 5)) == []

    def test_back_without_a_promotion(self) -> None:
        samples = [
            primary(host, FAULT + n, line, acked=False)
            for n, host, line in [(0, "db1", 1), (2, "app2", 2), (4, "db1", 1)]
        ]
        assert self.rules(*samples) == ["at once"]
        violation = analysis.two_primaries([*marks(), *samples])[0]
        assert set(violation.hosts) == {"app2", "db1"}
        assert (violation.begin, violation.end) == (pytest.approx(2), pytest.approx(2.02))

    def test_back_on_a_timeline_that_is_not_known(self) -> None:
        samples = [("db1", 1, 0), ("app2", 2, 2), ("db1", None, 4)]
        assert self.rules(*(primary(host, FAULT + n, line) for host, line, n in samples)) == []

    def test_spans_that_overlap(self) -> None:
        one = [primary("db1", FAULT + n, 1, took=1.0, acked=False) for n in (0, 2)]
        two = [primary("app2", FAULT + n, 2, took=0.7, acked=False) for n in (0.5, 1.8)]
        assert self.rules(*one, *two) == ["at once"]

    def test_short_samples_that_overlap(self) -> None:
        assert self.rules(primary("db1", FAULT, 1), primary("app2", FAULT + 0.01, 2)) == ["overlap"]

    def test_a_handover_within_a_long_sample_is_a_note(self) -> None:
        samples = [primary("db1", FAULT, 1, took=2.0, acked=False), primary("app2", FAULT + 1.2, 2)]
        assert self.rules(*samples) == []
        assert "overlap" in analysis.near_misses([*marks(), *samples])[0]

    def test_a_leader_that_is_still_in_recovery_is_no_primary(self) -> None:
        samples = [primary("db1", FAULT, 1), primary("app2", FAULT + 0.01, 1, recovery=True, acked=False)]
        assert self.rules(*samples) == []

    def test_a_lock_that_was_held_without_a_promotion_is_no_primary(self) -> None:
        passing = primary("app2", FAULT + 2, 1, recovery=True, acked=False)
        assert self.rules(primary("db1", FAULT, 1), passing, primary("db1", FAULT + 4, 1)) == []

    def test_timelines_that_are_not_known_make_no_tenure(self) -> None:
        samples = [("db1", None, 0), ("app2", 2, 2), ("db1", None, 4)]
        assert self.rules(*(primary(host, FAULT + n, line) for host, line, n in samples)) == []

    def test_an_answer_that_is_found_late_proves_nothing(self) -> None:
        """A commit that waited for its standby, read after the server was started again."""
        samples = [primary("app2", FAULT + 20 + n, 2) for n in range(9)]
        for recovery, timeline in ((None, None), (True, 1)):
            late = primary("db1", FAULT + 24.5, timeline, rest=False, recovery=recovery)
            assert self.rules(*samples, late) == []

    def test_a_write_on_a_timeline_that_was_left(self) -> None:
        """As after a pause: Patroni says no, PostgreSQL still takes the write."""
        samples = [primary("app2", FAULT, 2), primary("db1", FAULT + 1, 1, rest=False)]
        assert self.rules(*samples) == ["old timeline"]

    def test_a_write_on_the_old_timeline_before_the_new_ones_first_is_none(self) -> None:
        assert self.rules(primary("db1", FAULT - 1, 1), primary("app2", FAULT, 2)) == []

    def test_a_write_that_began_before_the_newer_one_was_acknowledged_is_none(self) -> None:
        samples = [primary("app2", FAULT, 2, took=0.5), primary("db1", FAULT + 0.2, 1, took=0.5, rest=False)]
        assert "old timeline" not in self.rules(*samples)

    def test_promoted_within_a_sample_that_told_the_old_timeline(self) -> None:
        samples = [primary("db1", FAULT, 2), primary("app2", FAULT + 9, 1, recovery=True)]
        assert self.rules(*samples) == []

    def test_many_writes_are_one_violation(self) -> None:
        samples = [primary("app2", FAULT + n, 2) for n in range(9)]
        late = [primary("db1", FAULT + 3.5 + n, 1) for n in range(4)]
        found = analysis.two_primaries([*marks(), *samples, *late])
        assert sorted((v.rule, v.count) for v in found if v.rule == "old timeline") == [("old timeline", 4)]


class TestTwoMasters:
    def found(self, *samples: dict[str, Any]) -> list[analysis.Violation]:
        return analysis.two_masters([*marks(), *samples])

    def test_a_failover_there_and_back(self) -> None:
        times = [(0, "cache1", "a"), (1, "cache1", "a"), (5, "app1", "b"), (6, "app1", "b"), (9, "cache1", "c")]
        assert self.found(*(master(host, FAULT + n, replid) for n, host, replid in times)) == []

    def test_a_master_that_was_not_deposed(self) -> None:
        times = [(0, "cache1", "a"), (5, "app1", "b"), (6, "cache1", "a")]
        found = self.found(*(master(host, FAULT + n, replid) for n, host, replid in times))
        assert [(v.rule, v.hosts) for v in found] == [("at once", ("app1", "cache1"))]

    def test_a_killed_master_that_comes_back_as_master(self) -> None:
        times = [(0, "cache1", "a"), (6, "app1", "b"), (20, "cache1", "c"), (21, "app1", "b")]
        assert len(self.found(*(master(host, FAULT + n, replid) for n, host, replid in times))) == 1

    def test_the_role_alone_is_a_note(self) -> None:
        samples = [master("app1", FAULT + 6 + n, "b") for n in range(9)]
        samples += [master("cache1", FAULT + n, "a", acked=False) for n in (0, 9)]
        assert self.found(*samples) == []
        assert "both had the role master" in analysis.near_misses([*marks(), *samples])[0]

    def test_the_id_of_a_replica_is_its_masters(self) -> None:
        samples = [
            master("cache1", FAULT, "a"),
            master("app1", FAULT + 5, "a", role="slave"),
            master("app1", FAULT + 6, "b"),
        ]
        assert self.found(*samples) == []

    def test_samples_that_merely_overlap(self) -> None:
        assert self.found(master("cache1", FAULT, "a", took=1.0), master("app1", FAULT + 0.5, "b", took=1.0)) == []


class TestConvergence:
    def events(self, *, late: float = 20, back: bool = False) -> list[dict[str, Any]]:
        found = marks()
        for second in range(-5, 55):
            for number, host in enumerate(("app1", "app2", "app3")):
                follows = late + number
                servers = ["db1"] if second < 3 else [] if second < follows else ["app2"]
                if back and second == 45:
                    servers = ["app2", "db1"]
                found.append(balancer(host, FAULT + second, servers, ["cache1"]))
        return found

    def test_takes_as_long_as_the_last_one(self) -> None:
        found = analysis.haproxy_convergence(self.events())
        assert found.seconds == pytest.approx(22.01)
        assert found.agreed_at_end
        assert found.last_wrong == {host: pytest.approx(19.01 + n) for n, host in enumerate(("app1", "app2", "app3"))}

    def test_is_never_when_one_does_not_follow(self) -> None:
        found = analysis.haproxy_convergence(self.events(late=100))
        assert found.seconds is None
        assert not found.agreed_at_end

    def test_what_comes_back_later_is_not_the_faults_but_a_note(self) -> None:
        found = analysis.haproxy_convergence(self.events(back=True))
        assert found.seconds == pytest.approx(22.01)
        assert found.last_wrong["app1"] == pytest.approx(45.01)
        assert "2 servers up as primary (app2, db1)" in found.notes[0]

    def test_one_that_is_dead_is_not_waited_for(self) -> None:
        events = [
            e | {"primary": None, "master": None} if e.get("host") == "app3" and e["begin"] > FAULT else e
            for e in self.events()
        ]
        found = analysis.haproxy_convergence(events)
        assert found.living == ("app1", "app2")
        assert found.seconds == pytest.approx(21.01)


def test_a_median_of_rounds_with_one_that_never_ended() -> None:
    assert analysis.median_of([3, 1, 2]) == 2
    assert analysis.median_of([1, None, 2]) == 2
    assert analysis.median_of([1, None, None]) is None
    assert analysis.median_of([]) is None
    assert analysis.worst_of([3, 1]) == 3
    assert analysis.worst_of([3, None]) is None


class TestSummary:
    def events(self, lost: tuple[int, ...] = (), acknowledged: int = 450) -> list[dict[str, Any]]:
        ledger = {
            "kind": "ledger",
            "client": "postgresql",
            "acknowledged": acknowledged,
            "lost": list(lost),
            "doubled": [],
        }
        return [*marks(), *writer("postgresql", (FAULT, FAULT + 20)), ledger]

    def entry(self, *limits: analysis.Limit, **more: Any) -> dict[str, Any]:
        return analysis.summary(self.events(**more), {"name": "kill", "limits": limits, "settings": {"ttl": 20}})

    def test_has_the_figures(self) -> None:
        entry = self.entry()
        assert [(m["name"], m["at"]) for m in entry["marks"]][:2] == [("load", 0.0), ("fault", 10.0)]
        assert entry["gaps"]["postgresql"]["seconds"] == pytest.approx(20.1)
        assert (entry["recovery"], entry["healthy_after"]) == (10.0, 50.0)
        assert entry["failures"]["postgresql"]["first"] == {
            "attempts": 20,
            "failed": 20,
            "share": 1.0,
            "errors": [["refused", 20]],
        }
        assert entry["settings"] == {"ttl": 20}

    def test_a_writer_that_loses_an_id_is_seen(self) -> None:
        entry = self.entry(analysis.Limit("lost", 0), lost=(7,))
        assert entry["ledgers"]["postgresql"]["lost_ids"] == [7]
        assert not entry["passed"]
        assert self.entry(analysis.Limit("lost", 0))["passed"]

    def test_a_ledger_that_was_never_compared_passes_no_limit(self) -> None:
        events = [e for e in self.events() if e["kind"] != "ledger"]
        entry = analysis.summary(events, {"name": "kill", "limits": [analysis.Limit("lost.postgresql", 0)]})
        assert not entry["passed"]
        assert "never compared" in " ".join(entry["notes"])

    def test_a_ledger_that_forgot_some_is_noted(self) -> None:
        assert "compared 3 ids" in " ".join(self.entry(acknowledged=3)["notes"])

    def test_an_infinite_gap_passes_no_limit(self) -> None:
        events = marks() + writer("jobs", (FAULT, END))
        entry = analysis.summary(events, {"name": "kill", "limits": [analysis.Limit("gap.jobs", 1e9)]})
        assert entry["gaps"]["jobs"]["seconds"] is None
        assert not entry["passed"]

    def test_limits_are_judged(self) -> None:
        entry = self.entry(analysis.Limit("gap.postgresql", 25, 15), analysis.Limit("failed_share.postgresql.after", 1))
        assert [(found["unit"], found["passed"]) for found in entry["limits"]] == [("s", True), ("%", False)]

    def test_a_measure_that_is_not_known(self) -> None:
        with pytest.raises(ValueError, match="no measure"):
            analysis.measure(self.entry(), "gaps.postgresql")
