"""Measuring the cases: rounds in which everything that is compared takes its turn."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.case import Case, Work
from benchmarks.processes import NotMeasuredError, SubjectProcess

ENOUGH_S = 0.15
"""CPU seconds of work per measurement, reached by repeating what is shorter."""


@dataclass
class Row:
    """What came of a case."""

    case: Case
    values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Per name of a work: its value in each round, per unit (seconds, or what the case counts)."""
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """Per name of a work that could not be measured: why."""

    def median(self, name: str) -> float:
        """Give the median of the rounds."""
        return statistics.median(self.values[name])

    @property
    def compared_with(self) -> str | None:
        """The name of what the ratio is taken to: the cheapest of those that were measured."""
        measured = [work.name for work in self.case.against if work.name in self.values]
        return min(measured, key=self.median, default=None)

    def times_ours(self, name: str) -> float:
        """How many times as much as ours another one costs: the median over the rounds."""
        pairs = zip(self.values[name], self.values[self.case.ours.name], strict=True)
        return statistics.median(other / own if own else float("inf") for other, own in pairs)

    @property
    def ratio(self) -> float | None:
        """The number that the target is about; `None` if there is nothing to compare with."""
        if self.case.ours.name not in self.values:
            return None
        if not self.case.against:
            return self.median(self.case.ours.name)
        if self.compared_with is None:
            return None
        if self.case.sense == "times faster":
            return self.times_ours(self.compared_with)
        pairs = zip(self.values[self.case.ours.name], self.values[self.compared_with], strict=True)
        return statistics.median(own / other for own, other in pairs)

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; `None` if there is none or nothing to judge by."""
        ratio, target = self.ratio, self.case.target
        if ratio is None or target is None:
            return None
        return ratio >= target if self.case.sense == "times faster" else ratio <= target


def measure(case: Case, processes: dict[str, SubjectProcess], absent: dict[str, str], rounds: int) -> Row:
    """Measure one case; `absent` tells of the subjects that are not there, and why.

    Raises:
        NotMeasuredError: our own work failed.
    """
    row = Row(case)
    works: list[tuple[Work, int]] = []
    for work in (case.ours, *case.against, *case.others):
        if work.subject not in processes:
            row.missing[work.name] = absent.get(work.subject, "left out")
            continue
        try:
            works.append((work, _repeats(case, work, processes[work.subject])))
        except NotMeasuredError as error:
            if work is case.ours:
                raise
            row.missing[work.name] = str(error)
    for number in range(rounds if case.unit in ("us", "wall", "part") else 1):
        # Every other round goes the other way round, so that nobody always comes after the same one.
        for work, repeats in works if number % 2 == 0 else reversed(works):
            try:
                value = processes[work.subject].call(work.function, repeats, clock=work.clock, **work.params)
            except NotMeasuredError as error:
                if work is case.ours:
                    raise
                row.missing[work.name] = str(error)
                row.values.pop(work.name, None)
            else:
                if work.name not in row.missing:
                    row.values.setdefault(work.name, []).append(value / work.units)
    return row


def _repeats(case: Case, work: Work, process: SubjectProcess) -> int:
    """Warm up, and find out how often to repeat the work so that it can be measured."""
    if case.unit not in ("us", "wall"):
        return 1
    value = process.call(work.function, 1, clock=work.clock, **work.params)
    # Whatever is not measured by its CPU time is long enough, or is repeated by itself.
    if case.unit == "wall":
        return 1
    # One import is enough: all that it needs was compiled by the first. The other repeats by itself what it waits for.
    if work.function in ("import_cost", "llm_first_token"):
        return 1
    return max(1, min(200, round(ENOUGH_S / max(value, 1e-6))))


def measure_all(
    cases: Iterable[Case],
    processes: dict[str, SubjectProcess],
    absent: dict[str, str],
    rounds: int,
    tell: Callable[[Row], Any],
) -> list[Row]:
    """Measure the cases one after another; `tell` is called with each row as it comes."""
    rows: list[Row] = []
    for case in cases:
        row = measure(case, processes, absent, rounds)
        tell(row)
        rows.append(row)
    return rows
