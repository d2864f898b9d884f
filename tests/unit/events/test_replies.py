"""What handlers reply with: events are routed, everything else is for the readers of the flow, at its place."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from miniagents import InteractionContext, Message, MessagePromise, MiniAgents, miniagent
from miniagents.events import Event, EventBus, HandlerContext
from miniagents.messages import MessageTokenAppender
from tests.unit.events.some_events import Analysis, Number, Summary, Text, kinds, task_switches


class Streamed(Event):
    text: MessagePromise


async def nothing(ctx: Any, event: Any) -> None: ...


async def test_a_context_knows_its_event_flow_bus_and_handler(mini_agents: MiniAgents) -> None:
    contexts: list[HandlerContext] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: HandlerContext, event: Text) -> None:
            contexts.append(ctx)
            await ctx.reply("awaited")
            assert ctx.event is event
            assert ctx.bus is bus
            assert ctx.shared_memory is bus.shared_memory

        flow = bus.emit(Text())
        await flow

    (ctx,) = contexts
    assert ctx.flow is flow
    assert (ctx.this_handler, ctx.attempt) == ("handler", 1)


async def test_everything_is_in_the_flow_at_its_place(mini_agents: MiniAgents) -> None:
    async def later() -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield "c"
        yield Analysis(text="d")

    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: HandlerContext, event: Text) -> None:
            ctx.reply(None)
            ctx.reply(["a", [Analysis(text="b")]])
            ctx.reply(later())
            ctx.reply({"content": "e"})
            ctx.reply(Analysis(text="f").as_promise)

        handled: list[str] = []

        @bus.on(Analysis)
        async def collect(ctx: HandlerContext, event: Analysis) -> None:
            handled.append(event.text)

        _, *messages = await bus.emit(Text())

    assert [getattr(message, "text", message.content) for message in messages] == list("abcdef")
    assert sorted(handled) == ["b", "d", "f"]
    assert all(message.id for message in messages if isinstance(message, Analysis))


async def test_what_is_returned_or_yielded_is_a_reply(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def returns(ctx: HandlerContext, event: Text) -> list[Event]:
            return [Analysis()]

        @bus.on(Text)
        async def yields(ctx: HandlerContext, event: Text) -> AsyncIterator[Any]:
            yield "token"
            await asyncio.sleep(0)
            yield Summary()

        bus.on(Analysis, Summary)(nothing)

        assert await kinds(bus.emit(Text())) == ["Text", "Analysis", "Message", "Summary"]


async def test_an_agent_gets_the_event_as_its_message_and_its_events_are_routed_as_they_come(
    mini_agents: MiniAgents,
) -> None:
    release, got = asyncio.Event(), []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        (event,) = await ctx.message_promises
        got.append(event)
        ctx.reply("thinking")
        ctx.reply(Analysis())
        await release.wait()

    async with EventBus() as bus:
        bus.on(Text)(agent)

        @bus.on(Analysis)
        async def frees(ctx: HandlerContext, event: Analysis) -> None:
            assert event.source == "AGENT"
            release.set()

        assert await kinds(bus.emit(Text(text="x"))) == ["Text", "Message", "Analysis"]

    assert got == [Text(text="x")]
    assert got[0].id


async def test_an_event_that_an_agent_makes_out_of_tokens_is_routed_when_it_is_whole(mini_agents: MiniAgents) -> None:
    got: list[Event] = []

    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        metadata["n"] = 7
        yield "to"
        await asyncio.sleep(0)
        yield "gether"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Number.promise(message_token_streamer=tokens))

    async with EventBus() as bus:
        bus.on(Text)(agent)

        @bus.on(Number)
        async def handler(ctx: HandlerContext, event: Number) -> None:
            got.append(event)

        await bus.emit(Text())

    assert got == [Number("together", n=7)]


async def test_readers_get_tokens_while_the_handler_still_makes_them(mini_agents: MiniAgents) -> None:
    appender = MessageTokenAppender()
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: HandlerContext, event: Text) -> None:
            ctx.reply(Message.promise(message_token_streamer=appender))

        with appender:
            flow = bus.emit(Text())
            reader = aiter(flow)
            await anext(reader)
            tokens = aiter(await anext(reader))
            appender.append("one")
            assert await anext(tokens) == "one"
            assert not flow.done()
            appender.append("two")

        assert str((await flow)[1]) == "onetwo"


async def test_the_next_handler_begins_on_the_first_token_of_a_field(mini_agents: MiniAgents) -> None:
    first_token_was_read, order = asyncio.Event(), []

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "first"
        await first_token_was_read.wait()
        order.append("upstream ends")
        yield "last"

    async with EventBus() as bus:

        @bus.on(Text)
        async def upstream(ctx: HandlerContext, event: Text) -> None:
            ctx.reply(Streamed(text=Message.promise(message_token_streamer=tokens)))

        @bus.on(Streamed)
        async def downstream(ctx: HandlerContext, event: Streamed) -> None:
            async for token in event.text:
                order.append(token)
                first_token_was_read.set()

        await bus.emit(Text())

    assert order == ["first", "upstream ends", "last"]


async def test_handlers_cannot_see_what_others_do_to_an_event(mini_agents: MiniAgents) -> None:
    seen: list[str] = []
    async with EventBus() as bus:
        for _ in range(2):

            @bus.on(Text)
            async def handler(ctx: HandlerContext, event: Text) -> None:
                seen.append(event.text)
                try:
                    event.text = "changed"
                except ValueError:
                    seen.append("refused")

        await bus.emit(Text(text="x"))

    assert seen == ["x", "refused"] * 2


async def test_a_lazy_message_that_nobody_reads_keeps_no_flow_open(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "never"

    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: HandlerContext, event: Text) -> None:
            ctx.reply(Message.promise(message_token_streamer=tokens, start_asap=False))

        flow = bus.emit(Text())
        await task_switches()
        assert flow.is_ended
        assert str((await flow)[1]) == "never"


async def test_resolved_events_are_persisted_like_other_messages() -> None:
    kept: list[Message] = []

    async def keep(_: Any, message: Message) -> None:
        kept.append(message)

    async with MiniAgents(on_persist_message=keep), EventBus() as bus:
        bus.on(Text)(nothing)
        await bus.emit(Text(text="a"))

    assert Text(text="a") in kept
