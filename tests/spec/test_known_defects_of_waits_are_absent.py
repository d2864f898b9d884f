"""Mistakes with readers that leave and waits that cannot end: each has a test that would show it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import (
    DeadlockError,
    InteractionContext,
    Message,
    MessageTokenAppender,
    MiniAgents,
    PromiseCancelledError,
    miniagent,
)
from miniagents.promising.promising import StreamedPromise
from tests.spec.slow_and_failing_agents import slow


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# -- readers that leave --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
@pytest.mark.virtual_clock
async def test_a_timeout_of_the_first_reader_of_replies_poisons_them_for_nobody(
    start_asap: bool, mini_agents: MiniAgents
) -> None:
    replies = slow.inquire(start_asap=start_asap)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await replies

    assert await texts(replies) == ["done"]
    assert [str(await promise) async for promise in replies] == ["done"]


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
@pytest.mark.parametrize("by", ["awaiting", "iterating"])
@pytest.mark.virtual_clock
async def test_a_timeout_of_the_first_reader_of_tokens_poisons_them_for_nobody(
    by: str, start_asap: bool, mini_agents: MiniAgents
) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        for token in "abc":
            await asyncio.sleep(1)
            yield token

    async def read(promise: Any) -> None:
        if by == "awaiting":
            await promise
        else:
            async for _ in promise:
                pass

    promise = Message.promise(message_token_streamer=tokens, start_asap=start_asap)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await read(promise)

    assert str(await promise) == "abc"
    assert [token async for token in promise] == ["a", "b", "c"]


@pytest.mark.virtual_clock
async def test_a_timeout_around_a_call_stops_the_work(mini_agents: MiniAgents) -> None:
    steps: list[int] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3.5), slow.inquire(notice=steps.append) as replies:
            await replies
    await asyncio.sleep(20)

    assert steps == [0, 1, 2]


@pytest.mark.virtual_clock
async def test_a_reader_that_leaves_a_lazy_stream_stops_its_producer_where_it_is(mini_agents: MiniAgents) -> None:
    made: list[int] = []

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        for number in range(20):
            made.append(number)
            yield str(number)

    promise = Message.promise(message_token_streamer=tokens, start_asap=False)
    async for token in promise:
        if token == "3":
            break
    await asyncio.sleep(100)

    assert len(made) <= 5
    assert len(str(await promise)) == 30


async def test_a_producer_whose_consumer_is_cancelled_can_be_told(mini_agents: MiniAgents) -> None:
    stopped = asyncio.Event()

    @miniagent
    async def endless(ctx: InteractionContext) -> None:
        try:
            while True:
                await ctx.reply("again")
                await asyncio.sleep(0)
        finally:
            stopped.set()

    async def consume() -> None:
        async with endless.inquire() as replies:
            async for _ in replies:
                pass

    consumer = asyncio.create_task(consume())
    await several_task_switches()
    consumer.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consumer

    await stopped.wait()


# -- waits that cannot end -----------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
@pytest.mark.mini_agents(start_everything_asap_by_default=False, stall_report_s=30)
async def test_lazy_calls_that_wait_for_each_other_unread_are_reported(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    # The second call starts only when the first one has been read to its end, and that waits for the second: this is
    # what lazy means, and nobody can prove that nothing else will set the event.
    event = asyncio.Event()

    @miniagent
    async def waiter(ctx: InteractionContext) -> None:
        await event.wait()
        ctx.reply("waited")

    @miniagent
    async def setter(ctx: InteractionContext) -> None:
        event.set()
        ctx.reply("set")

    @miniagent
    async def both(ctx: InteractionContext) -> None:
        ctx.reply([waiter.inquire(), setter.inquire()])

    caplog.set_level(logging.WARNING)
    reading = asyncio.create_task(texts(both.inquire()))
    await asyncio.sleep(100)

    assert not reading.done()
    assert "WAITER" in caplog.text
    event.set()
    assert await reading == ["waited", "set"]


@pytest.mark.mini_agents(start_everything_asap_by_default=False)
async def test_lazy_calls_may_be_nested_deeper_than_the_recursion_limit(mini_agents: MiniAgents) -> None:
    @miniagent
    async def nested(ctx: InteractionContext, depth: int) -> None:
        ctx.reply(nested.inquire(depth=depth - 1) if depth else "bottom")

    assert await texts(nested.inquire(depth=1500)) == ["bottom"]


@pytest.mark.virtual_clock
async def test_an_agent_that_awaits_its_own_replies_is_told_instead_of_waiting_for_ever() -> None:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        await box[0]

    async with MiniAgents():
        box.append(agent.inquire())
        with pytest.raises(DeadlockError, match="AGENT"):
            await box[0]

    assert asyncio.get_running_loop().time() <= 1


@pytest.mark.virtual_clock
async def test_an_agent_that_awaits_the_reply_to_a_call_that_it_has_not_finished_is_told() -> None:
    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply([await ctx.message_promises])

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        call = echo.initiate_inquiry().send_message("a")
        ctx.reply(await call.reply_sequence(close_request_sequence=False))

    async with MiniAgents():
        with pytest.raises(DeadlockError, match=r"finish\(\)"):
            await agent.inquire()

    assert asyncio.get_running_loop().time() <= 1


@pytest.mark.virtual_clock
async def test_an_appender_that_is_opened_and_never_closed_hangs_neither_readers_nor_the_end() -> None:
    async def open_and_forget() -> Any:
        appender = MessageTokenAppender()
        appender.open()
        appender.append("a")
        return Message.promise(message_token_streamer=appender)

    async with MiniAgents():
        promise = await asyncio.create_task(open_and_forget())
        with pytest.raises(DeadlockError, match=r"close\(\)"):
            await promise

    assert asyncio.get_running_loop().time() <= 1


async def test_a_streamer_that_fails_at_every_step_ends_instead_of_spinning(mini_agents: MiniAgents) -> None:
    attempts: list[int] = []

    class Broken:
        def __aiter__(self) -> "Broken":
            return self

        async def __anext__(self) -> str:
            attempts.append(1)
            raise ValueError("broken")

    promise = StreamedPromise[str, Any](streamer=lambda _: Broken())
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async for _ in promise:
                pass

    assert len(attempts) == 1


async def test_a_cancelled_stream_tells_its_readers(mini_agents: MiniAgents) -> None:
    replies = slow.inquire()
    await several_task_switches()
    replies.cancel()

    with pytest.raises(PromiseCancelledError):
        await replies
