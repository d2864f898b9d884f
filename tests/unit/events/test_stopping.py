"""A bus ends with nothing lost: what came in was handled, or is a dead letter."""

import asyncio
import contextlib
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.errors import DeadlockError, MiniAgentsError
from miniagents.events import BusStoppedError, Event, EventBus
from miniagents.promising.errors import SyncWithError
from tests.unit.events.some_events import Analysis, Number, Text, errors_of, task_switches


def slow_handler(bus: EventBus, release: asyncio.Event) -> list[int]:
    handled: list[int] = []

    @bus.on(Number)
    async def slow(ctx: Any, event: Number) -> None:
        await release.wait()
        handled.append(event.n)
        if event.n < 10:
            ctx.reply(Number(n=event.n + 10))

    return handled


async def test_leaving_the_block_delivers_everything_and_all_that_follows(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_concurrency=2) as bus:
        handled = slow_handler(bus, release)
        for n in range(5):
            bus.emit(Number(n=n))
        release.set()

    assert sorted(handled) == [*range(5), *range(10, 15)]
    assert (bus.stats.received, bus.stats.handled, bus.stats.dead) == (10, 10, 0)


async def test_stopping_without_draining_makes_dead_letters_of_everything_that_is_left(mini_agents: MiniAgents) -> None:
    async with EventBus(max_concurrency=3) as bus:
        slow_handler(bus, asyncio.Event())
        flows = [bus.emit(Number(n=n)) for n in range(20)]
        await task_switches()
        assert (bus.stats.pending, bus.stats.running) == (17, 3)

        await bus.stop(drain=False)

        assert all(type(error) is BusStoppedError for flow in flows for error in errors_of(flow))
        assert [len(flow.errors) for flow in flows] == [1] * 20
        assert (bus.stats.pending, bus.stats.running, bus.stats.handled, bus.stats.dead) == (0, 0, 0, 20)
        assert all(flow.done() for flow in flows)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("way", ["stop", "leave", "stop without a timeout of its own"])
async def test_what_is_left_after_the_timeout_becomes_dead_letters(way: str, mini_agents: MiniAgents) -> None:
    loop = asyncio.get_running_loop()
    handled: list[int] = []
    async with EventBus(max_concurrency=1, drain_timeout_s=None if way == "stop" else 25) as bus:

        @bus.on(Number)
        async def slow(ctx: Any, event: Number) -> None:
            await asyncio.sleep(10)
            handled.append(event.n)

        flows = [bus.emit(Number(n=n)) for n in range(5)]
        began = loop.time()
        if way == "stop":
            await bus.stop(timeout=25)
        elif way != "leave":
            await bus.stop()

    assert loop.time() - began == pytest.approx(25, abs=0.1)
    assert handled == [0, 1]
    assert [len(flow.errors) for flow in flows] == [0, 0, 1, 1, 1]
    # The one that had begun was cancelled.
    assert [flow.errors[0].attempt for flow in flows[2:]] == [1, 0, 0]
    assert bus.stats.received == bus.stats.handled + bus.stats.dead == 5


async def test_an_error_that_leaves_the_block_drops_what_is_not_delivered(mini_agents: MiniAgents) -> None:
    bus = EventBus(max_concurrency=1)
    with pytest.raises(ValueError, match="mine"):
        async with bus:
            slow_handler(bus, asyncio.Event())
            flows = [bus.emit(Number(n=n)) for n in range(3)]
            await task_switches()
            raise ValueError("mine")

    assert [len(flow.errors) for flow in flows] == [1, 1, 1]
    assert bus.stats.received == bus.stats.dead == 3


async def test_a_stop_that_is_cancelled_drops_the_rest_and_accounts_for_it(mini_agents: MiniAgents) -> None:
    async with EventBus(max_concurrency=1) as bus:
        slow_handler(bus, asyncio.Event())
        for n in range(3):
            bus.emit(Number(n=n))
        stopping = asyncio.create_task(bus.stop())
        await task_switches()
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    assert bus.stats.received == bus.stats.dead == 3


async def test_the_end_of_the_context_by_cancellation_accounts_for_everything() -> None:
    bus = EventBus(max_concurrency=1)

    async def main() -> None:
        async with bus:
            slow_handler(bus, asyncio.Event())
            for n in range(3):
                bus.emit(Number(n=n))
            await asyncio.Event().wait()

    running = asyncio.create_task(MiniAgents().arun(main()))
    await task_switches()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert bus.stats.received == bus.stats.dead == 3


async def test_terminating_lets_what_runs_finish_and_drops_the_rest(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_concurrency=1) as bus:
        handled = slow_handler(bus, release)
        flows = [bus.emit(Number(n=n)) for n in range(3)]
        await task_switches()

        bus.terminate()

        assert not bus.is_open
        with pytest.raises(BusStoppedError):
            bus.emit(Number())
        release.set()

    assert handled == [0]
    # What it replied with was not delivered any more.
    assert [letter.event for letter in flows[0].errors] == [Number(n=10)]
    assert [len(flow.errors) for flow in flows] == [1, 1, 1]
    assert (bus.stats.handled, bus.stats.dead) == (1, 3)


async def test_a_handler_may_terminate_its_bus_but_not_wait_for_its_end(mini_agents: MiniAgents) -> None:
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            with pytest.raises(DeadlockError, match="terminate"):
                await ctx.bus.stop()
            ctx.bus.terminate()

        for n in range(3):
            bus.emit(Number(n=n))

    assert (bus.stats.handled, bus.stats.dead) == (1, 2)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_event_for_a_bus_that_is_not_open_is_refused(when: str, mini_agents: MiniAgents) -> None:
    bus = EventBus()
    if when == "after":
        async with bus:
            pass

    for attempt in (bus.publish(Text()), bus.ask(Text(), Analysis)):
        with pytest.raises(BusStoppedError, match=r"takes no events.*`async with` block"):
            await attempt
    with pytest.raises(MiniAgentsError):
        bus.emit(Text())


async def test_while_the_bus_drains_its_handlers_may_ask_and_others_may_not(mini_agents: MiniAgents) -> None:
    release, answers = asyncio.Event(), []
    async with EventBus() as bus:

        @bus.on(Text)
        async def asks(ctx: Any, event: Text) -> None:
            await release.wait()
            answers.append(await ctx.bus.ask(Number(n=1), Analysis))

        @bus.on(Number)
        async def answer(ctx: Any, event: Number) -> None:
            ctx.reply(Analysis(text="yes"))

        bus.emit(Text())
        stopping = asyncio.create_task(bus.stop())
        await task_switches()
        with pytest.raises(BusStoppedError):
            bus.emit(Number())
        release.set()
        await stopping

    assert [answer.text for answer in answers] == ["yes"]


async def test_stopping_twice_and_an_idle_bus_are_fine(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        await bus.stop()
        await bus.stop(drain=False)

    with pytest.raises(BusStoppedError, match="entered before"):
        async with bus:
            pass


async def test_a_plain_with_says_what_to_write() -> None:
    with pytest.raises(SyncWithError, match="async with EventBus"), EventBus():
        pass


@pytest.mark.mini_agents(shutdown_grace_s=0.01)
async def test_a_handler_that_ignores_its_cancellation_is_named(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()
    async with EventBus() as bus:

        @bus.on(Text)
        async def stubborn(ctx: Any, event: Event) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        bus.emit(Text())
        await task_switches()
        await bus.stop(drain=False)
        stats = bus.stats
        release.set()
        assert "`stubborn`" in caplog.text
        # Accounted for when the bus has stopped, whatever becomes of it.
        assert (stats.received, stats.running, stats.dead) == (1, 0, 1)
        await task_switches()

    assert bus.stats == stats
    assert len(bus.dead_letters) == 1


@pytest.mark.virtual_clock
@pytest.mark.parametrize("whose", ["of the program", "of the bus"])
async def test_a_handler_that_ignores_its_cancellation_keeps_nobody_longer_than_the_grace(
    whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks: list[Any] = []
    async with MiniAgents(shutdown_grace_s=10) if whose == "of the program" else contextlib.nullcontext():
        async with EventBus() as bus:

            @bus.on(Text)
            async def stubborn(ctx: Any, event: Text) -> None:
                tasks.append(asyncio.current_task())
                for _ in range(100):
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(1)

            flow = bus.emit(Text())
            await task_switches()
            await bus.stop(timeout=5)
            assert loop.time() - began == pytest.approx(15, abs=0.5)

    assert loop.time() - began == pytest.approx(15, abs=0.5)
    assert "`stubborn`" in caplog.text
    assert flow.is_ended
    assert [type(error) for error in errors_of(flow)] == [BusStoppedError]
    await asyncio.wait(tasks)


async def test_what_a_handler_left_behind_may_stop_the_bus(mini_agents: MiniAgents) -> None:
    release, left = asyncio.Event(), []
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            async def later() -> None:
                await release.wait()
                await ctx.bus.wait_until_idle()
                await ctx.bus.stop()

            left.append(asyncio.create_task(later()))

        await bus.emit(Text())
        release.set()
        await asyncio.gather(*left)

        assert not bus.is_open
