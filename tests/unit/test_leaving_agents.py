"""What leaving an agent stops: the end of an `async with`, a timeout, a reader that goes away."""

import asyncio
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgent, MiniAgents, PromiseCancelledError, miniagent
from tests.unit.endless_agents import Trace, endless


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def trace() -> Trace:
    return Trace()


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
