"""What an agent sees and can do while it runs: its context, its subtasks, its early end, and whose context variables."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MessageSequence,
    MessageSequencePromise,
    MiniAgents,
    MiniAgentsError,
    miniagent,
)
from miniagents.errors import AppenderClosedError, DeadlockError, NoActiveContextError, NotAMessageError


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


# -- waiting for oneself -------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
async def test_waiting_for_ones_own_replies_is_an_error(mini_agents: MiniAgents) -> None:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        with pytest.raises(DeadlockError, match="AGENT") as caught:
            await box[0]
        ctx.reply(str(type(caught.value).__name__))

    loop = asyncio.get_running_loop()
    began = loop.time()
    box.append(agent.inquire())

    assert await texts(box[0]) == ["DeadlockError"]
    assert loop.time() - began <= 1


@pytest.mark.virtual_clock
async def test_an_agent_whose_subtask_is_its_own_reply_is_told(mini_agents: MiniAgents) -> None:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(box[0])

    box.append(agent.inquire())

    with pytest.raises(DeadlockError, match="AGENT"):
        await box[0]


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


# -- circles -------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
@pytest.mark.allow_errors_in_log("the second agent fails too, and nobody reads its replies")
async def test_two_agents_that_wait_for_each_other_are_told(mini_agents: MiniAgents) -> None:
    calls: list[Any] = []

    async def wait_for_the_other(ctx: InteractionContext, number: int) -> None:
        await asyncio.sleep(0)
        ctx.reply(await calls[1 - number])

    first, second = miniagent(alias="FIRST")(wait_for_the_other), miniagent(alias="SECOND")(wait_for_the_other)
    calls += [first.inquire(number=0), second.inquire(number=1)]

    with pytest.raises(DeadlockError) as caught:
        await calls[0]

    assert "FIRST" in str(caught.value)
    assert "SECOND" in str(caught.value)
    assert asyncio.get_running_loop().time() <= 1


async def reply_ones_own_replies() -> Any:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("before")
        ctx.reply(box[0])

    box.append(agent.inquire())
    return box[0]


async def reply_each_others_replies() -> Any:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext, other: int) -> None:
        ctx.reply(["before", [box[other]]])

    box += [agent.inquire(other=1), agent.inquire(other=0)]
    return box[0]


async def send_a_call_its_own_replies() -> Any:
    @miniagent
    async def forwarder(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    call = forwarder.initiate_inquiry()
    return call.send_message(call.reply_sequence(close_request_sequence=False)).reply_sequence()


async def append_a_sequence_to_itself() -> Any:
    sequence = MessageSequence()
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append(["before", sequence.sequence_promise])
    return sequence.sequence_promise


@pytest.mark.parametrize(
    "make_circle",
    [reply_ones_own_replies, reply_each_others_replies, send_a_call_its_own_replies, append_a_sequence_to_itself],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize("how", ["await", "iterate", "join"])
@pytest.mark.virtual_clock
async def test_replies_that_contain_themselves_are_an_error(
    how: str, make_circle: Any, mini_agents: MiniAgents
) -> None:
    with pytest.raises(MiniAgentsError):
        sequence = await make_circle()
        match how:
            case "await":
                await sequence
            case "join":
                await sequence.as_single_promise()
            case _:
                async for _ in sequence:
                    pass

    assert asyncio.get_running_loop().time() <= 1


# -- who waits -----------------------------------------------------------------------------------------------------------


async def test_one_can_ask_who_waits_for_whom(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def inner_agent(ctx: InteractionContext) -> None:
        await release.wait()

    @miniagent
    async def outer_agent(ctx: InteractionContext) -> None:
        await inner_agent.inquire()

    replies = outer_agent.inquire()
    await several_task_switches()
    text = mini_agents.who_waits()

    assert "OUTER_AGENT" in text
    assert "INNER_AGENT" in text
    release.set()
    await replies


@pytest.mark.virtual_clock
@pytest.mark.mini_agents(stall_report_s=30)
async def test_a_wait_for_something_that_is_not_ours_is_reported_and_never_an_error(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    @miniagent
    async def waiting_agent(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("at last")

    reading = asyncio.create_task(texts(waiting_agent.inquire()))
    await asyncio.sleep(25)
    assert caplog.text == ""
    await asyncio.sleep(1000)
    assert "WAITING_AGENT" in caplog.text
    assert len(caplog.records) == 1

    release.set()
    assert await reading == ["at last"]


@pytest.mark.virtual_clock
async def test_a_wait_for_a_person_is_not_reported(mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture) -> None:
    answered = asyncio.Event()

    @miniagent
    async def person(ctx: InteractionContext) -> None:
        with mini_agents.waits_for_outside("a person who types"):
            await answered.wait()
        ctx.reply("typed")

    reading = asyncio.create_task(texts(person.inquire()))
    await asyncio.sleep(1000)

    assert caplog.text == ""
    assert "a person who types" in mini_agents.who_waits()
    answered.set()
    assert await reading == ["typed"]
