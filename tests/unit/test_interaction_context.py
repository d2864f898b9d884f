"""What an agent sees and can do while it runs: its context, its subtasks, its early end, and whose context variables."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MessageSequencePromise,
    MiniAgents,
    miniagent,
)
from miniagents.errors import AppenderClosedError, NoActiveContextError, NotAMessageError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# -- what it sees --------------------------------------------------------------------------------------------------------


async def test_an_agent_sees_itself_and_its_input(mini_agents: MiniAgents) -> None:
    seen: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        seen.extend([ctx.this_agent, ctx.message_promises, await ctx.message_promises])

    forked = agent.fork(alias="FORKED")
    await forked.inquire(["a", "b"])

    assert seen[0] is forked
    assert isinstance(seen[1], MessageSequencePromise)
    assert seen[2] == (Message("a"), Message("b"))


async def test_the_current_context_is_found_anywhere_inside_of_the_agent(mini_agents: MiniAgents) -> None:
    found: list[InteractionContext] = []

    async def helper() -> None:
        found.append(InteractionContext.get_current())

    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        found.append(InteractionContext.get_current())
        yield "a"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        found.append(ctx)
        await helper()
        await asyncio.create_task(helper())
        await Message.promise(message_token_streamer=stream)
        await inner.inquire()
        await helper()

    @miniagent
    async def inner(ctx: InteractionContext) -> None:
        assert InteractionContext.get_current() is ctx
        assert ctx not in found

    await agent.inquire()

    assert len(found) == 5
    assert set(map(id, found)) == {id(found[0])}


async def test_outside_of_an_agent_there_is_no_current_context(mini_agents: MiniAgents) -> None:
    with pytest.raises(NoActiveContextError, match="InteractionContext"):
        InteractionContext.get_current()


async def test_the_agent_trace_goes_from_this_agent_up_to_the_first(mini_agents: MiniAgents) -> None:
    traces: list[list[str]] = []

    @miniagent
    async def first(ctx: InteractionContext) -> None:
        ctx.reply(second.inquire())

    @miniagent
    async def second(ctx: InteractionContext) -> None:
        async def messages() -> AsyncIterator[Any]:
            yield third.inquire()

        ctx.reply(messages())

    @miniagent
    async def third(ctx: InteractionContext) -> None:
        traces.append([agent.alias for agent in ctx.get_agent_trace()])

    await first.inquire()

    assert traces == [["THIRD", "SECOND", "FIRST"]]


# -- replying ------------------------------------------------------------------------------------------------------------


async def test_replies_keep_the_order_in_which_they_were_sent(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def slow(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("slow")

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("first")
        ctx.reply(slow.inquire())
        ctx.reply(["last", None, ["very last"]])

    replies = agent.inquire()
    reader = aiter(replies)
    assert str(await (await anext(reader))) == "first"
    await several_task_switches()
    release.set()

    assert await texts(replies) == ["first", "slow", "last", "very last"]


async def test_a_reply_is_there_while_the_agent_goes_on(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("early")
        await release.wait()

    replies = agent.inquire()

    assert str(await (await anext(aiter(replies)))) == "early"
    assert not replies.done()
    release.set()
    assert await texts(replies) == ["early"]


async def test_what_is_no_message_cannot_be_replied(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        with pytest.raises(NotAMessageError, match="42"):
            ctx.reply(42)
        ctx.reply("fine")

    assert await texts(agent.inquire()) == ["fine"]


async def test_a_helper_task_may_reply_while_the_agent_runs(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async def help_out() -> None:
            ctx.reply("from a task")

        await asyncio.create_task(help_out())
        ctx.reply("from the agent")

    assert await texts(agent.inquire()) == ["from a task", "from the agent"]


async def test_a_reply_after_the_end_is_an_error(mini_agents: MiniAgents) -> None:
    contexts: list[InteractionContext] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        contexts.append(ctx)

    await agent.inquire()

    for reply in (contexts[0].reply, contexts[0].reply_out_of_order):
        with pytest.raises(AppenderClosedError, match="AGENT"):
            reply("late")


async def test_an_awaited_reply_lets_the_readers_run(mini_agents: MiniAgents) -> None:
    received: list[str] = []
    sent: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for text in "abc":
            await ctx.reply(text)
            sent.append(text)
            await asyncio.sleep(0)
            assert received == sent

    async for promise in agent.inquire():
        received.append(str(await promise))

    assert received == ["a", "b", "c"]


async def test_an_awaited_reply_waits_while_the_replies_are_at_their_bound() -> None:
    sent: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number in range(10):
            await ctx.reply(str(number))
            sent.append(number)

    async with MiniAgents(read_ahead_by_default=2):
        replies = agent.inquire()
        await several_task_switches()
        assert len(sent) <= 2
        reader = aiter(replies)
        for _ in range(4):
            await anext(reader)
        await several_task_switches()
        assert 4 <= len(sent) <= 6

        assert len([promise async for promise in reader]) == 6


async def test_replies_that_are_not_awaited_are_never_held_up() -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number in range(10):
            ctx.reply(str(number))

    async with MiniAgents(read_ahead_by_default=1) as mini_agents:
        replies = agent.inquire()
        await mini_agents.aflush_tasks()

        assert replies.done()
        assert len(await replies) == 10


# -- context variables ---------------------------------------------------------------------------------------------------

user = ContextVar("user", default="nobody")


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_an_agent_sees_the_context_variables_of_the_place_where_it_was_called(
    start_asap: bool, mini_agents: MiniAgents
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(user.get())
        user.set("agent")

    user.set("caller")
    replies = agent.inquire(start_asap=start_asap)
    user.set("changed after the call")

    async def read() -> list[str]:
        user.set("reader")
        found = await texts(replies)
        assert user.get() == "reader"
        return found

    assert await asyncio.create_task(read()) == ["caller"]
    assert user.get() == "changed after the call"


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_a_token_streamer_sees_the_context_variables_of_the_place_where_it_was_made(
    start_asap: bool, mini_agents: MiniAgents
) -> None:
    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        yield user.get()
        user.set("streamer")
        yield user.get()

    user.set("maker")
    promise = Message.promise(message_token_streamer=stream, start_asap=start_asap)
    user.set("reader")

    assert [token async for token in promise] == ["maker", "streamer"]
    assert user.get() == "reader"


async def test_two_calls_of_one_agent_do_not_see_each_others_context_variables(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext, name: str) -> None:
        user.set(name)
        await several_task_switches()
        ctx.reply(user.get())

    first, second = agent.inquire(name="a"), agent.inquire(name="b")

    assert [await texts(first), await texts(second)] == [["a"], ["b"]]
