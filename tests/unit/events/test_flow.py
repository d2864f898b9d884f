"""A flow is a replayable sequence of everything that follows from one event."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequencePromise, MiniAgents, miniagent
from miniagents.errors import DeadlockError
from miniagents.events import DeadLetter, Event, EventBus, Flow, FlowClosedError
from miniagents.promising.errors import PromiseCancelledError
from tests.unit.events.some_events import Analysis, Number, Summary, Text, errors_of, kinds, task_switches


def three_hops(bus: EventBus) -> None:
    @bus.on(Text)
    async def analyze(ctx: Any, event: Text) -> None:
        ctx.reply(Analysis(text=event.text))

    @bus.on(Analysis)
    async def summarize(ctx: Any, event: Analysis) -> None:
        await asyncio.sleep(0)
        ctx.reply("on my way")
        ctx.reply(Summary(text=event.text))

    @bus.on(Summary)
    async def end(ctx: Any, event: Summary) -> None:
        await asyncio.sleep(0)


async def test_a_flow_has_everything_that_follows_the_emitted_event_first(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        three_hops(bus)
        flow = bus.emit(Text(text="a"))

        assert isinstance(flow, MessageSequencePromise)
        assert await flow == (Text(text="a"), Analysis(text="a"), Message("on my way"), Summary(text="a"))


async def test_no_handler_begins_inside_of_emit(mini_agents: MiniAgents) -> None:
    began = False
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            nonlocal began
            began = True

        flow = bus.emit(Text())
        assert not began
        await flow
        assert began


async def test_any_number_of_readers_get_the_same_live_and_afterwards(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        three_hops(bus)
        flow = bus.emit(Text())

        async def read() -> list[str]:
            return [type(await promise).__name__ async for promise in flow]

        live = await asyncio.gather(read(), read())
        later = await read()

    assert live == [later, later]
    assert later == ["Text", "Analysis", "Message", "Summary"]


async def test_a_reader_gets_an_event_while_the_handlers_of_it_still_run(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            ctx.reply(Analysis())
            await release.wait()

        bus.on(Analysis)(nothing)
        flow = bus.emit(Text())
        reader = aiter(flow)
        assert isinstance(await (await anext(reader)), Text)
        assert isinstance(await (await anext(reader)), Analysis)
        assert not flow.done()

        release.set()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        assert flow.done()


async def test_a_flow_can_be_handed_to_an_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    async def names(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            ctx.reply(type(await promise).__name__)

    async with EventBus() as bus:
        three_hops(bus)
        replies = await names.inquire(["before", bus.emit(Text())])

    assert [str(reply) for reply in replies] == ["Message", "Text", "Analysis", "Message", "Summary"]


async def test_awaiting_a_flow_never_raises_for_dead_letters(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            ctx.reply(Analysis())
            raise ValueError("no")

        bus.on(Analysis)(nothing)
        flow = bus.emit(Text())
        messages = await flow

    assert [type(message) for message in messages] == [Text, Analysis, DeadLetter]
    (letter,) = flow.errors
    assert letter == messages[-1]
    assert str(letter.error) == "no"


async def test_an_event_that_nobody_handles_ends_its_flow_at_once(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        flow = bus.emit(Text())

        assert flow.done()
        assert await kinds(flow) == ["Text"]


async def test_cancelling_a_flow_stops_its_handlers_and_no_others(mini_agents: MiniAgents) -> None:
    release, ended = asyncio.Event(), []
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            try:
                await release.wait()
                ended.append(f"{event.n} done")
            except asyncio.CancelledError:
                ended.append(f"{event.n} cancelled")
                raise

        one, other = bus.emit(Number(n=1)), bus.emit(Number(n=2))
        await task_switches()

        assert one.cancel("enough")
        assert not one.cancel()
        await task_switches()
        assert ended == ["1 cancelled"]
        with pytest.raises(PromiseCancelledError, match="enough"):
            await one
        assert [str(error) for error in errors_of(one)] == ["enough"]

        release.set()
        assert await kinds(other) == ["Number"]
        assert not other.cancel()

    assert ended == ["1 cancelled", "2 done"]
    assert (bus.stats.handled, bus.stats.dead) == (1, 1)


async def test_cancelling_a_flow_stops_the_agents_that_its_handlers_called(mini_agents: MiniAgents) -> None:
    ended: list[str] = []

    @miniagent
    async def slow(ctx: InteractionContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("agent")

    async with EventBus() as bus:

        @bus.on(Text)
        async def waits(ctx: Any, event: Text) -> None:
            await slow.inquire()

        @bus.on(Text)
        async def passes_on(ctx: Any, event: Text) -> None:
            ctx.reply(slow.inquire())

        bus.on(Text)(slow)
        flow = bus.emit(Text())
        await task_switches()
        flow.cancel()
        await task_switches()

        assert ended == ["agent"] * 3
        assert bus.stats.dead == bus.stats.received == 3


async def test_a_handler_may_cancel_its_own_flow_and_the_bus_goes_on(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            if event.n < 2:
                ctx.flow.cancel()
            if event.n == 1:
                await asyncio.sleep(0)

        flows = [bus.emit(Number(n=n)) for n in range(5)]

    assert [len(flow.errors) for flow in flows] == [0, 1, 0, 0, 0]
    assert bus.stats.received == bus.stats.handled + bus.stats.dead == 5


async def test_closing_a_flow_lets_what_runs_finish_and_makes_dead_letters_of_the_rest(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Text)
        async def first(ctx: Any, event: Text) -> None:
            await release.wait()
            ctx.reply("finished")
            ctx.reply(Analysis())

        @bus.on(Text, Analysis)
        async def second(ctx: Any, event: Event) -> None:
            raise AssertionError("never called")

        flow = bus.emit(Text())
        await task_switches()
        flow.close()
        release.set()
        messages = await kinds(flow)

    assert messages == ["Text", "DeadLetter", "Message", "Analysis", "DeadLetter"]
    assert [type(error) for error in errors_of(flow)] == [FlowClosedError, FlowClosedError]


async def test_a_handler_that_waits_for_the_end_of_its_own_flow_is_told_of_the_deadlock(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def waits(ctx: Any, event: Text) -> None:
            await ctx.flow

        flow = bus.emit(Text())
        await flow

    (error,) = errors_of(flow)
    assert isinstance(error, DeadlockError)
    assert "cannot wait for its end" in str(error)


async def test_a_flow_that_has_ended_and_that_nobody_holds_is_freed_without_the_garbage_collector(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus() as bus:
        three_hops(bus)
        gc.collect()
        gc.disable()
        try:
            flow = bus.emit(Text())
            await flow
            gone = weakref.ref(flow)
            await task_switches()
            del flow
            assert gone() is None
        finally:
            gc.enable()


async def test_a_failed_stream_in_a_flow_is_a_dead_letter_and_the_rest_is_there(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "begin"
        await asyncio.sleep(0)
        raise ValueError("cut off")

    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            ctx.reply(Message.promise(message_token_streamer=tokens))
            ctx.reply("behind")

        flow = bus.emit(Text())
        assert await kinds(flow) == ["Text", "Message", "DeadLetter"]

    assert [str(error) for error in errors_of(flow)] == ["cut off"]


async def test_a_bus_works_without_a_context_around_it() -> None:
    async with EventBus() as bus:
        three_hops(bus)

        assert isinstance(bus.emit(Text()), Flow)

    assert bus.stats.handled == 3


async def nothing(ctx: Any, event: Event) -> None: ...
