"""Where the time of a case goes: the functions that take most of it themselves."""

import asyncio
import cProfile
import pstats
import time
from pathlib import Path

from benchmarks.case import Case
from benchmarks.environments import OURS
from benchmarks.subjects.worker import difference, function_of

ENOUGH_S = 1.0
MOST = 14
WAITING = (
    "<method 'poll' of 'select.epoll' objects>",
    "<method 'control' of 'select.kqueue' objects>",
    "<built-in method select.select>",
)


def profile(case: Case) -> str:
    """Run our work of the case under `cProfile` for about a second and give a Markdown table of its own time.

    The profiler makes calls of Python functions dearer than what is written in C: the shares are rough.
    """
    module, work = function_of(OURS.module, case.ours.function)
    assert work is not None
    profiler = cProfile.Profile()

    is_on = False

    def switch() -> float:
        """Read at the beginning and at the end of what is measured."""
        nonlocal is_on
        is_on = not is_on
        (profiler.enable if is_on else profiler.disable)()
        return 0.0

    async def main() -> None:
        # Once without, as the first time is not like the others.
        await difference(time.process_time, work, case.ours.params)
        while not (stats := profiler.getstats()) or sum(entry.inlinetime for entry in stats) < ENOUGH_S:
            await difference(switch, work, case.ours.params)

    with asyncio.Runner() as runner:
        runner.run(module.inside_context(main()))
    stats = pstats.Stats(profiler)
    found = stats.stats.items()  # pyright: ignore[reportAttributeAccessIssue]
    # The profiler's clock is that on the wall: waiting for the network would count.
    rows = sorted((item for item in found if item[0][2] not in WAITING), key=lambda item: -item[1][2])
    total = sum(own for _, (_, _, own, _, _) in rows)
    lines = [f"Own time in `{case.name}`:", "", "| share | calls | function |", "| ---: | ---: | --- |"]
    for (file, line, function), (_, calls, own, _, _) in rows[:MOST]:
        lines.append(f"| {own / total:.1%} | {calls:,} | `{_place(file, line)}{function}` |")
    return "\n".join(lines) + "\n"


def _place(file: str, line: int) -> str:
    # Functions written in C have no place.
    return "" if not line else f"{Path(file).stem}."
