"""Subtasks keep an agent, and its replies, open; an agent may also close its replies early."""

import asyncio
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, MiniAgentsError, miniagent
from miniagents.errors import AppenderClosedError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# -- subtasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coroutine", "task", "agent call"])
async def test_the_replies_do_not_close_before_a_subtask_is_done(kind: str, mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async def work() -> None:
            await release.wait()
            ctx.reply("from the subtask")

        @miniagent
        async def helper(_: InteractionContext) -> None:
            await work()

        match kind:
            case "coroutine":
                ctx.wait_for(work())
            case "task":
                ctx.wait_for(asyncio.create_task(work()))
            case _:
                ctx.wait_for(helper.inquire())
        ctx.reply("from the agent")

    replies = agent.inquire()
    await several_task_switches()
    assert not replies.done()
    release.set()

    assert await texts(replies) == ["from the agent", "from the subtask"]


async def test_a_coroutine_is_started_and_its_result_can_be_awaited(mini_agents: MiniAgents) -> None:
    started = asyncio.Event()

    async def work() -> str:
        started.set()
        return "result"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        subtask = ctx.wait_for(work())
        await started.wait()
        ctx.reply(await subtask)
        ctx.reply(await subtask)

    assert await texts(agent.inquire()) == ["result", "result"]


async def test_a_coroutine_that_is_not_to_be_started_at_once_runs_at_the_end(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    async def work() -> None:
        events.append("subtask")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(work(), start_asap_if_coroutine=False)
        await several_task_switches()
        events.append("agent")

    await agent.inquire()

    assert events == ["agent", "subtask"]


async def test_subtasks_can_be_awaited_on_the_way(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    async def work(name: str) -> None:
        await several_task_switches()
        events.append(name)

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(work("a"))
        ctx.wait_for(work("b"))
        await ctx.await_for_subtasks()
        events.append("agent")
        await ctx.await_for_subtasks()

    await agent.inquire()

    assert events == ["a", "b", "agent"]


async def test_a_subtask_may_add_another(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async def work(depth: int) -> None:
            await asyncio.sleep(0)
            ctx.reply(str(depth))
            if depth:
                ctx.wait_for(work(depth - 1))

        ctx.wait_for(work(3))

    assert await texts(agent.inquire()) == ["3", "2", "1", "0"]


async def test_an_error_in_a_subtask_is_an_error_of_the_agent(mini_agents: MiniAgents) -> None:
    async def work() -> None:
        raise ValueError("broken")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(work())
        ctx.reply("before")

    replies = agent.inquire()
    assert str(await (await anext(aiter(replies)))) == "before"
    with pytest.raises(ValueError, match="broken"):
        await replies


async def test_an_agent_that_fails_still_waits_for_its_subtasks(mini_agents: MiniAgents) -> None:
    events: list[str] = []
    release = asyncio.Event()

    async def work() -> None:
        await release.wait()
        events.append("subtask")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(work())
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await agent.inquire()
    release.set()
    await mini_agents.aflush_tasks()

    assert events == ["subtask"]


async def test_an_error_in_a_subtask_that_the_agent_handles_is_no_error_of_the_agent(mini_agents: MiniAgents) -> None:
    async def work() -> None:
        raise ValueError("broken")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        try:
            await ctx.wait_for(work())
        except ValueError as error:
            ctx.reply(f"handled: {error}")

    assert await texts(agent.inquire()) == ["handled: broken"]


async def test_a_subtask_after_the_end_is_refused(mini_agents: MiniAgents) -> None:
    contexts: list[InteractionContext] = []

    async def work() -> None: ...

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        contexts.append(ctx)

    await agent.inquire()

    with pytest.raises(MiniAgentsError, match="AGENT"):
        contexts[0].wait_for(work())


async def test_a_subtask_may_wait_for_all_others(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async def last() -> None:
            await ctx.await_for_subtasks()
            events.append("last")

        async def other() -> None:
            await several_task_switches()
            events.append("other")

        ctx.wait_for(last())
        ctx.wait_for(other())

    await agent.inquire()

    assert events == ["other", "last"]


# -- an early end --------------------------------------------------------------------------------------------------------


async def test_the_replies_may_be_closed_while_the_agent_goes_on(mini_agents: MiniAgents) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("early")
        await ctx.afinish_early()
        await release.wait()
        ended.set()

    assert await texts(agent.inquire()) == ["early"]
    assert not ended.is_set()
    release.set()
    await mini_agents.aflush_tasks()
    assert ended.is_set()


async def test_nothing_can_be_replied_after_an_early_end(mini_agents: MiniAgents) -> None:
    caught: list[BaseException] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        await ctx.afinish_early()
        try:
            ctx.reply("late")
        except AppenderClosedError as error:
            caught.append(error)

    assert await agent.inquire() == ()
    await mini_agents.aflush_tasks()
    assert len(caught) == 1


async def test_an_early_end_waits_for_the_subtasks_unless_told_otherwise(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext, wait: bool) -> None:
        async def work() -> None:
            await release.wait()
            if wait:
                ctx.reply("from the subtask")

        ctx.wait_for(work())
        await ctx.afinish_early(await_for_subtasks=wait)

    assert await agent.inquire(wait=False) == ()
    patient = agent.inquire(wait=True)
    await several_task_switches()
    assert not patient.done()
    release.set()
    assert await texts(patient) == ["from the subtask"]


async def test_an_early_end_finishes_open_calls(mini_agents: MiniAgents) -> None:
    @miniagent
    async def counter(ctx: InteractionContext) -> None:
        ctx.reply(str(len(await ctx.message_promises)))

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        call = counter.initiate_inquiry().send_message(["a", "b"])
        ctx.reply(call.reply_sequence(close_request_sequence=False))
        await ctx.afinish_early()

    assert await texts(agent.inquire()) == ["2"]


async def test_an_error_after_an_early_end_is_not_lost(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("fine")
        await ctx.afinish_early()
        raise ValueError("broken")

    async with MiniAgents():
        assert await texts(agent.inquire()) == ["fine"]

    assert "ValueError: broken" in caplog.text
    assert "AGENT" in caplog.text
