"""Mistakes that are easily made in a framework like this one: each has a test that would show it."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from miniagents import (
    DeadlockError,
    InteractionContext,
    Message,
    MessageSequence,
    MessageTokenAppender,
    MiniAgents,
    PromiseCancelledError,
    miniagent,
)
from miniagents.errors import LoopIsRunningError, NoActiveContextError, NoRunningLoopError, WrongThreadError
from miniagents.promising.promising import StreamAppender, StreamedPromise


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@miniagent
async def slow(ctx: InteractionContext, seconds: float = 10, notice: Callable[[int], None] | None = None) -> None:
    """Works for a while, in ten steps."""
    for number in range(10):
        await asyncio.sleep(seconds / 10)
        if notice is not None:
            notice(number)
    ctx.reply("done")


@miniagent
async def failing(ctx: InteractionContext) -> None:
    raise ValueError("broken")


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


# -- exits ---------------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_the_program_at_once_and_lets_agents_clean_up() -> None:
    cleaned_up: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []

    @miniagent
    async def endless(ctx: InteractionContext) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned_up.append("endless")

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        loops[0].call_soon(os.kill, os.getpid(), signal.SIGINT)
        await endless.inquire()

    with pytest.raises(KeyboardInterrupt):
        MiniAgents().run(main())

    assert cleaned_up == ["endless"]
    assert loops[0].is_closed()


def test_an_exit_in_an_agent_that_nobody_reads_is_the_exit_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        sys.exit(3)

    async def main() -> None:
        agent.kick_off()

    with pytest.raises(SystemExit) as caught:
        MiniAgents().run(main())

    assert caught.value.code == 3


@pytest.mark.virtual_clock
async def test_an_error_in_the_main_function_does_not_wait_for_agents() -> None:
    with pytest.raises(ValueError, match="main"):
        async with MiniAgents():
            slow.inquire(seconds=1000)
            raise ValueError("main")

    assert asyncio.get_running_loop().time() == 0


# -- errors --------------------------------------------------------------------------------------------------------------


def test_a_fired_agent_that_failed_is_an_error_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        failing.kick_off()

    with pytest.raises(ExceptionGroup) as caught:
        MiniAgents().run(main())

    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('broken')"]
    assert len(errors_logged(caplog)) == 1


@pytest.mark.parametrize("depth", [0, 1, 3, 10])
async def test_an_error_that_is_handled_is_not_logged_however_many_agents_it_crossed(
    depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    agent = failing
    for _ in range(depth):

        @miniagent
        async def forwarder(ctx: InteractionContext, inner: Any = agent) -> None:
            ctx.reply(await inner.inquire())

        agent = forwarder

    async with MiniAgents():
        with contextlib.suppress(ValueError):
            await agent.inquire()
    gc.collect()

    assert caplog.text == ""


async def test_the_traceback_of_an_error_does_not_grow_with_its_readers(mini_agents: MiniAgents) -> None:
    replies = failing.inquire()
    lengths: set[int] = set()
    for _ in range(200):
        try:
            await replies
        except ValueError as error:
            lengths.add(len(traceback.extract_tb(error.__traceback__)))

    assert len(lengths) == 1


async def test_reading_a_finished_stream_again_and_again_keeps_nothing(mini_agents: MiniAgents) -> None:
    promise = Message.promise("text")
    reader = aiter(promise)
    await anext(reader)
    ends: list[BaseException] = []
    for _ in range(1000):
        try:
            await anext(reader)
        except StopAsyncIteration as end:
            ends.append(end)

    assert max(len(traceback.extract_tb(end.__traceback__)) for end in ends) < 10


def test_each_error_is_logged_once_however_many_contexts_there_were(caplog: pytest.LogCaptureFixture) -> None:
    handlers_before = list(logging.getLogger("miniagents").handlers)

    async def main() -> None:
        failing.kick_off()

    for _ in range(4):
        MiniAgents(background_errors="log")
    MiniAgents(background_errors="log").run(main())

    assert len(errors_logged(caplog)) == 1
    assert logging.getLogger("miniagents").handlers == handlers_before


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


# -- the rest ------------------------------------------------------------------------------------------------------------


async def test_a_message_whose_handler_failed_is_offered_again(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    offered: list[str] = []

    @mini_agents.on_persist_message
    async def flaky(_: Any, message: Message) -> None:
        if message.class_ == "Message":
            offered.append(str(message))
            if len(offered) == 1:
                raise OSError("disk full")

    @miniagent
    async def deaf(ctx: InteractionContext) -> None: ...

    message = Message("important")
    for _ in range(3):
        await deaf.inquire(message)
        await mini_agents.aflush_tasks()

    assert offered == ["important", "important"]
    assert "disk full" in caplog.text


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


async def test_a_producer_that_fails_in_the_middle_keeps_what_came_before_and_after(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "a"
        yield "b"
        raise ValueError("mid")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply([Message.promise(message_token_streamer=tokens), "following"])
        raise KeyError("late")

    reader = aiter(agent.inquire())
    broken, following = await anext(reader), await anext(reader)
    got: list[str] = []
    with pytest.raises(ValueError, match="mid"):
        async for token in broken:
            got.append(token)
    assert got == ["a", "b"]
    assert str(await following) == "following"
    with pytest.raises(KeyError, match="late"):
        await anext(reader)


async def test_a_cancelled_stream_tells_its_readers(mini_agents: MiniAgents) -> None:
    replies = slow.inquire()
    await several_task_switches()
    replies.cancel()

    with pytest.raises(PromiseCancelledError):
        await replies
