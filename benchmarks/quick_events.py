"""What the quick variant counts of events."""

import asyncio
import gc
import sys
from typing import Any

from benchmarks.counting import CountingLoop, Counts
from benchmarks.subjects import on_miniagents_events as subject
from miniagents.events import EventBus, HandlerContext


def counted_hops(events: int) -> Counts:
    """Give what a loop does for each event that goes over three hops."""
    loop = CountingLoop()

    async def main() -> Counts:
        hops = subject.ThreeHops(events)
        async with hops.bus as bus:
            before = loop.counts()
            for number in range(events):
                bus.emit(subject.First(number=number))
            await hops.all_are_through.wait()
            return loop.counts().less(before)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(subject.inside_context(main()))


def steps_per_event() -> float:
    """How many steps of the loop an event over three hops takes, of 1,000 at once."""
    return counted_hops(1000).steps / 1000


def tasks_per_event() -> float:
    """How many tasks are made for it."""
    return counted_hops(1000).tasks / 1000


def handlers_held_back() -> float:
    """How many of 100 handlers of one event do not begin while the others wait."""

    async def count() -> int:
        bus = EventBus()
        begun = 0
        release = asyncio.Event()

        for _ in range(100):

            @bus.on(subject.First)
            async def handler(ctx: HandlerContext, event: subject.First) -> None:
                nonlocal begun
                begun += 1
                await release.wait()

        async with bus:
            bus.emit(subject.First(number=1))
            # They double with each step.
            for _ in range(50):
                await asyncio.sleep(0)
            together = begun
            release.set()
        return 100 - together

    return float(asyncio.run(count()))


def steps_to_idle_handler() -> float:
    """How many steps of the loop are between `emit` and the handler, where nothing else is to be done."""
    loop = CountingLoop()

    async def main() -> int:
        bus = EventBus()
        handled = asyncio.Event()
        steps = 0

        @bus.on(subject.First)
        async def handler(ctx: HandlerContext, event: subject.First) -> None:
            nonlocal steps
            steps = loop.steps
            handled.set()

        async with bus:
            before = loop.steps
            bus.emit(subject.First(number=1))
            await handled.wait()
            return steps - before

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(subject.inside_context(main()))


def blocks_kept_per_flow() -> float:
    """How many blocks of memory a finished flow leaves behind, of 2,000, when the trace is full."""

    async def count() -> float:
        hops = subject.ThreeHops(3000, max_trace_events=100)

        async def finish(flows: int) -> int:
            for number in range(flows):
                await bus.emit(subject.First(number=number))
            gc.collect()
            return sys.getallocatedblocks()

        async with hops.bus as bus:
            before = await finish(1000)
            return (await finish(2000) - before) / 2000

    return asyncio.run(_inside(count()))


async def _inside(coroutine: Any) -> Any:
    async with subject.MiniAgents():
        return await coroutine
