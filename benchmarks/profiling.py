"""Where the time of a case goes: the functions that take most of it themselves."""

import asyncio
import cProfile
import pstats
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.subjects import on_miniagents

ENOUGH_S = 1.0
MOST = 14


def profile(case: Case) -> str:
    """Run our work of the case under `cProfile` for about a second and give a Markdown table of its own time.

    The profiler makes calls of Python functions dearer than what is written in C: the shares are rough.
    """
    profiler = cProfile.Profile()

    async def main() -> None:
        work = getattr(on_miniagents, case.ours.function)
        # Once without, as the first time is not like the others.
        await work(**case.ours.params)
        while not (stats := profiler.getstats()) or sum(entry.inlinetime for entry in stats) < ENOUGH_S:
            profiler.enable()
            await work(**case.ours.params)
            profiler.disable()

    with asyncio.Runner() as runner:
        runner.run(on_miniagents.inside_context(main()))
    stats = pstats.Stats(profiler)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])  # pyright: ignore[reportAttributeAccessIssue]
    total = stats.total_tt  # pyright: ignore[reportAttributeAccessIssue]
    lines = [f"Own time in `{case.name}`:", "", "| share | calls | function |", "| ---: | ---: | --- |"]
    for (file, line, function), (_, calls, own, _, _) in rows[:MOST]:
        lines.append(f"| {own / total:.1%} | {calls:,} | `{_place(file, line)}{function}` |")
    return "\n".join(lines) + "\n"


def _place(file: str, line: int) -> str:
    # Functions written in C have no place.
    return "" if not line else f"{Path(file).stem}."
