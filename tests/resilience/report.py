"""Gathers the drills' entries of all rounds into `report.json` and one page, `index.html`, with a picture of each.

Layout under a directory (`build/resilience`):

    environment.json           machine and settings, as `environment` was told
    <round>/<drill>.json       a drill's entry (`analysis.summary`), by `store`
    <round>/<drill>.jsonl      its events
    <round>/<drill>.svg        its time line, made here
    report.json, index.html    made here

Nothing else is kept, so runs accumulate: a drill that is run again in a round replaces what was there.
`python tests/resilience/report.py build/resilience` makes page, pictures and report again; an entry whose events lie
beside it is analysed again (its description, settings, limits and whatever else it holds stay).

`report.json`:

    format       1
    generated    when, ISO 8601, UTC
    machine      cores, memory, kernel, docker …, as the caller told
    settings     in force in every drill, as the caller told
    rounds       names of the rounds
    passed       whether every limit of every drill held in every round
    drills       list, in their `order`, of:
      drill, title, description, settings (the drill's own), rounds (those it ran in), passed
      main         the client whose gap is the drill's figure: that of its first limit on a gap, else the longest's
      limits       list of name (see `analysis.measure`), title, unit, measured (a value a round, null: never ended or
                   not measured), median, worst, at_most (for a gap: of the median; for all else: of each round),
                   aim (of the median, or null), passed, aim_met
      gaps         by client: measured (s, a value a round; null: no acknowledgement came any more), median, worst
      ledgers      by client, all rounds together: acknowledged, lost, doubled, unknown_present; lost_ids, doubled_ids
      violations   list of those of `analysis`, each with its round
      notes        list of round, text
      recovery, healthy_after, haproxy    s: measured, median, worst
      failures, latency_ms    by round, as in the entries
      pictures     by round, paths relative to the report

Seconds and milliseconds as the names say. null never means zero: in a measure it is "never", and passes no limit.
"""

from __future__ import annotations

import argparse
import html
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from resilience import analysis

NAMES = {"https": "HTTPS", "jobs": "Jobs", "postgresql": "PostgreSQL", "redis": "Redis"}
LANES = {
    "https": "HTTPS: answers per second",
    "jobs": "Jobs: accepted per second",
    "postgresql": "PostgreSQL: acknowledged writes per second",
    "redis": "Redis: acknowledged writes per second",
}
# Okabe and Ito's colours: told apart by colour-blind readers, too. Failures are vermilion and nothing else is.
COLOURS = {"https": "#0072B2", "jobs": "#56B4E9", "postgresql": "#009E73", "redis": "#CC79A7"}
FAILED, SHADE, INK, FAINT = "#D55E00", "#F6E7B4", "#1A1A1A", "#767676"
MARKS = {"fault": "#D55E00", "healed": "#0072B2", "healthy": "#00664B"}
BIN = 0.25


# --- what is stored --------------------------------------------------------------------------------------------------


def store(root: Path, round_name: str, entry: Mapping[str, Any]) -> Path:
    """Keep a drill's entry of a round."""
    path = root / round_name / f"{entry['drill']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def environment(root: Path, *, machine: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
    """Keep what the drills ran on (cores, memory, kernel, docker's version) and the settings that they ran with."""
    path = root / "environment.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "settings": settings}, indent=1) + "\n", encoding="utf-8")
    return path


def load_events(path: Path) -> list[dict[str, Any]]:
    """Read a drill's events; a last line that was cut off (the run was killed) is left out."""
    found = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise
    return found


def entries(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the stored entries by round and drill, analysed again where their events are kept, too."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(root.glob("*/*.json"), key=lambda path: [_natural(path.parent.name), _natural(path.stem)]):
        entry = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entry, dict) or "drill" not in entry:
            continue
        events = path.with_suffix(".jsonl")
        if events.exists():
            entry |= analysis.summary(load_events(events), {**entry, "name": entry["drill"]})
        found.setdefault(path.parent.name, {})[entry["drill"]] = entry
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


# --- report.json -----------------------------------------------------------------------------------------------------


def collect(root: Path, by_round: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None) -> dict[str, Any]:
    """Make the report of everything that is stored, `entries(root)` (its schema: the module's docstring)."""
    by_round = entries(root) if by_round is None else by_round
    around = root / "environment.json"
    told = json.loads(around.read_text(encoding="utf-8")) if around.exists() else {}
    by_drill: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, ran in by_round.items():
        for drill, entry in ran.items():
            by_drill.setdefault(drill, {})[name] = entry
    drills = [_drill(rounds) for rounds in by_drill.values()]
    drills.sort(key=lambda drill: (drill["order"], _natural(drill["drill"])))
    return {
        "format": 1,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": told.get("machine", {}),
        "settings": told.get("settings", {}),
        "rounds": list(by_round),
        "passed": all(drill["passed"] for drill in drills),
        "drills": drills,
    }


def _drill(rounds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    latest = list(rounds.values())[-1]
    limits = [_limit(limit, [measure(entry, limit["name"]) for entry in rounds.values()]) for limit in latest["limits"]]
    clients = [client for client in analysis.CLIENTS if any(client in entry["gaps"] for entry in rounds.values())]
    gaps = {
        client: _rounds([entry["gaps"].get(client, {}).get("seconds") for entry in rounds.values()])
        for client in clients
    }
    return {
        "drill": latest["drill"],
        "title": latest["title"],
        "description": latest["description"],
        "settings": latest["settings"],
        "order": latest.get("order", 1000),
        "rounds": list(rounds),
        "passed": all(limit["passed"] for limit in limits),
        "main": main_client(latest),
        "limits": limits,
        "gaps": gaps,
        "ledgers": _ledgers(rounds.values()),
        "violations": [{"round": name, **v} for name, entry in rounds.items() for v in entry["violations"]],
        "notes": [{"round": name, "text": text} for name, entry in rounds.items() for text in entry["notes"]],
        "recovery": _rounds([entry["recovery"] for entry in rounds.values()]),
        "healthy_after": _rounds([entry["healthy_after"] for entry in rounds.values()]),
        "haproxy": _rounds([entry["haproxy"]["seconds"] for entry in rounds.values()]),
        "failures": {name: entry["failures"] for name, entry in rounds.items()},
        "latency_ms": {name: entry["latency_ms"] for name, entry in rounds.items()},
        "pictures": {name: f"{name}/{entry['drill']}.svg" for name, entry in rounds.items()},
    }


measure = analysis.measure


def main_client(entry: Mapping[str, Any]) -> str | None:
    """Return the client whose gap is the drill's figure: that of the first limit on a gap, else the longest gap's."""
    for limit in entry["limits"]:
        name = str(limit["name"])
        if name.startswith("gap."):
            return name.removeprefix("gap.")
    gaps = {client: math.inf if g["seconds"] is None else g["seconds"] for client, g in entry["gaps"].items()}
    return max(gaps, key=lambda client: gaps[client], default=None)


def _rounds(measured: Sequence[float | None]) -> dict[str, Any]:
    return {
        "measured": list(measured),
        "median": analysis.median_of(measured),
        "worst": analysis.worst_of(measured),
    }


def _limit(limit: Mapping[str, Any], measured: Sequence[float | None]) -> dict[str, Any]:
    found = _rounds(measured)
    aim, median = limit["aim"], found["median"]
    # A gap varies with the moment of the fault: its median counts. All else has to hold each time.
    counts = median if limit["name"].startswith("gap.") else found["worst"]
    return {
        "name": limit["name"],
        "title": describe(limit["name"]),
        "unit": limit["unit"],
        **found,
        "at_most": limit["at_most"],
        "aim": aim,
        "passed": counts is not None and counts <= limit["at_most"],
        "aim_met": None if aim is None else median is not None and median <= aim,
    }


def _ledgers(found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for entry in found:
        for client, ledger in entry["ledgers"].items():
            sums = total.setdefault(client, {})
            for name, value in ledger.items():
                sums[name] = sums[name] + value if name in sums else value
    return total


def describe(name: str) -> str:
    """Say in words what a measure is (`gap.postgresql`: longest gap, PostgreSQL)."""
    kind, *rest = name.split(".")
    words = {
        "gap": "longest gap",
        "failed": "failed",
        "failed_share": "share that failed",
        "latency_p50": "median latency",
        "latency_p99": "99th percentile of latency",
        "latency_max": "greatest latency",
        "lost": "acknowledged and lost",
        "doubled": "stored twice",
        "violations": "violated invariants",
        "haproxy": "until all HAProxies agree",
        "recovery": "healed to healthy",
        "healthy_after": "fault to healthy",
    }
    where = {
        "before": "before the fault",
        "during": "from the fault on",
        "first": f"in the first {analysis.FIRST:g} s",
        "after": f"after the first {analysis.FIRST:g} s",
    }
    return ", ".join([words[kind], *(NAMES.get(part) or where.get(part, part) for part in rest)])


def show(value: float | None, unit: str = "s") -> str:
    """Write a measure for people: `20.3 s`, `0.34 %`, `12`, `never`."""
    if value is None:
        return "never" if unit == "s" else "-"
    if unit == "":
        return f"{value:g}"
    digits = 0 if unit == "ms" and abs(value) >= 10 else 1 if abs(value) >= 1 else 2
    return f"{value:.{digits}f} {unit}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _total(drill: Mapping[str, Any], what: str) -> int | None:
    ledgers = drill["ledgers"].values()
    return sum(ledger[what] for ledger in ledgers) if ledgers else None


def markdown(report: Mapping[str, Any]) -> str:
    """Make the table of docs/failure-modes.md: a line a drill; gap and health are medians of the rounds."""
    rows = [
        "| Drill | Gap (median) | Limit | Acknowledged and lost | Doubled | Healthy after |",
        "|---|---|---|---|---|---|",
    ]
    for drill in report["drills"]:
        main, limit = drill["main"], _gap_limit(drill)
        cells = [
            drill["title"],
            f"{NAMES[main]} {show(drill['gaps'][main]['median'])}" if main in drill["gaps"] else "-",
            show(limit["at_most"]) if limit else "-",
            *(_count(drill, what) for what in ("lost", "doubled")),
            show(drill["healthy_after"]["median"]),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _count(drill: Mapping[str, Any], what: str) -> str:
    count = _total(drill, what)
    return "not counted" if count is None else f"{count}"


def _gap_limit(drill: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((limit for limit in drill["limits"] if limit["name"] == f"gap.{drill['main']}"), None)


# --- pictures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """How a picture calls what was done at its second 0, and its end."""

    begin: str
    end: str


DRILL = Words("the fault", "healed")


def headline(entry: Mapping[str, Any]) -> str:
    """Say the figure that matters: how long the drill's main client got no answer, and what was lost."""
    main = main_client(entry)
    if main is None:
        return str(entry["title"])
    seconds = entry["gaps"].get(main, {}).get("seconds")
    if seconds is None:
        stood = f"{NAMES[main]} never came back"
    elif seconds < 1:
        stood = f"{NAMES[main]} went on, longest gap {show(seconds)}"
    else:
        stood = f"{NAMES[main]} stood still for {show(seconds)}"
    counts = [ledger["lost"] for ledger in entry["ledgers"].values()]
    if not counts:
        return stood
    lost = f"{sum(counts)} acknowledged and lost" if sum(counts) else "nothing acknowledged was lost"
    return f"{stood}, {lost}"


def picture(
    events: analysis.Events,
    entry: Mapping[str, Any],
    *,
    round_name: str = "",
    heading: str = "",
    words: Words = DRILL,
) -> str:
    """Draw a drill's time line as SVG: what each client got per quarter of a second, and who was in office.

    The heading is the drill's headline unless one is given.
    """
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "svg.hashsalt": f"{round_name}/{entry['drill']}",
        "svg.fonttype": "path",
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.6,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.labelcolor": INK,
    }
    with rc_context(settings):
        heading = heading or headline(entry)
        return _svg(_figure(events, entry, round_name, heading, words), f"{entry['title']}: {heading}")


def _svg(figure: Figure, label: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label, quote=True)}" ', 1)


def _figure(events: analysis.Events, entry: Mapping[str, Any], round_name: str, heading: str, words: Words) -> Figure:
    zero = analysis.origin(events)
    clients = [client for client in analysis.CLIENTS if analysis.attempts_of(events, client)]
    offices = {
        what: sorted({sample["host"] for sample in analysis.samples_of(events, what)})
        for what in ("postgresql", "redis")
    }
    offices = {what: hosts for what, hosts in offices.items() if hosts}
    low, high = _extent(events, zero)
    heights = [0.78] * len(clients) + [0.17 * len(hosts) + 0.06 for hosts in offices.values()]
    spaces = 0.36 * (len(heights) - 1)
    rows = _rows_of_marks(events, zero, low, high, words)
    top = 0.74 + 0.19 * (max((mark[-1] for mark in rows), default=-1) + 1) + 0.30
    bottom = 0.50
    height = top + sum(heights) + spaces + bottom
    width = 9.375
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasSVG(figure)
    left, right = 0.62 / width, 1 - 0.18 / width

    figure.text(0.18 / width, 1 - 0.14 / height, heading, size=12.5, weight="bold", va="top")
    under = entry["title"] + (f" · round {round_name}" if round_name else "")
    figure.text(0.18 / width, 1 - 0.42 / height, _cut(under, 75), size=9, color=FAINT, va="top")

    key = "below the line: failed attempts · shaded: longest gap"
    figure.text(right, 1 - 0.42 / height, key, size=8.5, color=FAINT, va="top", ha="right")

    axes: list[Axes] = []
    above = top
    for number, tall in enumerate(heights):
        axis = figure.add_axes((left, 1 - (above + tall) / height, right - left, tall / height))
        above += tall + 0.36
        axis.set_xlim(low, high)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(length=2.5, width=0.6)
        if number < len(heights) - 1:
            axis.tick_params(labelbottom=False)
        axis.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 5, 10], integer=True))
        axes.append(axis)
    for axis, client in zip(axes, clients, strict=False):
        _draw_client(axis, events, client, zero, low, high)
    for axis, (what, hosts) in zip(axes[len(clients) :], offices.items(), strict=True):
        _draw_office(axis, events, what, hosts, entry)
    if axes:
        axes[-1].set_xlabel(f"seconds after {words.begin}" if analysis.mark(events, "fault") else "seconds", size=9)
        _draw_marks(figure, axes, rows, top, height)
    return figure


def _extent(events: analysis.Events, zero: float) -> tuple[float, float]:
    """Return where the picture begins and ends, relative to the fault: the load, the marks."""
    times = [e["at"] for e in events if e["kind"] == "mark"]
    times += [e[edge] for e in events if e["kind"] == "attempt" for edge in ("begin", "end")]
    low, high = (min(times) - zero, max(times) - zero) if times else (0.0, 1.0)
    load, end = analysis.mark(events, "load"), analysis.mark(events, "end", last=True)
    if load is not None:
        low = max(low, load - zero)
    if end is not None:
        last = max((e["end"] for e in events if e["kind"] == "attempt"), default=end)
        high = min(high, max(last, analysis.horizon(events)) - zero + 1)
    return low, max(high, low + 1)


def _draw_client(axis: Axes, events: analysis.Events, client: str, zero: float, low: float, high: float) -> None:
    """Draw what was answered upwards and what failed downwards, and shade the longest gap."""
    attempts = analysis.attempts_of(events, client)
    good = _binned([e["end"] - zero for e in attempts if e["ok"]], low, high)
    bad = _binned([e["end"] - zero for e in attempts if not e["ok"]], low, high)
    edges = [low + BIN * number for number in range(len(good) + 1)]
    # A burst (what waited is answered at once) must not flatten all the rest: three times the usual is the top.
    usual = sorted(value for value in good if value)[int(0.9 * sum(1 for value in good if value))] if any(good) else 1.0
    ceiling = min(max([*good, 1.0]), 1.7 * max(usual, 1.0))
    axis.stairs([min(value, ceiling) for value in good], edges, fill=True, color=COLOURS[client], zorder=2)
    floor = 0.0
    if any(bad):
        floor = -0.42 * ceiling
        worst = max(bad)
        shown = [-max(0.12, value / worst) * 0.36 * ceiling if value else 0.0 for value in bad]
        axis.stairs(shown, edges, fill=True, color=FAILED, zorder=2)
    axis.axhline(0, color=FAINT, linewidth=0.6, zorder=3)
    axis.set_ylim(floor, ceiling * 1.05)
    axis.spines["left"].set_bounds(0, ceiling * 1.05)
    axis.set_yticks([0, _nice(ceiling)])
    axis.tick_params(axis="y", labelsize=8)

    gap = analysis.gap(events, client)
    end = high if gap.end is None else gap.end
    axis.axvspan(max(low, gap.begin), end, color=SHADE, linewidth=0, zorder=1)
    ended = math.isfinite(gap.seconds)
    label = show(gap.seconds) if ended else f"none for the last {show(gap.at_least)}"
    if end - max(low, gap.begin) > (0.012 * len(label) + 0.02) * (high - low):
        middle = (max(low, gap.begin) + end) / 2
        axis.text(middle, ceiling * 0.5, label, ha="center", va="center", size=10, weight="bold", zorder=5)
    failed = sum(1 for e in attempts if not e["ok"])
    axis.set_title(LANES[client], loc="left", size=9, weight="bold", pad=4)
    _two_tone(
        axis, f"longest gap {label}" if ended else label, f"{failed} of {len(attempts)} attempts failed", failed > 0
    )


def _two_tone(axis: Axes, first: str, second: str, marked: bool) -> None:
    """Write a lane's figures right above it; those about failures in the colour of the failures."""
    box: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "ha": "right",
        "va": "baseline",
        "size": 9,
    }
    text = axis.annotate(second, (1, 1), xytext=(0, 4), color="#A84300" if marked else INK, **box)
    axis.annotate(f"{first}  ·  ", (0, 0), xytext=(0, 0), xycoords=text, ha="right", va="bottom", size=9)


def _draw_office(
    axis: Axes, events: analysis.Events, what: str, hosts: Sequence[str], entry: Mapping[str, Any]
) -> None:
    """Draw a row a host: thick while it was in office, thin while it followed, nothing while it did not answer."""
    zero = analysis.origin(events)
    word = "primary" if what == "postgresql" else "master"
    rows = {host: len(hosts) - 1 - number for number, host in enumerate(hosts)}
    samples = analysis.samples_of(events, what)
    for host, row in rows.items():
        own = [s for s in samples if s["host"] == host]
        for begin, end in _stretches([s for s in own if _follows(s, what)], zero, _period(own)):
            axis.plot([begin, end], [row, row], color="#B5B5B5", linewidth=1.6, solid_capstyle="butt", zorder=2)
    period = max((_period([s for s in samples if s["host"] == host]) for host in hosts), default=1.0)
    for tenure in analysis.tenures(events, what):
        width = max(tenure.end - tenure.begin, period / 2)
        axis.barh(rows[tenure.host], width, left=tenure.begin, height=0.72, color=COLOURS[what], zorder=3)
    for violation in entry["violations"]:
        if violation["what"] == what:
            for host in violation["hosts"]:
                width = max(violation["end"] - violation["begin"], period / 2)
                style: dict[str, Any] = {"facecolor": "none", "edgecolor": FAILED, "linewidth": 1.5, "zorder": 4}
                axis.barh(rows[host], width, left=violation["begin"], height=0.86, **style)
    axis.set_ylim(-0.6, len(hosts) - 0.4)
    axis.set_yticks([rows[host] for host in hosts], hosts, size=8)
    axis.tick_params(axis="y", length=0)
    axis.set_title(f"{NAMES[what]}: {word}", loc="left", size=9, weight="bold", pad=4)
    breaches = [v for v in entry["violations"] if v["what"] == what]
    note = f"{len(breaches)} x two at once (framed)" if breaches else f"bar: {word} · line: replica · blank: no answer"
    axis.set_title(note, loc="right", size=8.5, pad=4, color="#A84300" if breaches else FAINT)


def _follows(sample: analysis.Event, what: str) -> bool:
    return sample.get("recovery") is True if what == "postgresql" else sample.get("role") == "slave"


def _period(samples: Sequence[analysis.Event]) -> float:
    """Return how long it usually is from one sample of a host to the next, seconds."""
    begins = sorted(s["begin"] for s in samples)
    steps = sorted(b - a for a, b in itertools.pairwise(begins))
    return float(steps[len(steps) // 2]) if steps else 1.0


def _stretches(samples: Sequence[analysis.Event], zero: float, period: float) -> list[tuple[float, float]]:
    """Join samples that follow each other without a gap."""
    found: list[tuple[float, float]] = []
    for sample in samples:
        begin, end = sample["begin"] - zero, sample["end"] - zero
        if found and begin - found[-1][1] <= 2.5 * period:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _binned(times: Iterable[float], low: float, high: float) -> list[float]:
    """Count per quarter of a second, given per second."""
    bins = [0.0] * max(1, math.ceil((high - low) / BIN))
    for time in times:
        number = int((time - low) / BIN)
        if 0 <= number < len(bins):
            bins[number] += 1 / BIN
    return bins


def _nice(value: float) -> int:
    """Return the greatest round number that is not above a value."""
    step = 10 ** max(0, math.floor(math.log10(max(value, 1))))
    return int(max(1, value // step * step))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _rows_of_marks(
    events: analysis.Events, zero: float, low: float, high: float, words: Words
) -> list[tuple[float, str, str, bool, int]]:
    """Place the marks' labels in as few rows as keep them apart: (time, name, text, to the left, row)."""
    placed = []
    for event in sorted((e for e in events if e["kind"] == "mark"), key=lambda e: e["at"]):
        at = event["at"] - zero
        if event["name"] not in MARKS or not low <= at <= high:
            continue
        called = {"fault": "", "healed": f"{words.end}: ", "healthy": "healthy again"}[event["name"]]
        said = event.get("text", "") if event["name"] != "healthy" else ""
        text = _cut(f"{called}{said}".strip().removesuffix(":") or event["name"], 62)
        text += f" ({at:+.1f} s)"
        length = 0.0083 * (len(text) + 1) * (high - low)
        leftward = at + length > high
        placed.append((at, event["name"], text, leftward, (at - length, at) if leftward else (at, at + length)))

    def cost(rows: Sequence[int]) -> tuple[int, int, int]:
        """Count labels that lie on each other, labels that a line from a label above crosses, and rows."""
        on_each_other = crossed = 0
        for (mine, row), (other, its) in itertools.permutations(list(zip(placed, rows, strict=True)), 2):
            on_each_other += row == its and mine[4][0] < other[4][1] and other[4][0] < mine[4][1]
            crossed += its < row and mine[4][0] < other[0] < mine[4][1]
        return on_each_other, crossed, sum(rows)

    count = len(placed)
    # Five labels are 3125 ways to try; more of them get a row each.
    best = min(itertools.product(range(count), repeat=count), key=cost) if count <= 5 else tuple(range(count))
    return [(*mark[:4], row) for mark, row in zip(placed, best, strict=True)]


def _draw_marks(
    figure: Figure, axes: Sequence[Axes], rows: Sequence[tuple[float, str, str, bool, int]], top: float, height: float
) -> None:
    """Draw each mark's line through all lanes up to its label above them."""
    deepest = max((mark[-1] for mark in rows), default=0)
    low, high = axes[0].get_xlim()
    box = axes[0].get_position()
    for at, name, text, leftward, row in rows:
        x = box.x0 + (at - low) / (high - low) * (box.x1 - box.x0)
        y = 1 - (top - 0.30 - 0.19 * (deepest - row)) / height
        halo = [withStroke(linewidth=2.6, foreground="white")]
        style: dict[str, Any] = {
            "color": MARKS[name],
            "linewidth": 1.1,
            "linestyle": (0, (4, 2)),
            "path_effects": halo,
        }
        # Not through the lanes' titles: they are to be read.
        figure.add_artist(Line2D([x, x], [box.y1 + 0.20 / height, y + 0.008], **style))
        for axis in axes:
            axis.axvline(at, zorder=4.5, **style)
        shift = -3 if leftward else 3
        figure.text(
            x + shift / 72 / figure.get_figwidth(),
            y,
            text,
            ha="right" if leftward else "left",
            va="center_baseline",
            size=9,
            color={"fault": "#A84300"}.get(name, MARKS[name]),
        )


# --- the page --------------------------------------------------------------------------------------------------------

STYLE = """
body{font:15px/1.45 system-ui,"DejaVu Sans",sans-serif;color:#1a1a1a;background:#fff;max-width:1080px;margin:2em auto;
padding:0 1em}
h1{font-size:1.6em}h2{font-size:1.25em;margin-top:2.4em;border-top:1px solid #ccc;padding-top:1em}h3{font-size:1em}
table{border-collapse:collapse;width:100%;margin:.6em 0 1.2em;font-size:.9em}
th,td{text-align:left;vertical-align:top;padding:.32em .6em;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;white-space:nowrap}th{border-bottom:2px solid #999}
.yes{color:#00664b;font-weight:600}.no{color:#a84300;font-weight:600}.faint{color:#666}
svg{width:100%;height:auto;max-width:1000px;display:block;margin:.5em 0 1.5em}
"""


def page(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Make the page: `pictures` has the SVG text by the path that the report knows it by."""
    title = "What happens when servers die"
    around = [f"{name}: {value}" for name, value in (*report["machine"].items(), *report["settings"].items())]
    rounds = f"{len(report['rounds'])} rounds" if len(report["rounds"]) != 1 else "one round"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>",
        f"<p>Servers are killed, cut off and rolled under load; {rounds}. A <em>gap</em> is the longest time from one "
        "acknowledged answer of a client to its next one. A limit holds for each round, an aim for the median.</p>",
        f'<p class="faint">{_e(" · ".join(around))}<br>made {_e(report["generated"])}</p>',
        _summary(report["drills"]),
    ]
    parts += [_section(drill, pictures) for drill in report["drills"]]
    return "\n".join([*parts, "</body></html>\n"])


def _summary(drills: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for drill in drills:
        main, limit = drill["main"], _gap_limit(drill)
        found = drill["gaps"].get(main)
        rows.append(
            [
                f'<a href="#{_e(drill["drill"])}">{_e(drill["title"])}</a>',
                f"{NAMES[main]} {show(found['median'])} / {show(found['worst'])}" if found else "-",
                show(limit["at_most"]) if limit else "-",
                show(limit["aim"]) if limit and limit["aim"] is not None else "-",
                *(_zero(_count(drill, what)) for what in ("lost", "doubled")),
                _zero(str(len(drill["violations"]))),
                show(drill["healthy_after"]["median"]),
                _passed(drill["passed"]) if drill["limits"] else "not judged",
            ]
        )
    head = "What was done|#Gap: median / worst|#Limit|#Aim|#Lost|#Doubled|#Violations|#Healthy after|Passed"
    return _table(head, rows)


def _section(drill: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    parts = [f'<h2 id="{_e(drill["drill"])}">{_e(drill["title"])}</h2>']
    if drill["description"]:
        parts.append(f"<p>{_e(drill['description'])}</p>")
    if drill["settings"]:
        parts.append(f'<p class="faint">Settings: {_e(_settings(drill["settings"]))}</p>')
    for violation in drill["violations"]:
        parts.append(f'<p class="no">Round {_e(violation["round"])}: {_e(violation["text"])}</p>')
    if drill["limits"]:
        head = "Measure|#Each round|#Median|#At most|#Aim|Passed"
        parts.append(_table(head, [_limit_row(limit) for limit in drill["limits"]]))
    rows = [
        [
            NAMES[client],
            " · ".join(show(value) for value in drill["gaps"][client]["measured"]),
            *(_shares(drill, client, window) for window in ("before", "first", "after")),
            *(_latencies(drill, client, window) for window in ("before", "during")),
            *(_ledger(drill, client, what) for what in ("acknowledged", "lost", "doubled")),
        ]
        for client in drill["gaps"]
    ]
    first = f"{analysis.FIRST:g} s"
    head = (
        f"Client|#Longest gap|#Failed before|#First {first}|#After {first}|#p99 before, ms|#p99 from the fault on, ms"
        "|#Acknowledged|#Lost|#Doubled"
    )
    parts.append(_table(head, rows))
    for note in drill["notes"]:
        parts.append(f'<p class="faint">Round {_e(note["round"])}: {_e(note["text"])}.</p>')
    parts += [pictures[path] for path in drill["pictures"].values() if path in pictures]
    return "\n".join(parts)


def _limit_row(limit: Mapping[str, Any]) -> list[str]:
    unit = limit["unit"]
    aim = "-" if limit["aim"] is None else f"{show(limit['aim'], unit)}{'' if limit['aim_met'] else ' (missed)'}"
    measured = " · ".join(show(value, unit) for value in limit["measured"])
    median, most = show(limit["median"], unit), show(limit["at_most"], unit)
    return [_e(limit["title"]), measured, median, most, aim, _passed(limit["passed"])]


def _shares(drill: Mapping[str, Any], client: str, window: str) -> str:
    """Give failed of attempted, all rounds together."""
    found = [clients[client][window] for clients in drill["failures"].values() if client in clients]
    failed, attempts = sum(f["failed"] for f in found), sum(f["attempts"] for f in found)
    errors: dict[str, int] = {}
    for text, count in (error for f in found for error in f["errors"]):
        errors[text] = errors.get(text, 0) + count
    said = "; ".join(f"{count} x {text}" for text, count in sorted(errors.items(), key=lambda e: -e[1]))
    return f'<span title="{_e(said)}">{failed} of {attempts}</span>'


def _latencies(drill: Mapping[str, Any], client: str, window: str) -> str:
    found = [clients[client][window]["p99"] for clients in drill["latency_ms"].values() if client in clients]
    return " · ".join("-" if value is None else f"{value:.0f}" for value in found)


def _ledger(drill: Mapping[str, Any], client: str, what: str) -> str:
    ledger = drill["ledgers"].get(client)
    return "-" if ledger is None else f"{ledger[what]}" if what == "acknowledged" else _zero(f"{ledger[what]}")


def _zero(count: str) -> str:
    return count if count in {"0", "not counted"} else f'<span class="no">{count}</span>'


def _passed(passed: bool) -> str:
    return '<span class="yes">yes</span>' if passed else '<span class="no">no</span>'


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """Make a table; the columns whose heading begins with # are figures. The cells are HTML."""
    columns = head.split("|")
    kinds = [' class="n"' if column.startswith("#") else "" for column in columns]
    titles = "".join(f"<th{k}>{_e(c.lstrip('#'))}</th>" for k, c in zip(kinds, columns, strict=True))
    body = ("".join(f"<td{k}>{cell}</td>" for k, cell in zip(kinds, row, strict=True)) for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table>"


def _e(text: str) -> str:
    return html.escape(str(text))


def write(root: Path) -> dict[str, Any]:
    """Make `report.json`, `index.html` and a picture of each drill and round from what is stored; return the report."""
    by_round = entries(root)
    report = collect(root, by_round)
    pictures = {}
    for round_name, drills in by_round.items():
        for drill, entry in drills.items():
            events, path = root / round_name / f"{drill}.jsonl", root / round_name / f"{drill}.svg"
            if events.exists():
                path.write_text(picture(load_events(events), entry, round_name=round_name), encoding="utf-8")
            if path.exists():
                pictures[f"{round_name}/{drill}.svg"] = path.read_text(encoding="utf-8")
    (root / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (root / "index.html").write_text(page(report, pictures), encoding="utf-8")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Make report and page again; print the table."""
    parser = argparse.ArgumentParser(description="Make the resilience report from the stored drills.")
    parser.add_argument("directory", type=Path, help="where the drills are stored, as build/resilience")
    root = parser.parse_args(arguments).directory
    report = write(root)
    print(markdown(report), end="")
    print(f"\n{root / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
