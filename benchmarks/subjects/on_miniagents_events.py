"""The cases of events, written with this package."""

import asyncio
import gc
import random
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from miniagents import MiniAgents
from miniagents.events import Event, EventBus, HandlerContext


class First(Event):
    number: int


class Second(Event):
    number: int


class Third(Event):
    number: int


def inside_context(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    return MiniAgents().arun(coroutine)


class ThreeHops:
    """A bus on which two events follow from each emitted one, and that tells when so many have come to their end."""

    def __init__(self, events: int, gate: asyncio.Event | None = None, **settings: Any) -> None:
        self.bus = bus = EventBus(max_pending=events, **settings)
        self.all_are_through = asyncio.Event()
        self.left = events

        @bus.on(First)
        async def first(ctx: HandlerContext, event: First) -> None:
            if gate is not None:
                await gate.wait()
            ctx.reply(Second(number=event.number))

        @bus.on(Second)
        async def second(ctx: HandlerContext, event: Second) -> None:
            ctx.reply(Third(number=event.number))

        @bus.on(Third)
        async def third(ctx: HandlerContext, event: Third) -> None:
            self.left -= 1
            if not self.left:
                self.all_are_through.set()


async def events_three_hops(events: int) -> AsyncIterator[None]:
    hops = ThreeHops(events)
    async with hops.bus as bus:
        yield
        for number in range(events):
            bus.emit(First(number=number))
        await hops.all_are_through.wait()
        yield


async def events_fan_out(handlers: int, each_s: float) -> float:
    """The time on the clock on the wall until all handlers of one event are done."""
    bus = EventBus()
    left = handlers
    done = asyncio.Event()

    for _ in range(handlers):

        @bus.on(First)
        async def handler(ctx: HandlerContext, event: First) -> None:
            nonlocal left
            await asyncio.sleep(each_s)
            left -= 1
            if not left:
                done.set()

    async with bus:
        began = time.perf_counter()
        bus.emit(First(number=1))
        await done.wait()
        return time.perf_counter() - began


async def events_idle_latency(times: int) -> float:
    """The median on the clock on the wall."""
    bus = EventBus()
    waited: list[float] = []
    handled = asyncio.Event()
    began = 0.0

    @bus.on(First)
    async def handler(ctx: HandlerContext, event: First) -> None:
        waited.append(time.perf_counter() - began)
        handled.set()

    async with bus:
        for number in range(times):
            # At any moment, as the others look for events at fixed ones.
            await asyncio.sleep(random.Random(number).uniform(0, 0.1))
            handled.clear()
            began = time.perf_counter()
            bus.emit(First(number=number))
            await handled.wait()
    return statistics.median(waited)


class WorstGap:
    """The longest time between two turns of something that wants to have its turn all the time."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.worst = max(self.worst, now - last)
            last = now


async def events_worst_gap(events: int) -> float:
    """While so many events are emitted, a hundred at a time, held up so that all are live, and let go."""
    gate = asyncio.Event()
    hops = ThreeHops(events, gate)
    gap = WorstGap()
    async with hops.bus as bus:
        watch = asyncio.create_task(gap.watch())
        flows: list[Any] = []
        for number in range(events):
            flows.append(bus.emit(First(number=number)))
            if number % 100 == 99:
                await asyncio.sleep(0)
        assert hops.left == len(flows) == events
        gate.set()
        await hops.all_are_through.wait()
        watch.cancel()
    return gap.worst


async def events_kept_bytes(flows: int) -> float:
    """What is there after so many finished flows that was not there after the first tenth."""
    hops = ThreeHops(flows + flows // 10)

    async def finish(count: int) -> None:
        for number in range(count):
            await bus.emit(First(number=number))

    async with hops.bus as bus:
        tracemalloc.start()
        await finish(flows // 10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await finish(flows)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert not hops.left
    return kept
