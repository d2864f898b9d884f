"""The cases of events, written with mojentic: agents that a dispatcher calls by the classes of the events.

A batch is as many events as there will be: with a smaller one it waits for a tenth of a second after each. Of its log
it shows nothing.
"""

import asyncio
import logging
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from mojentic.agents.base_async_agent import BaseAsyncAgent
from mojentic.async_dispatcher import AsyncDispatcher
from mojentic.event import Event
from mojentic.router import Router

logging.getLogger().setLevel(logging.ERROR)


class First(Event):
    number: int


class Second(Event):
    number: int


class Third(Event):
    number: int


class Outside:
    """Where the events come from."""


class FirstAgent(BaseAsyncAgent):
    def __init__(self, gate: asyncio.Event | None) -> None:
        self.gate = gate

    async def receive_event_async(self, event: Any) -> list[Event]:
        if self.gate is not None:
            await self.gate.wait()
        return [Second(source=FirstAgent, correlation_id=event.correlation_id, number=event.number)]


class SecondAgent(BaseAsyncAgent):
    async def receive_event_async(self, event: Any) -> list[Event]:
        return [Third(source=SecondAgent, correlation_id=event.correlation_id, number=event.number)]


class LastAgent(BaseAsyncAgent):
    """Does something with an event."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    async def receive_event_async(self, event: Any) -> list[Event]:
        result = self.work()
        if result is not None:
            await result
        return []


class Countdown:
    def __init__(self, count: int) -> None:
        self.left = count
        self.is_over = asyncio.Event()

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            self.is_over.set()


@asynccontextmanager
async def dispatching(router: Router, batch_size: int) -> AsyncIterator[AsyncDispatcher]:
    dispatcher = AsyncDispatcher(router, batch_size=batch_size)
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()


def three_hops(countdown: Countdown, gate: asyncio.Event | None = None) -> Router:
    router = Router()
    router.add_route(First, FirstAgent(gate))
    router.add_route(Second, SecondAgent())
    router.add_route(Third, LastAgent(countdown.step))
    return router


@contextmanager
def log_lines(*, cut_off: bool) -> Iterator[None]:
    """With `cut_off` a line that is not shown is no longer made, either: beyond what the package sets up for itself."""
    import mojentic.async_dispatcher as module

    original = module.logger
    if cut_off:
        quiet = structlog.make_filtering_bound_logger(logging.ERROR)
        module.logger = structlog.wrap_logger(logging.getLogger("quiet"), wrapper_class=quiet).bind()
    try:
        yield
    finally:
        module.logger = original


async def events_three_hops(events: int, *, logs: bool = True) -> AsyncIterator[None]:
    countdown = Countdown(events)
    with log_lines(cut_off=not logs):
        async with dispatching(three_hops(countdown), 3 * events) as dispatcher:
            yield
            for number in range(events):
                dispatcher.dispatch(First(source=Outside, number=number))
            await countdown.is_over.wait()
            yield


async def events_fan_out(handlers: int, each_s: float) -> float:
    countdown = Countdown(handlers)

    async def work() -> None:
        await asyncio.sleep(each_s)
        countdown.step()

    router = Router()
    for _ in range(handlers):
        router.add_route(First, LastAgent(work))
    async with dispatching(router, 3) as dispatcher:
        # It has looked for events once, and will do so again.
        await asyncio.sleep(0)
        began = time.perf_counter()
        dispatcher.dispatch(First(source=Outside, number=1))
        await countdown.is_over.wait()
        return time.perf_counter() - began


async def events_idle_latency(times: int) -> float:
    waited: list[float] = []
    handled = asyncio.Event()
    began = 0.0

    def work() -> None:
        waited.append(time.perf_counter() - began)
        handled.set()

    router = Router()
    router.add_route(First, LastAgent(work))
    async with dispatching(router, 3) as dispatcher:
        for number in range(times):
            await asyncio.sleep(random.Random(number).uniform(0, 0.1))
            handled.clear()
            began = time.perf_counter()
            dispatcher.dispatch(First(source=Outside, number=number))
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
    gate, countdown = asyncio.Event(), Countdown(events)
    gap = WorstGap()
    async with dispatching(three_hops(countdown, gate), 3 * events) as dispatcher:
        watch = asyncio.create_task(gap.watch())
        for number in range(events):
            dispatcher.dispatch(First(source=Outside, number=number))
            if number % 100 == 99:
                await asyncio.sleep(0)
        assert countdown.left == events
        gate.set()
        await countdown.is_over.wait()
        # The batch ends, and gives the loop back, only after the last agent.
        await asyncio.sleep(0)
        watch.cancel()
    return gap.worst
