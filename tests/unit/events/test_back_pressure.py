"""A full bus says so, or lets publishers wait; what handlers reply with is always taken."""

import asyncio
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import BusStoppedError, EventBus, QueueFullError
from tests.unit.events.some_events import Number, Text, task_switches


async def test_a_full_bus_refuses_what_is_emitted_and_says_what_to_do(mini_agents: MiniAgents) -> None:
    async with EventBus(max_pending=3) as bus:
        bus.on(Number)(nothing)
        for n in range(3):
            bus.emit(Number(n=n))

        with pytest.raises(QueueFullError, match=r"`max_pending=3`.*`await bus.publish\(event\)`"):
            bus.emit(Number(n=3))

    assert bus.stats.handled == 3


async def test_publishing_waits_for_room_in_order(mini_agents: MiniAgents) -> None:
    release, handled, most = asyncio.Event(), [], 0
    async with EventBus(max_pending=2, max_concurrency=1) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await release.wait()
            handled.append(event.n)

        tasks = []
        for n in range(20):
            tasks.append(asyncio.create_task(bus.publish(Number(n=n))))
        await task_switches()
        assert sum(task.done() for task in tasks) == 3
        release.set()
        while not all(task.done() for task in tasks):
            most = max(most, bus.stats.pending)
            await asyncio.sleep(0)

    assert most <= 2
    assert handled == list(range(20))


async def test_a_publisher_that_leaves_gives_its_room_to_the_next(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_pending=1, max_concurrency=1) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await release.wait()

        bus.emit(Number(n=0))
        await task_switches()
        bus.emit(Number(n=1))
        publishers = [asyncio.create_task(bus.publish(Number(n=n))) for n in range(2, 6)]
        await task_switches()
        release.set()
        publishers[0].cancel()
        publishers[2].cancel()
        done = await asyncio.gather(*publishers, return_exceptions=True)

    assert [isinstance(outcome, asyncio.CancelledError) for outcome in done] == [True, False, True, False]
    assert bus.stats.handled == 4


async def test_replies_are_taken_by_a_full_bus_so_that_it_empties_itself(mini_agents: MiniAgents) -> None:
    async with EventBus(max_pending=1, max_concurrency=1) as bus:

        @bus.on(Text)
        async def many(ctx: Any, event: Text) -> None:
            ctx.reply([Number(n=n) for n in range(50)])

        bus.on(Number)(nothing)
        await bus.emit(Text())

    assert bus.stats.handled == 51


async def test_a_publisher_that_waits_is_told_when_the_bus_stops(mini_agents: MiniAgents) -> None:
    async with EventBus(max_pending=1, max_concurrency=1) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await asyncio.Event().wait()

        bus.emit(Number())
        await task_switches()
        bus.emit(Number())
        publisher = asyncio.create_task(bus.publish(Number()))
        await task_switches()
        await bus.stop(drain=False)

        with pytest.raises(BusStoppedError):
            await publisher


async def test_the_stats_tell_what_waits_and_for_how_long(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_concurrency=1) as bus:
        assert (bus.stats.received, bus.stats.pending, bus.stats.oldest_age_s) == (0, 0, 0.0)

        @bus.on(Number, concurrency=1)
        async def handler(ctx: Any, event: Number) -> None:
            await release.wait()

        for n in range(4):
            bus.emit(Number(n=n))
        await task_switches()
        stats = bus.stats
        assert (stats.received, stats.pending, stats.running, stats.handled, stats.dead) == (4, 3, 1, 0, 0)
        assert 0 < stats.oldest_age_s < bus.stats.oldest_age_s < 30
        release.set()

    assert bus.stats.oldest_age_s == 0.0
    assert bus.stats.handled == 4


async def nothing(ctx: Any, event: Any) -> None: ...
