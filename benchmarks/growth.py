"""How the cost of one thing grows with their number: measured at a few sizes, to be drawn."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.case import PUBLISHED, Work
from benchmarks.processes import NotMeasuredError, SubjectProcess

GROWTH_ROUNDS = 3
"""Fewer than for the table: a picture shows powers of ten."""


@dataclass(frozen=True)
class Growth:
    """One picture: a cost per unit (in microseconds of CPU) against a size."""

    title: str
    axis: str
    sizes: tuple[int, ...]
    lines: dict[str, Callable[[int], Work]]
    """Per name of a line: the work of one size."""


def _lines(function: str, parameter: str, floor: str, **more: Any) -> dict[str, Callable[[int], Work]]:
    def line(subject: str) -> Callable[[int], Work]:
        return lambda size: Work(subject, function, {parameter: size, **more}, size)

    return {"miniagents": line("ours"), **({floor: line("floor")} if floor else {}), **{n: line(n) for n in PUBLISHED}}


def _dialog(subject: str) -> Callable[[int], Work]:
    return lambda turn: Work(subject, "dialog_turn", {"turn": turn, "times": 2})


def _chain(subject: str, function: str) -> Callable[[int], Work]:
    return lambda depth: Work(subject, function, {"tokens": 300, "depth": depth, "burst": 1}, 300 * depth)


GROWTHS: tuple[Growth, ...] = (
    Growth(
        "a token through a chain of agents that restream",
        "agents; us per token and agent",
        (1, 3, 10, 30),
        {
            "miniagents": _chain("ours", "restream"),
            "tasks and queues": _chain("floor", "restream"),
            "async generators": _chain("floor", "restream_generators"),
            **{name: _chain(name, "restream") for name in PUBLISHED},
        },
    ),
    Growth(
        "a trivial call, many at once",
        "calls at once; us per call",
        (10, 100, 1000, 5000),
        _lines("calls_at_once", "calls", "bare tasks"),
    ),
    Growth(
        "a message of one long reply",
        "messages; us per message",
        (10, 100, 1000, 10000),
        _lines("reply_of_messages", "messages", ""),
    ),
    Growth(
        "a turn of a dialog that sends its whole history",
        "turn; us per turn",
        (50, 100, 200, 400, 800),
        {"miniagents": _dialog("ours"), **{name: _dialog(name) for name in PUBLISHED}},
    ),
)


def measure_growth(processes: dict[str, SubjectProcess], rounds: int) -> list[dict[str, Any]]:
    """Measure all pictures; gives for each its texts and, per line, pairs of size and median cost."""
    return [_measured(growth, processes, rounds) for growth in GROWTHS]


def _measured(growth: Growth, processes: dict[str, SubjectProcess], rounds: int) -> dict[str, Any]:
    values: dict[str, dict[int, list[float]]] = {}
    for number in range(rounds + 1):
        for name, work_of in growth.lines.items():
            for size in growth.sizes:
                cost = _cost(work_of(size), processes)
                # The first round warms up.
                if cost is not None and number > 0:
                    values.setdefault(name, {}).setdefault(size, []).append(cost)
    lines = {name: [[size, statistics.median(costs)] for size, costs in line.items()] for name, line in values.items()}
    return {"title": growth.title, "axis": growth.axis, "lines": lines}


def _cost(work: Work, processes: dict[str, SubjectProcess]) -> float | None:
    if work.subject not in processes:
        return None
    try:
        return processes[work.subject].call(work.function, 1, **work.params) / work.units * 1e6
    except NotMeasuredError:
        return None


def drawable(pictures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the pictures in which there is something."""
    return [picture for picture in pictures if picture["lines"]]
