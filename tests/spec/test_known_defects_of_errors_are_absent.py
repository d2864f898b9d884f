"""Mistakes with exits and errors: each has a test that would show it."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MiniAgents,
    miniagent,
)
from tests.spec.slow_and_failing_agents import failing, slow


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


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
