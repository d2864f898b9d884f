"""Stopping agents by `cancel()`: who is stopped with them, what is told, and what is spared."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, PromiseCancelledError, miniagent
from tests.unit.endless_agents import Trace, endless


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def trace() -> Trace:
    return Trace()


def caller_of(inner: MiniAgent, how: str = "forward") -> MiniAgent:
    @miniagent
    async def caller(ctx: InteractionContext, trace: Trace, name: str = "caller") -> None:
        trace.started.append(name)
        try:
            replies = inner.inquire(trace=trace)
            if how == "await":
                await replies
            else:
                ctx.reply(replies)
                await asyncio.Event().wait()
        finally:
            trace.cleaned_up.append(name)

    return caller


async def test_cancelling_a_reply_stops_the_agent(trace: Trace, mini_agents: MiniAgents) -> None:
    replies = endless.inquire(trace=trace)
    await several_task_switches()
    assert not replies.done()

    assert replies.cancel("enough") is True

    assert replies.done()
    await several_task_switches()
    assert trace.cancelled == trace.cleaned_up == ["endless"]


async def test_readers_of_a_cancelled_reply_get_the_messages_so_far_and_then_the_error(
    trace: Trace, mini_agents: MiniAgents
) -> None:
    replies = endless.inquire(trace=trace)
    waiting = asyncio.create_task(texts(replies))
    await several_task_switches()
    replies.cancel("enough")

    reader = aiter(replies)
    assert str(await (await anext(reader))) == "endless works"
    with pytest.raises(PromiseCancelledError, match="enough"):
        await anext(reader)
    with pytest.raises(PromiseCancelledError, match="enough"):
        await waiting
    with pytest.raises(PromiseCancelledError, match="enough"):
        await replies
    assert isinstance(PromiseCancelledError("enough"), Exception)


async def test_cancelling_what_is_finished_says_so(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    replies = agent.inquire()
    assert await texts(replies) == ["hi"]

    assert replies.cancel() is False
    assert await texts(replies) == ["hi"]


async def test_cancelling_twice_says_so(trace: Trace, mini_agents: MiniAgents) -> None:
    replies = endless.inquire(trace=trace)

    assert [replies.cancel(), replies.cancel()] == [True, False]


async def test_an_agent_that_is_cancelled_before_its_first_step_never_runs(
    trace: Trace, mini_agents: MiniAgents
) -> None:
    replies = endless.inquire(trace=trace)
    replies.cancel()
    await several_task_switches()

    assert trace.started == []
    with pytest.raises(PromiseCancelledError):
        await replies


async def test_a_lazy_agent_that_is_cancelled_never_runs(trace: Trace, mini_agents: MiniAgents) -> None:
    replies = endless.inquire(trace=trace, start_asap=False)
    assert replies.cancel() is True

    with pytest.raises(PromiseCancelledError):
        await replies
    assert trace.started == []


@pytest.mark.parametrize("how", ["forward", "await"])
async def test_the_calls_that_it_made_are_cancelled_recursively(
    how: str, trace: Trace, mini_agents: MiniAgents
) -> None:
    agent: MiniAgent = endless
    for _ in range(5):
        agent = caller_of(agent, how)
    replies = agent.inquire(trace=trace)
    await several_task_switches()
    assert trace.started == ["caller"] * 5 + ["endless"]

    replies.cancel()
    await several_task_switches()

    assert trace.cancelled == ["endless"]
    assert sorted(trace.cleaned_up) == ["caller"] * 5 + ["endless"]


async def test_what_an_agent_that_has_ended_passed_on_is_cancelled_too(trace: Trace, mini_agents: MiniAgents) -> None:
    @miniagent
    async def passing_on(ctx: InteractionContext) -> None:
        ctx.reply(endless.inquire(trace=trace))

    replies = passing_on.inquire()
    await several_task_switches()

    assert replies.cancel() is True
    await several_task_switches()
    assert trace.cleaned_up == ["endless"]
    with pytest.raises(PromiseCancelledError):
        await replies


async def test_a_call_that_somebody_outside_is_reading_goes_on(trace: Trace, mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    inner: list[Any] = []

    @miniagent
    async def shared(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("shared result")

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        inner.append(shared.inquire())
        ctx.reply(inner[0])

    replies = outer.inquire()
    await several_task_switches()
    outside = asyncio.create_task(texts(inner[0]))
    await several_task_switches()
    replies.cancel()
    await several_task_switches()
    release.set()

    assert await outside == ["shared result"]
    with pytest.raises(PromiseCancelledError):
        await replies


async def test_what_was_kicked_off_goes_on(mini_agents: MiniAgents) -> None:
    release, done = asyncio.Event(), asyncio.Event()

    @miniagent
    async def fired(ctx: InteractionContext) -> None:
        await release.wait()
        done.set()

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        fired.kick_off()
        await asyncio.Event().wait()

    replies = outer.inquire()
    await several_task_switches()
    replies.cancel()
    await several_task_switches()
    release.set()

    await done.wait()


async def test_the_tokens_of_a_cancelled_message_end_with_the_error(mini_agents: MiniAgents) -> None:
    closed = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        try:
            yield "Hel"
            await asyncio.Event().wait()
        finally:
            closed.set()

    promise = Message.promise(message_token_streamer=tokens)
    reader = aiter(promise)
    assert await anext(reader) == "Hel"

    assert promise.cancel("enough") is True

    with pytest.raises(PromiseCancelledError, match="enough"):
        await anext(reader)
    with pytest.raises(PromiseCancelledError, match="enough"):
        await promise
    await closed.wait()


async def test_cancelling_a_reply_closes_the_tokens_that_stream_in_it(mini_agents: MiniAgents) -> None:
    closed = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        try:
            yield "Hel"
            await asyncio.Event().wait()
        finally:
            closed.set()

    @miniagent
    async def model(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    replies = model.inquire()
    message = await anext(aiter(replies))
    assert await anext(aiter(message)) == "Hel"

    assert replies.cancel() is True

    await closed.wait()
    with pytest.raises(PromiseCancelledError):
        await message


async def test_subtasks_of_a_cancelled_agent_are_cancelled(trace: Trace, mini_agents: MiniAgents) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            trace.cleaned_up.append("subtask")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(work())

    replies = agent.inquire()
    await several_task_switches()
    replies.cancel()
    await several_task_switches()

    assert trace.cleaned_up == ["subtask"]
