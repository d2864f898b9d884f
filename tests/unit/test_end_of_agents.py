"""What becomes of agents when their context ends: awaited when all is well, else cancelled and awaited."""

import asyncio
import os
import signal
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgent, MiniAgents, PromiseCancelledError, miniagent


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


# -- the end of the context ----------------------------------------------------------------------------------------------


async def test_the_context_awaits_all_agents_when_all_is_well() -> None:
    done: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext, depth: int) -> None:
        await several_task_switches()
        if depth:
            agent.inquire(depth=depth - 1)
        done.append(str(depth))

    async with MiniAgents():
        agent.inquire(depth=3)

    assert done == ["3", "2", "1", "0"]


async def test_an_error_in_the_block_cancels_all_that_runs_and_awaits_it(trace: Trace) -> None:
    with pytest.raises(ValueError, match="main"):
        async with MiniAgents():
            caller_of(endless).inquire(trace=trace)
            endless.kick_off(trace=trace, name="fired")
            await several_task_switches()
            raise ValueError("main")

    assert sorted(trace.cleaned_up) == ["caller", "endless", "fired"]


async def test_cancelling_the_main_function_cancels_all_that_runs_and_awaits_it(
    trace: Trace, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with MiniAgents():
            await endless.inquire(trace=trace)

    task = asyncio.create_task(main())
    await several_task_switches()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert trace.cleaned_up == ["endless"]
    assert caplog.text == ""


async def test_cancelling_while_the_context_ends_cancels_all_that_runs(trace: Trace) -> None:
    async def main() -> None:
        async with MiniAgents():
            endless.inquire(trace=trace)

    task = asyncio.create_task(main())
    await several_task_switches()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert trace.cleaned_up == ["endless"]


def test_ctrl_c_cancels_all_that_runs_and_leaves_nothing_behind(trace: Trace, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        replies = caller_of(endless, "await").inquire(trace=trace)
        await several_task_switches()
        os.kill(os.getpid(), signal.SIGINT)
        await replies

    with pytest.raises(KeyboardInterrupt):
        MiniAgents().run(main())

    assert sorted(trace.cleaned_up) == ["caller", "endless"]
    assert caplog.text == ""


async def test_readers_outside_get_the_pieces_so_far_from_a_context_that_was_cancelled(trace: Trace) -> None:
    with pytest.raises(ValueError, match="main"):
        async with MiniAgents():
            replies = endless.inquire(trace=trace)
            await several_task_switches()
            raise ValueError("main")

    reader = aiter(replies)
    assert str(await (await anext(reader))) == "endless works"
    with pytest.raises(PromiseCancelledError):
        await anext(reader)


@pytest.mark.virtual_clock
async def test_an_agent_that_ignores_the_end_is_named_and_left_after_the_grace_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()
    ended = asyncio.Event()

    @miniagent
    async def stubborn_agent(ctx: InteractionContext) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    began = asyncio.get_running_loop().time()
    with pytest.raises(ValueError, match="main"):
        async with MiniAgents(shutdown_grace_s=5):
            stubborn_agent.kick_off()
            await several_task_switches()
            raise ValueError("main")

    took_s = asyncio.get_running_loop().time() - began
    release.set()
    await ended.wait()
    assert 5 <= took_s < 6
    assert "ignored their cancellation" in caplog.text
    assert "STUBBORN_AGENT" in caplog.text


# -- writers that stop -----------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
async def test_replies_that_stop_at_their_bound_do_not_hold_up_the_end(trace: Trace) -> None:
    @miniagent
    async def prolific(ctx: InteractionContext) -> None:
        try:
            for number in range(1000):
                await ctx.reply(str(number))
        finally:
            trace.cleaned_up.append("prolific")

    async with MiniAgents(read_ahead_by_default=3):
        replies = prolific.inquire()
        await several_task_switches()

    assert trace.cleaned_up == ["prolific"]
    reader = aiter(replies)
    assert [str(await (await anext(reader))) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(PromiseCancelledError):
        while True:
            await anext(reader)
