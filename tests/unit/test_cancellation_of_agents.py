"""Stopping agents: `cancel()`, `async with`, timeouts, the end of the context, and what is spared."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, PromiseCancelledError, miniagent


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Trace:
    """What became of the agents of one test."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.cleaned_up: list[str] = []


@pytest.fixture
def trace() -> Trace:
    return Trace()


@miniagent
async def endless(ctx: InteractionContext, trace: Trace, name: str = "endless") -> None:
    trace.started.append(name)
    ctx.reply(f"{name} works")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        trace.cancelled.append(name)
        raise
    finally:
        await asyncio.sleep(0)
        trace.cleaned_up.append(name)


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


# -- cancel() ------------------------------------------------------------------------------------------------------------


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


# -- async with ----------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_of_a_call_stops_what_is_unfinished(trace: Trace, mini_agents: MiniAgents) -> None:
    async with endless.inquire(trace=trace) as replies:
        assert str(await (await anext(aiter(replies)))) == "endless works"

    await several_task_switches()
    assert trace.cleaned_up == ["endless"]


async def test_leaving_the_block_with_an_error_stops_it_too(trace: Trace, mini_agents: MiniAgents) -> None:
    with pytest.raises(ValueError, match="broken"):
        async with endless.inquire(trace=trace):
            await several_task_switches()
            raise ValueError("broken")

    await several_task_switches()
    assert trace.cleaned_up == ["endless"]


async def test_leaving_the_block_when_all_is_finished_changes_nothing(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    async with agent.inquire() as replies:
        assert await texts(replies) == ["hi"]

    assert await texts(replies) == ["hi"]


@pytest.mark.virtual_clock
async def test_a_timeout_around_the_block_really_stops_the_work(trace: Trace, mini_agents: MiniAgents) -> None:
    steps: list[float] = []

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        while True:
            await asyncio.sleep(1)
            steps.append(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3.5), caller_of_worker(worker).inquire() as replies:
            await replies
    await asyncio.sleep(10)

    assert len(steps) == 3


def caller_of_worker(worker: MiniAgent) -> MiniAgent:
    @miniagent
    async def caller(ctx: InteractionContext) -> None:
        ctx.reply(worker.inquire())

    return caller


# -- what a reader that leaves does not do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
@pytest.mark.virtual_clock
async def test_a_reader_that_times_out_harms_nobody(start_asap: bool, mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        await asyncio.sleep(10)
        ctx.reply("result")

    replies = agent.inquire(start_asap=start_asap)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await replies
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await anext(aiter(replies))

    assert await texts(replies) == ["result"]
    assert [str(await promise) async for promise in replies] == ["result"]


async def test_breaking_off_a_loop_cancels_nothing(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number in range(5):
            await ctx.reply(str(number))

    replies = agent.inquire()
    async for _ in replies:
        break

    assert await texts(replies) == ["0", "1", "2", "3", "4"]


async def test_an_agent_that_is_cancelled_does_not_harm_an_agent_that_it_read(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def source(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("result")

    @miniagent
    async def reader(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.message_promises)

    source_replies = source.inquire()
    first, second = reader.inquire(source_replies), reader.inquire(source_replies)
    await several_task_switches()
    first.cancel()
    release.set()

    assert await texts(second) == ["result"]
    assert await texts(source_replies) == ["result"]


async def test_an_error_of_cancellation_inside_of_an_agent_is_no_result(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise asyncio.CancelledError

    reader = aiter(agent.inquire())
    assert str(await (await anext(reader))) == "before"
    with pytest.raises(PromiseCancelledError):
        await anext(reader)


async def test_an_agent_that_ignores_its_cancellation_is_over_for_its_readers(mini_agents: MiniAgents) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    @miniagent
    async def stubborn(ctx: InteractionContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()
        ctx.reply("to nobody")
        ended.set()

    replies = stubborn.inquire()
    await several_task_switches()
    replies.cancel()
    with pytest.raises(PromiseCancelledError):
        await replies
    release.set()

    await ended.wait()
    with pytest.raises(PromiseCancelledError):
        await replies
