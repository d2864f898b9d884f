"""A handler that waits for what stands in line behind itself is told so, and the bus goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.errors import DeadlockError
from miniagents.events import AsyncDispatcher, BaseAsyncAgent, Event, EventBus, Router
from tests.unit.events.some_events import Analysis, Number, Summary, Text, errors_of, task_switches


def one_key(event: Any) -> str:
    return "one"


LIMITS: dict[str, dict[str, Any]] = {
    "concurrency=1": {"concurrency": 1},
    "key": {"key": one_key},
    "key and concurrency=3": {"key": one_key, "concurrency": 3},
}


@pytest.mark.virtual_clock
@pytest.mark.parametrize("limits", LIMITS.values(), ids=list(LIMITS))
@pytest.mark.parametrize("way", ["ask", "await", "iterate", "reply"])
async def test_a_handler_that_waits_for_an_event_that_itself_must_handle_is_told(
    way: str, limits: dict[str, Any], mini_agents: MiniAgents
) -> None:
    async with EventBus() as bus:

        @bus.on(Number, **limits)
        async def recursive(ctx: Any, event: Number) -> None:
            if event.n == 0:
                ctx.reply(Analysis())
            elif way == "ask":
                await ctx.bus.ask(Number(n=event.n - 1), Analysis)
            elif way == "await":
                await ctx.bus.emit(Number(n=event.n - 1))
            elif way == "iterate":
                async for _ in ctx.bus.emit(Number(n=event.n - 1)):
                    pass
            else:
                ctx.reply(ctx.bus.emit(Number(n=event.n - 1)))

        flow = bus.emit(Number(n=1))
        await flow

        (error,) = errors_of(flow)
        assert type(error) is DeadlockError
        assert "`recursive` (`" in str(error)
        assert all(f"`{name}" in str(error) for name in limits)
        await bus.wait_until_idle()
        # The line moves on.
        assert (await bus.emit(Number(n=0)))[1:] != ()


@pytest.mark.virtual_clock
async def test_so_is_one_that_waits_for_itself_by_way_of_another_handler(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number, concurrency=1)
        async def first(ctx: Any, event: Number) -> None:
            if event.n:
                await ctx.bus.ask(Text(), Analysis)

        @bus.on(Text)
        async def second(ctx: Any, event: Text) -> None:
            await ctx.bus.emit(Number())
            ctx.reply(Analysis())

        await bus.emit(Number(n=1))

    errors = [str(letter.error) for letter in bus.dead_letters if type(letter.error) is DeadlockError]
    assert errors != []
    assert all("handler first" in error and "handler second" in error for error in errors)


@pytest.mark.virtual_clock
async def test_so_are_two_of_two_that_wait_for_a_third(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number, concurrency=2)
        async def recursive(ctx: Any, event: Number) -> None:
            if event.n:
                await ctx.bus.emit(Number(n=event.n - 1))

        await bus.emit(Number(n=1))
        assert bus.stats.dead == 0
        await bus.emit(Number(n=2))

    assert [type(letter.error) for letter in bus.dead_letters] == [DeadlockError]


@pytest.mark.virtual_clock
async def test_a_handler_that_publishes_to_itself_on_a_full_bus_is_told(mini_agents: MiniAgents) -> None:
    async with EventBus(max_pending=2) as bus:

        @bus.on(Number, concurrency=1)
        async def handler(ctx: Any, event: Number) -> None:
            for _ in range(event.n):
                await ctx.bus.publish(Number())

        flow = bus.emit(Number(n=5))
        await flow

        (error,) = errors_of(flow)
        assert type(error) is DeadlockError
        assert "`handler` (`concurrency=1`)" in str(error)

    assert bus.stats.handled == 2


@pytest.mark.virtual_clock
async def test_an_agent_that_waits_for_what_it_dispatches_to_itself_is_told() -> None:
    class Recursive(BaseAsyncAgent):
        async def receive_event_async(self, event: Event) -> list[Event]:
            assert isinstance(event, Number)
            if event.n:
                await dispatcher.dispatch(Number(n=event.n - 1))
            return []

    async with MiniAgents(), AsyncDispatcher(Router({Number: [Recursive()]})) as dispatcher:
        flow = dispatcher.dispatch(Number(n=1))
        await flow

        (error,) = errors_of(flow)
        assert type(error) is DeadlockError
        assert "`Recursive` (`concurrency=1`)" in str(error)


@pytest.mark.virtual_clock
async def test_a_handler_waits_for_others_of_its_kind_as_long_as_these_go_on(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number, key=lambda event: event.n % 2)
        async def handler(ctx: Any, event: Number) -> None:
            await asyncio.sleep(100)
            if event.n == 2:
                # One with another key is at work, and the one that is waited for is next after that.
                await ctx.bus.emit(Number(n=3))

        @bus.on(Text, concurrency=1)
        async def asks(ctx: Any, event: Text) -> None:
            ctx.reply(Summary(text=(await ctx.bus.ask(Summary(), Analysis)).text))

        @bus.on(Summary)
        async def answers(ctx: Any, event: Summary) -> None:
            await asyncio.sleep(100)
            ctx.reply(Analysis(text="slow"))

        flows = [bus.emit(Number(n=1)), bus.emit(Number(n=2)), bus.emit(Text()), bus.emit(Text())]
        for flow in flows:
            await flow

    assert bus.dead_letters == ()


@pytest.mark.parametrize("way", ["reply", "among others", "return", "in a list in a list", "out of a generator"])
async def test_a_handler_cannot_reply_with_its_own_flow(way: str, mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def own(ctx: Any, event: Text) -> Any:
            if way == "return":
                return ctx.flow

            async def generated() -> AsyncIterator[Any]:
                yield ctx.flow

            if way == "out of a generator":
                ctx.reply(generated())
                return None
            if way == "in a list in a list":
                ctx.reply(["one", ["two", [ctx.flow]]])
                return None
            ctx.reply([Analysis(), ctx.flow] if way == "among others" else ctx.flow)
            return None

        bus.on(Analysis)(own_analysis)
        flow = bus.emit(Text())
        await flow

    (error,) = errors_of(flow)
    assert type(error) is DeadlockError
    assert "`own` replies with its own flow" in str(error)


async def own_analysis(ctx: Any, event: Any) -> None:
    await task_switches()
