"""Every operation of `operations.py` under load: no failed request, nothing lost, and the wanted state at the end."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import labtools as lab
import pytest

from resilience import analysis, events
from resilience.credentials import Credentials
from resilience.drills import Stage, wait_for
from resilience.health import save_logs
from resilience.load import WARM, Live, clients_of
from rolling import report
from rolling.conftest import OUTPUT
from rolling.operation import ANSWER_SECONDS, Operation, Seen

# Every request of these has to be answered well. A database client may be refused as long as a switchover takes.
NEVER_FAIL = ("https", "jobs")


def perform(operation: Operation, recorder: Live, credentials: Credentials) -> tuple[Seen, float]:
    """Run an operation under load; return what was seen, and how long its playbook took (seconds)."""
    load = clients_of(recorder, credentials, operation.via, ANSWER_SECONDS)
    before = lab.identities()
    recorder.mark("load")
    try:
        for part in load:
            part.start()
        begin = time.monotonic()
        wait_for(lambda: recorder.well_since(begin) and time.monotonic() - begin > WARM, 30, "all clients are answered")
        recorder.mark("fault", operation.title)
        with credentials.followed():
            done = lab.playbook(operation.playbook, *operation.arguments(), check=False)
            if operation.then and done.returncode == 0:
                second = lab.playbook(operation.playbook, *operation.then(), check=False)
                done = lab.PlaybookRun(done.output + second.output, second.returncode, done.seconds + second.seconds)
        recorder.mark("healed", f"the playbook ended with {done.returncode}")
        back = time.monotonic()
        wait_for(lambda: recorder.well_since(back), 60, "all clients are answered after the operation")
        recorder.mark("healthy")
    finally:
        for part in load:
            part.stop()
    recorder.mark("end")
    for part in load[:3]:
        part.verdict()
    return Seen(before, lab.identities(), done.output, done.returncode), done.seconds


def test_operation(
    operation: Operation,
    stage: Stage,
    versions: str,
    credentials: Credentials,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # An update leaves an instance in another slot, by another name.
    stage.health.learn()
    stage.health.wait(180)
    path = OUTPUT / f"{operation.name}.jsonl"
    try:
        if operation.prepare:
            operation.prepare()
        with Live(path) as recorder:
            seen, seconds = perform(operation, recorder, credentials)
        path.with_suffix(".log").write_text(seen.output)
        entry: dict[str, Any] = analysis.summary(events.read(path), {"name": operation.name, "title": operation.title})
        entry["seconds"] = seconds
        path.with_suffix(".json").write_text(json.dumps(entry, indent=1) + "\n")
        with capsys.disabled():
            print(f"\n{report.line(entry)}", flush=True)
            # With what they measure, as the share of the clients that met a canary.
            wrong = [problem for check in operation.checks for problem in check(seen)]
    finally:
        if stage.health.problems():
            save_logs(path.with_suffix(".logs"))
        if operation.restore:
            operation.restore()
    sentence = re.sub(r"\s+", " ", seen.output)
    if operation.refused:
        assert seen.returncode != 0, "it was not refused"
        wrong += [f"the refusal does not say {word!r}" for word in operation.refused if word not in sentence]
        wrong += ["the refusal is a stack trace"] if "Traceback" in seen.output else []
    elif seen.returncode != 0:
        wrong.append(f"it ended with {seen.returncode}")
    for client in NEVER_FAIL:
        row = report.row(entry, client)
        if row["failed"]:
            wrong.append(f"{row['failed']} of {row['sent']} requests of {client} failed: {row['errors']}")
    for client, ledger in entry["ledgers"].items():
        if ledger["lost"] or ledger["doubled"]:
            wrong.append(f"{client}: {ledger['lost']} lost, {ledger['doubled']} doubled")
    for client, most in operation.gaps.items():
        gap = entry["gaps"][client]["seconds"]
        if gap is None or gap > most:
            wrong.append(f"{client}: no acknowledgement for {gap} s, at most {most} s are allowed")
    assert not wrong, (wrong, seen.output[-5000:])
