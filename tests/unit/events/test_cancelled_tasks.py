"""Whoever cancels the task of one handler stops that handler, and nothing else."""

import asyncio
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import Event, EventBus
from tests.unit.events.some_events import Number, errors_of, task_switches


class Unrouted(Event):
    pass


async def test_cancelling_the_task_of_a_handler_makes_a_dead_letter_of_that_delivery_alone(
    mini_agents: MiniAgents,
) -> None:
    tasks: dict[int, Any] = {}
    release = asyncio.Event()
    async with EventBus(max_concurrency=3) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            tasks[event.n] = asyncio.current_task()
            await release.wait()

        flows = [bus.emit(Number(n=n)) for n in range(5)]
        await task_switches()
        tasks[1].cancel()
        await task_switches()

        assert bus.is_open
        assert [len(flow.errors) for flow in flows] == [0, 1, 0, 0, 0]
        assert "cancelled" in str(errors_of(flows[1])[0])
        release.set()
        await bus.emit(Number(n=5))

    assert (bus.stats.handled, bus.stats.dead) == (5, 1)


async def test_a_handler_that_cancels_its_own_task_and_waits_for_nothing_is_done_and_harms_nobody(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            if event.n == 1:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            if event.n == 2:
                await asyncio.sleep(0)

        for n in range(5):
            bus.emit(Number(n=n))
        await bus.wait_until_idle()

        assert bus.is_open

    assert (bus.stats.handled, bus.stats.dead) == (5, 0)


async def test_a_cancelled_task_that_had_no_handler_yet_leaves_its_work_to_the_next(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None: ...

        before = asyncio.all_tasks()
        flow = bus.emit(Number())
        for task in asyncio.all_tasks() - before:
            task.cancel()
        await flow

        assert flow.errors == ()


def test_what_a_program_leaves_open_ends_with_its_loop() -> None:
    buses: list[EventBus] = []

    async def main() -> None:
        MiniAgents().activate()
        bus = await EventBus(max_concurrency=1).__aenter__()
        buses.append(bus)

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await asyncio.Event().wait()

        for n in range(3):
            bus.emit(Number(n=n))
        await task_switches()

    asyncio.run(main())

    assert not buses[0].is_open
    assert buses[0].stats.dead == 3


@pytest.mark.parametrize("way", ["nobody takes it", "nobody wants it", "the bus has stopped"])
async def test_a_publisher_whose_event_takes_no_room_leaves_it_to_the_next(way: str, mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async with EventBus(max_pending=1, max_concurrency=1) as bus:

        @bus.on(Number, when=lambda event: way != "nobody wants it" or event.n != 1)
        async def handler(ctx: Any, event: Number) -> None:
            await release.wait()

        bus.emit(Number())
        await task_switches()
        bus.emit(Number())
        first = Number(n=1) if way == "nobody wants it" else Unrouted()
        publishers = [asyncio.create_task(bus.publish(event)) for event in (first, Number(n=2), Number(n=3))]
        await task_switches()
        if way == "the bus has stopped":
            asyncio.get_running_loop().call_soon(bus.terminate)
        release.set()
        outcomes = await asyncio.gather(*publishers, return_exceptions=True)

    assert [isinstance(outcome, BaseException) for outcome in outcomes] == [way == "the bus has stopped"] * 3
