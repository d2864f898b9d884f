"""Mistakes with memory, threads, loops and context variables: each has a test that would show it."""

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MessageSequence,
    MiniAgents,
    miniagent,
)
from miniagents.errors import LoopIsRunningError, NoActiveContextError, NoRunningLoopError, WrongThreadError
from miniagents.promising.promising import StreamAppender, StreamedPromise
from tests.spec.slow_and_failing_agents import failing


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# -- memory --------------------------------------------------------------------------------------------------------------


@pytest.mark.mini_agents(read_ahead_by_default=10)
async def test_a_producer_can_be_bound_to_its_readers(mini_agents: MiniAgents) -> None:
    sent: list[int] = []

    @miniagent
    async def prolific(ctx: InteractionContext) -> None:
        for number in range(50_000):
            await ctx.reply(str(number))
            sent.append(number)

    async with prolific.inquire() as replies:
        reader = aiter(replies)
        for _ in range(10):
            await anext(reader)
            await several_task_switches()

        assert len(sent) <= 20


async def test_a_finished_stream_keeps_little_more_than_its_tokens(mini_agents: MiniAgents) -> None:
    count = 20_000

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        for _ in range(count):
            yield "token"

    tracemalloc.start()
    try:
        promise = Message.promise(message_token_streamer=tokens)
        await promise
        await mini_agents.aflush_tasks()
        gc.collect()
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes / count <= 100


async def test_calls_that_succeed_leave_no_cyclic_garbage(mini_agents: MiniAgents) -> None:
    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        async for message_promise in ctx.message_promises:
            ctx.reply(f"Echo: {await message_promise}")

    async def call(count: int) -> None:
        for _ in range(count):
            await echo.inquire("hi")

    await call(10)
    gc.collect()
    gc.disable()
    try:
        await call(100)
        garbage = gc.collect()
    finally:
        gc.enable()

    assert garbage < 100


async def test_a_lazy_message_that_nobody_reads_is_never_produced() -> None:
    made: list[str] = []

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        made.append("token")
        yield "token"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens, start_asap=False))

    async with MiniAgents():
        assert len([promise async for promise in agent.inquire()]) == 1

    assert made == []


# -- threads and loops ---------------------------------------------------------------------------------------------------


@pytest.mark.allow_blocking("a thread is joined, which makes its mistake in no time")
async def test_writing_from_another_thread_is_refused_instead_of_noticed_late(mini_agents: MiniAgents) -> None:
    caught: list[BaseException] = []

    def append() -> None:
        try:
            appender.append("from a thread")
        except WrongThreadError as error:
            caught.append(error)

    with StreamAppender[str]() as appender:
        thread = threading.Thread(target=append)
        thread.start()
        thread.join()

    assert "run_from_thread" in str(caught[0])


async def test_another_thread_can_call_agents_and_write_at_once(mini_agents: MiniAgents) -> None:
    with StreamAppender[str]() as appender:
        reader = aiter(StreamedPromise[str, Any](streamer=appender))

        await asyncio.to_thread(mini_agents.run_from_thread, appender.append, "from a thread")
        assert await anext(reader) == "from a thread"
    with pytest.raises((NoActiveContextError, NoRunningLoopError)):
        await asyncio.to_thread(failing.inquire)


async def test_run_inside_of_a_running_loop_is_a_clear_error_without_warnings() -> None:
    async def main() -> None: ...

    with pytest.raises(LoopIsRunningError, match="arun"):
        MiniAgents().run(main())
    gc.collect()


async def test_a_context_may_be_ended_by_another_task_than_the_one_that_activated_it() -> None:
    async def start() -> MiniAgents:
        return MiniAgents().activate()

    context = await asyncio.create_task(start())

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    assert await texts(agent.inquire()) == ["hi"]
    await asyncio.create_task(context.afinalize())
    with pytest.raises(NoActiveContextError):
        agent.inquire()


user = ContextVar("user", default="nobody")


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_context_variables_are_those_of_the_call_and_never_leak_to_a_reader(
    start_asap: bool, mini_agents: MiniAgents
) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield user.get()
        user.set("streamer")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(user.get())
        ctx.reply(Message.promise(message_token_streamer=tokens, start_asap=False))

    user.set("caller")
    replies = agent.inquire(start_asap=start_asap)
    user.set("reader")

    assert await texts(replies) == ["caller", "caller"]
    assert user.get() == "reader"


async def test_a_setting_may_be_forked_twice(mini_agents: MiniAgents) -> None:
    @miniagent(k=0)
    async def agent(ctx: InteractionContext, k: int) -> None:
        ctx.reply(str(k))

    assert await texts(agent.fork(k=1).fork(k=2).inquire()) == ["2"]
    assert await texts(agent.fork(k=1).fork(k=2).inquire(k=3)) == ["3"]


async def test_lists_may_be_nested_deeper_than_the_recursion_limit(mini_agents: MiniAgents) -> None:
    nested: Any = "deep"
    for _ in range(3000):
        nested = [nested]

    assert await texts(MessageSequence.turn_into_sequence_promise(nested)) == ["deep"]
