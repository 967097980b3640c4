"""Every drill of `drills.py`: load, fault, heal, healthy; then every ledger is compared with what is stored."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from resilience import analysis, events, faults, report
from resilience.conftest import OUTPUT
from resilience.credentials import Credentials
from resilience.drills import DRILLS, Drill, Stage, wait_for
from resilience.health import save_logs
from resilience.load import WARM, Live, clients_of, samplers_of

# Limits that hold on any machine; the others are times, or shares of requests that hit a time.
PROMISES = ("lost", "doubled", "violations")
# How much longer than its limit a recovery is waited for, in seconds: to see by how much it is missed; where times are
# shown, not limited, until a machine of two cores that is slower than ours has started all containers of a server.
LATE = {"limit": 60.0, "show": 300.0}


def run(drill: Drill, recorder: Live, stage: Stage, credentials: Credentials, late: float) -> list[str]:
    """Run a drill; return what went wrong beside its measures."""
    wrong = []
    load = clients_of(recorder, credentials, drill.via) + samplers_of(recorder, credentials)
    restarts = stage.health.restarts()
    recorder.mark("load")
    try:
        for part in load:
            part.start()
        begin = time.monotonic()
        wait_for(lambda: recorder.well_since(begin) and time.monotonic() - begin > WARM, 30, "all clients are answered")
        at = time.monotonic()
        recorder.put("mark", name="fault", at=at, text=drill.fault(stage))
        while time.monotonic() - at < drill.observe:
            time.sleep(0.1)
        while not recorder.well_since(at) and time.monotonic() - at < drill.patience:
            time.sleep(0.1)
        healed = time.monotonic()
        text = drill.heal(stage)
        recorder.put("mark", name="healed", at=healed, text=text)
        last = stage.health.wait(max(1.0, drill.recovery - (time.monotonic() - healed)) + late)
        recorder.mark("healthy", f"the last to be well: {last}" if last else "")
        # What comes back may break something: the load goes on for a moment.
        back = time.monotonic()
        wait_for(lambda: recorder.well_since(back), 60, "all clients are answered after everything is healthy")
    except (AssertionError, OSError) as error:
        wrong.append(" ".join(str(error).split()))
    finally:
        for part in load:
            try:
                part.stop()
            except Exception as error:
                wrong.append(f"{part.name}: {type(error).__name__}: {error}")
    recorder.mark("end")
    for part in load[:3]:
        part.verdict()
    for name, count in stage.health.restarts().items():
        if count > restarts[name] and not any(fragment in name for fragment in drill.crashes):
            wrong.append(f"{name} ended and was started again {count - restarts[name]} times, which nobody asked for")
    return wrong


def line(entry: dict[str, Any]) -> str:
    """Say a drill's figures in one line."""

    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.1f}"

    gaps = ", ".join(f"{client} {seconds(gap['seconds'])}" for client, gap in entry["gaps"].items())
    lost = ", ".join(
        f"{client} {ledger['lost']}/{ledger['acknowledged']}" for client, ledger in entry["ledgers"].items()
    )
    return f"gaps (s): {gaps} · lost: {lost} · healthy {seconds(entry['recovery'])} s after the heal"


def test_drill(
    round_name: str,
    drill: Drill,
    stage: Stage,
    credentials: Credentials,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage.health.wait(180)
    stage.settle(drill.balancer)
    path = OUTPUT / round_name / f"{drill.name}.jsonl"
    times = request.config.getoption("--times")
    try:
        if drill.prepare:
            drill.prepare(stage)
        stage.look()
        with Live(path) as recorder:
            wrong = run(drill, recorder, stage, credentials, LATE[times])
    finally:
        if wrong_state := stage.health.problems():
            save_logs(path.with_suffix(".logs"))
        faults.restore_all()
        if drill.restore:
            drill.restore(stage)
    found = events.read(path)
    description = "; ".join(event["text"] for event in found if event["kind"] == "mark" and event["name"] == "fault")
    told = {"name": drill.name, "title": drill.title, "description": description, "order": DRILLS.index(drill)}
    entry = analysis.summary(found, told | {"limits": drill.all_limits})
    report.store(OUTPUT, round_name, entry)
    with capsys.disabled():
        print(f"\n{round_name} {drill.name}: {line(entry)}", flush=True)
    timed = times == "limit"
    missed = [
        limit
        for limit in entry["limits"]
        if not limit["passed"]
        and not limit["name"].startswith("gap.")
        and (timed or limit["name"].partition(".")[0] in PROMISES)
    ]
    if timed and int(round_name) == request.config.getoption("--rounds"):
        rounds = [
            json.loads((OUTPUT / str(n) / f"{drill.name}.json").read_text()) for n in range(1, int(round_name) + 1)
        ]
        for limit in (limit for limit in drill.limits if limit.name.startswith("gap.")):
            measured = [analysis.measure(entry, limit.name) for entry in rounds]
            median = analysis.median_of(measured)
            if median is None or median > limit.at_most:
                missed.append({"name": limit.name, "measured": measured, "median": median, "at_most": limit.at_most})
    if missed or wrong:
        save_logs(path.with_suffix(".logs"))
    assert not wrong, (wrong, wrong_state)
    assert not missed, missed
    assert not entry["violations"], entry["violations"]
    if drill.loses:
        assert entry["ledgers"]["postgresql"]["lost"] > 0, "the control lost no row: the harness cannot see a loss"
