"""What is sent out of order is delivered as soon as it is there, and in one order to all readers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import NotAMessageError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@miniagent
async def answer_when(ctx: InteractionContext, event: asyncio.Event, text: str) -> None:
    await event.wait()
    ctx.reply(text)


async def test_replies_out_of_order_come_as_soon_as_they_are_there(mini_agents: MiniAgents) -> None:
    events = {text: asyncio.Event() for text in "abc"}

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for text, event in events.items():
            ctx.reply_out_of_order(answer_when.inquire(event=event, text=text))

    replies = agent.inquire()
    reader = aiter(replies)
    for text in "cab":
        events[text].set()
        assert str(await (await anext(reader))) == text

    assert [promise async for promise in reader] == []
    assert await texts(replies) == ["c", "a", "b"]


async def test_they_overtake_earlier_replies_that_are_not_there(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("first")
        ctx.reply(answer_when.inquire(event=release, text="slow"))
        ctx.reply("in order")
        ctx.reply_out_of_order("urgent")

    replies = agent.inquire()
    reader = aiter(replies)
    assert [str(await (await anext(reader))) for _ in range(2)] == ["first", "urgent"]
    release.set()

    assert [str(await promise) async for promise in reader] == ["slow", "in order"]
    assert await texts(replies) == ["first", "urgent", "slow", "in order"]


async def test_they_do_not_overtake_what_is_there_already(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(["a", "b"])
        ctx.reply_out_of_order("c")
        ctx.reply("d")

    assert await texts(agent.inquire()) == ["a", "b", "c", "d"]


async def test_several_messages_out_of_order_keep_their_own_order(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(answer_when.inquire(event=release, text="slow"))
        ctx.reply_out_of_order(["a", ["b"]])
        release.set()

    assert await texts(agent.inquire()) == ["a", "b", "slow"]


async def test_a_nested_sequence_is_cut_where_it_is_not_there_yet(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def inner(ctx: InteractionContext) -> None:
        ctx.reply("early")
        await release.wait()
        ctx.reply("late")

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(inner.inquire())
        await several_task_switches()
        ctx.reply_out_of_order("urgent")
        ctx.reply("last")

    replies = outer.inquire()
    reader = aiter(replies)
    assert [str(await (await anext(reader))) for _ in range(2)] == ["early", "urgent"]
    release.set()

    assert [str(await promise) async for promise in reader] == ["late", "last"]
    assert await texts(replies) == ["early", "urgent", "late", "last"]


async def test_a_reader_of_the_nested_sequence_itself_sees_nothing_of_it(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    box: list[Any] = []

    @miniagent
    async def inner(ctx: InteractionContext) -> None:
        ctx.reply("early")
        await release.wait()
        ctx.reply("late")

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        box.append(inner.inquire())
        ctx.reply(box[0])
        await several_task_switches()
        ctx.reply_out_of_order("urgent")

    replies = outer.inquire()
    await several_task_switches()
    release.set()

    assert await texts(replies) == ["early", "urgent", "late"]
    assert await texts(box[0]) == ["early", "late"]


async def test_a_message_whose_tokens_are_still_coming_is_there(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "slow "
        await release.wait()
        yield "tokens"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(answer_when.inquire(event=release, text="later"))
        ctx.reply_out_of_order(Message.promise(message_token_streamer=tokens))

    replies = agent.inquire()
    first = await anext(aiter(replies))
    assert await anext(aiter(first)) == "slow "
    release.set()

    assert await texts(replies) == ["slow tokens", "later"]


async def test_the_replies_do_not_close_before_what_was_sent_out_of_order_has_come(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply_out_of_order(answer_when.inquire(event=release, text="slow"))
        ctx.reply("quick")

    replies = agent.inquire()
    await several_task_switches()
    assert not replies.done()
    release.set()

    assert await texts(replies) == ["quick", "slow"]


async def test_an_async_iterable_out_of_order_is_delivered_message_by_message(mini_agents: MiniAgents) -> None:
    steps = [asyncio.Event() for _ in range(2)]

    async def stream() -> AsyncIterator[str]:
        for number, step in enumerate(steps):
            await step.wait()
            yield f"stream {number}"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(answer_when.inquire(event=steps[1], text="in order"))
        ctx.reply_out_of_order(stream())

    replies = agent.inquire()
    reader = aiter(replies)
    steps[0].set()
    assert str(await (await anext(reader))) == "stream 0"
    steps[1].set()

    assert sorted(await texts(replies)) == ["in order", "stream 0", "stream 1"]
    assert [str(await promise) async for promise in reader] == (await texts(replies))[1:]


async def test_an_error_out_of_order_is_raised_where_it_came(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise ValueError("broken")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(answer_when.inquire(event=release, text="slow"))
        ctx.reply_out_of_order(failing.inquire())

    reader = aiter(agent.inquire())
    assert str(await (await anext(reader))) == "before"
    with pytest.raises(ValueError, match="broken"):
        await anext(reader)
    release.set()
    assert [str(await promise) async for promise in reader] == ["slow"]


async def test_an_agent_that_fails_still_delivers_what_it_sent_out_of_order(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply_out_of_order(answer_when.inquire(event=release, text="slow"))
        raise ValueError("broken")

    reader = aiter(agent.inquire())
    release.set()
    assert str(await (await anext(reader))) == "slow"
    with pytest.raises(ValueError, match="broken"):
        await anext(reader)


async def test_messages_can_be_sent_to_an_agent_out_of_order(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    call = echo.initiate_inquiry()
    assert call.send_message(answer_when.inquire(event=release, text="slow")) is call
    assert call.send_out_of_order("urgent") is call
    reader = aiter(call.reply_sequence())
    assert str(await (await anext(reader))) == "urgent"
    release.set()

    assert [str(await promise) async for promise in reader] == ["slow"]


async def test_nothing_can_be_sent_out_of_order_that_is_no_message(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        with pytest.raises(NotAMessageError, match="42"):
            ctx.reply_out_of_order(["a", 42])
        ctx.reply_out_of_order(None)
        ctx.reply_out_of_order([])

    assert await agent.inquire() == ()


async def test_readers_that_begin_at_any_time_see_one_order(mini_agents: MiniAgents) -> None:
    events = {text: asyncio.Event() for text in "abcdef"}

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number, (text, event) in enumerate(events.items()):
            reply = ctx.reply if number % 2 else ctx.reply_out_of_order
            reply([f"{text} at once", answer_when.inquire(event=event, text=text)])
            await asyncio.sleep(0)

    replies = agent.inquire()
    reading: list[asyncio.Task[list[str]]] = []

    async def read() -> list[str]:
        return [str(await promise) async for promise in replies]

    for text in "fadbec":
        reading.append(asyncio.create_task(read()))
        await several_task_switches()
        events[text].set()
    seen = await asyncio.gather(*reading)

    assert all(one == seen[0] for one in seen)
    assert seen[0] == await texts(replies)
    assert sorted(seen[0]) == sorted([*"abcdef", *(f"{text} at once" for text in "abcdef")])


async def test_cancelling_the_replies_stops_what_was_sent_out_of_order(mini_agents: MiniAgents) -> None:
    stopped: list[str] = []

    @miniagent
    async def endless(ctx: InteractionContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("endless")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply_out_of_order(endless.inquire())
        ctx.reply("there")

    async with agent.inquire() as replies:
        assert str(await (await anext(aiter(replies)))) == "there"
        await several_task_switches()

    await mini_agents.aflush_tasks()
    assert stopped == ["endless"]
