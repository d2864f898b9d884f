"""Showing what was measured: a table of Markdown, and JSON."""

import datetime
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import Case, duration
from benchmarks.measuring import Row

HEAD = ("case", "ours", "compared with", "ratio", "target", "holds?", "the others, times ours")


def cost(row: Row, name: str) -> str:
    """Give a value with its unit."""
    if name not in row.values:
        return "-"
    value = row.median(name)
    match row.case.unit:
        case "us":
            return f"{value * 1e3:.1f} ms" if value >= 0.01 else f"{value * 1e6:.3g} us"
        case "wall":
            return duration(value)
        case "bytes":
            return f"{value:,.0f} B"
        case "part":
            return f"{value:.1%}"
        case "tasks" | "objects":
            return f"{value:g}"


def cells(row: Row) -> tuple[str, ...]:
    """Give the row of the table."""
    name, ratio, case = row.compared_with, row.ratio, row.case
    compared = f"{cost(row, name)} {name}" if name else ", ".join(f"no {work.name}" for work in case.against)
    shown = "" if ratio is None or not case.against else f"{ratio:.3g}"
    verdict = {True: "yes", False: "**no**", None: "" if case.target is None else "not measured"}[row.holds]
    rest = [work.name for work in (*case.against, *case.others) if work.name != name]
    return (case.name, cost(row, case.ours.name), compared, shown, case.target_text, verdict, _others(row, rest))


def _others(row: Row, names: Sequence[str]) -> str:
    shown: list[str] = []
    for name in names:
        if name not in row.values:
            continue
        if row.case.unit in ("us", "wall", "bytes") and row.median(row.case.ours.name):
            shown.append(f"{name} {row.times_ours(name):.2g}")
        else:
            shown.append(f"{name}: {cost(row, name)}")
    return ", ".join(shown)


def line(row: Row) -> str:
    """Give the row as a line for the terminal."""
    name, ours, compared, ratio, target, verdict, others = cells(row)
    return f"{name:24} {ours:>9}  {compared:32} {ratio:>6}  {target:14} {verdict.strip('*'):4} {others}"


def environment(versions: dict[str, str], rounds: int, loop: str) -> dict[str, Any]:
    """Give what the figures depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "event_loop": loop,
        "rounds": rounds,
        "versions": versions,
    }


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Give the whole report as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['date']}, Python {about['python']}, {about['event_loop']}, {about['system']}, medians of "
        f"{about['rounds']} rounds. Versions: {versions}.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{' --- |' * len(HEAD)}",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
    ]
    reasons = {name: why for row in rows for name, why in row.missing.items() if why != "has no such case"}
    if reasons:
        lines += ["", "Not measured: " + "; ".join(f"{name}: {why}" for name, why in sorted(reasons.items())) + "."]
    return "\n".join(lines) + "\n"


def put_between_marks(path: Path, name: str, text: str) -> None:
    """Put the text into a file, between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ValueError: the file has no such lines.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    content = path.read_text(encoding="utf-8")
    if begin not in content or end not in content.partition(begin)[2]:
        raise ValueError(f"`{path}` has no place for the table: write {begin.strip()!r} and {end!r} where it belongs.")
    before, _, rest = content.partition(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def descriptions(cases: Sequence[Case]) -> str:
    """Give the table of what each case does."""
    lines = [f"| `{case.name}` | {case.what} | {case.target_text} |" for case in cases]
    return "\n".join(["| case | what is done | target |", "| --- | --- | --- |", *lines]) + "\n"


def as_json(rows: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
    """Give everything that was measured."""
    return {**about, "cases": [_row_as_json(row) for row in rows]}


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "what": row.case.what,
        "unit": {"us": "CPU seconds", "wall": "seconds on the clock on the wall"}.get(row.case.unit, row.case.unit),
        "compared_with": row.compared_with,
        "ratio": row.ratio,
        "target": row.case.target_text,
        "holds": row.holds,
        "medians": {name: statistics.median(values) for name, values in row.values.items()},
        "rounds": row.values,
        "missing": row.missing,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write the JSON file."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
