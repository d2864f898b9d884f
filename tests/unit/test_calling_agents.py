"""How an agent is called: when it starts, what it is given, and where it can be called."""

import asyncio
from typing import Any

import pytest

from miniagents import InteractionContext, MessageSequencePromise, MiniAgents, miniagent
from miniagents.errors import NoActiveContextError, NoRunningLoopError, NotAMessageError
from tests.unit.echoing_agents import echo


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


# -- calling -------------------------------------------------------------------------------------------------------------


async def test_inquire_returns_at_once_and_nothing_runs_before_the_next_task_switch(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        events.append("running")
        ctx.reply("hi")

    replies = agent.inquire()
    agent.kick_off()
    agent.initiate_inquiry().finish()
    events.append("called")
    assert isinstance(replies, MessageSequencePromise)
    assert events == ["called"]
    await asyncio.sleep(0)

    assert events == ["called", "running", "running", "running"]
    assert await texts(replies) == ["hi"]


async def test_agents_start_in_the_order_in_which_they_were_called(mini_agents: MiniAgents) -> None:
    started: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext, number: int) -> None:
        started.append(number)

    for number in range(10):
        agent.inquire(number=number)
    await asyncio.sleep(0)

    assert started == list(range(10))


async def test_an_agent_starts_while_its_input_is_still_coming(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def slow() -> Any:
        yield "first"
        await release.wait()
        yield "second"

    replies = aiter(echo.inquire(slow()))

    assert str(await (await anext(replies))) == "Echo: first"
    assert not release.is_set()
    release.set()
    assert str(await (await anext(replies))) == "Echo: second"


async def test_the_replies_of_one_agent_may_be_handed_to_another_before_they_are_there(mini_agents: MiniAgents) -> None:
    replies = echo.inquire(echo.inquire(echo.inquire(["a", "b"])))

    assert await texts(replies) == ["Echo: Echo: Echo: a", "Echo: Echo: Echo: b"]


async def test_an_agent_may_be_called_with_nothing(mini_agents: MiniAgents) -> None:
    assert await echo.inquire() == ()
    assert await echo.inquire(None) == ()
    assert await echo.inquire([]) == ()


async def test_changing_a_list_after_the_call_changes_nothing(mini_agents: MiniAgents) -> None:
    messages = ["a"]
    replies = echo.inquire(messages)
    messages.append("b")

    assert await texts(replies) == ["Echo: a"]


async def test_what_is_no_message_is_refused_by_the_call(mini_agents: MiniAgents) -> None:
    with pytest.raises(NotAMessageError, match="42"):
        echo.inquire(["a", 42])
    with pytest.raises(NotAMessageError, match="42"):
        echo.kick_off(42)


async def test_kick_off_gives_nothing_and_runs_also_where_everything_is_lazy(mini_agents: MiniAgents) -> None:
    ran: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ran.append(str(await ctx.message_promises.as_single_promise()))

    async with MiniAgents(start_everything_asap_by_default=False):
        assert agent.kick_off("now") is None  # pyright: ignore
        agent.inquire("never")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert ran == ["now"]


@pytest.mark.parametrize("mini_agents_default", [True, False], ids=["eager context", "lazy context"])
async def test_start_asap_of_a_call_wins_over_that_of_the_context(mini_agents_default: bool) -> None:
    started: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext, name: str) -> None:
        started.append(name)
        ctx.reply("hi")

    async with MiniAgents(start_everything_asap_by_default=mini_agents_default):
        agent.inquire(name="eager", start_asap=True)
        lazy = agent.inquire(name="lazy", start_asap=False)
        default = agent.inquire(name="default")
        for _ in range(3):
            await asyncio.sleep(0)
        assert started == (["eager", "default"] if mini_agents_default else ["eager"])

        assert await texts(lazy) == await texts(default) == ["hi"]


async def test_a_lazy_agent_starts_when_its_replies_are_first_read_and_then_runs(mini_agents: MiniAgents) -> None:
    replied: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number in range(3):
            ctx.reply(str(number))
            replied.append(number)
            await asyncio.sleep(0)

    replies = agent.inquire(start_asap=False)
    await mini_agents.aflush_tasks()
    assert replied == []

    await anext(aiter(replies))
    await mini_agents.aflush_tasks()

    assert replied == [0, 1, 2]


async def test_an_agent_that_nobody_reads_stays_lazy_to_the_end() -> None:
    started: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        started.append("no")

    async with MiniAgents():
        agent.inquire(start_asap=False)

    assert started == []


async def test_an_agent_is_not_called_like_a_function(mini_agents: MiniAgents) -> None:
    with pytest.raises(TypeError, match=r"inquire\(messages\)"):
        echo("hi")


async def test_the_replies_may_be_read_again_and_again_by_anybody(mini_agents: MiniAgents) -> None:
    runs: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        runs.append(1)
        for text in "abc":
            ctx.reply(text)
            await asyncio.sleep(0)

    replies = agent.inquire()

    assert await asyncio.gather(*(texts(replies) for _ in range(3))) == [["a", "b", "c"]] * 3
    assert [str(await promise) async for promise in replies] == ["a", "b", "c"]
    assert runs == [1]


# -- where an agent can be called ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["inquire", "kick_off", "initiate_inquiry"])
async def test_without_a_context_a_call_says_what_to_do(method: str) -> None:
    with pytest.raises(NoActiveContextError, match="async with MiniAgents"):
        getattr(echo, method)()


@pytest.mark.parametrize("method", ["inquire", "kick_off", "initiate_inquiry"])
def test_without_a_running_loop_a_call_says_what_to_do(method: str) -> None:
    context = MiniAgents().activate()
    try:
        with pytest.raises(NoRunningLoopError, match=r"run\(main\(\)\)"):
            getattr(echo, method)()
    finally:
        asyncio.run(context.afinalize())


async def test_a_call_in_another_thread_without_a_loop_says_what_to_do(mini_agents: MiniAgents) -> None:
    with pytest.raises((NoActiveContextError, NoRunningLoopError), match="run"):
        await asyncio.to_thread(echo.inquire, "hi")


async def test_another_thread_calls_agents_through_the_context(mini_agents: MiniAgents) -> None:
    async def ask() -> list[str]:
        return await texts(echo.inquire("hi"))

    assert await asyncio.to_thread(mini_agents.run_from_thread, ask) == ["Echo: hi"]
