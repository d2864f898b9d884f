import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext import AWAIT, CLEAR, agent_chain, agent_loop, dialog_loop
from miniagents.ext.agent_aggregators import EndlessLoopError, NotAStageError
from miniagents.messages import MessageTokenAppender


@miniagent
async def shout(ctx: InteractionContext) -> None:
    async for promise in ctx.message_promises:
        ctx.reply(str(await promise).upper())


@miniagent
async def add_mark(ctx: InteractionContext, mark: str = "!") -> None:
    async for promise in ctx.message_promises:
        ctx.reply(f"{await promise}{mark}")


@miniagent
async def count(ctx: InteractionContext) -> None:
    ctx.reply(str(len(await ctx.message_promises)))


async def texts(replies: object) -> list[str]:
    return [str(message) for message in await replies]


class Script:
    """A user who says one thing a turn, and then does something else."""

    def __init__(self, *lines: str, then: Callable[[], None]) -> None:
        self.lines = list(lines)
        self.heard: list[list[str]] = []
        self.then = then

    def agent(self) -> MiniAgent:
        @miniagent
        async def scripted_user(ctx: InteractionContext) -> None:
            self.heard.append([str(message) for message in await ctx.message_promises])
            if not self.lines:
                self.then()
            ctx.reply(self.lines.pop(0))

        return scripted_user


def leave() -> None:
    raise EOFError


# ------------------------------------------------------------------------------------------------------ agent_chain


async def test_each_agents_replies_are_the_next_ones_input(mini_agents: MiniAgents) -> None:
    replies = agent_chain.inquire(["a", "b"], agents=[shout, add_mark, add_mark.fork(mark="?")])

    assert await texts(replies) == ["A!?", "B!?"]


async def test_tokens_flow_through_a_chain_without_waiting(mini_agents: MiniAgents) -> None:
    go_on = asyncio.Event()

    @miniagent
    async def slow_speaker(ctx: InteractionContext) -> None:
        with MessageTokenAppender() as tokens:
            ctx.reply(Message.promise(message_token_streamer=tokens))
            tokens.append("first")
            await go_on.wait()
            tokens.append(" second")

    @miniagent
    async def pass_on(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    seen: list[str] = []
    async for promise in agent_chain.inquire(agents=[slow_speaker, pass_on, pass_on]):
        async for token in promise:
            seen.append(token)
            go_on.set()  # Were anything in between waiting for the whole, the first token would not be here.

    assert seen == ["first", " second"]


async def test_none_is_skipped_and_await_may_stand_anywhere(mini_agents: MiniAgents) -> None:
    replies = agent_chain.inquire("a", agents=[AWAIT, None, shout, AWAIT, AWAIT, None, add_mark, AWAIT])

    assert await texts(replies) == ["A!"]


async def test_clear_drops_the_messages(mini_agents: MiniAgents) -> None:
    assert await texts(agent_chain.inquire(["a", "b"], agents=[shout, CLEAR, count])) == ["0"]
    assert await texts(agent_chain.inquire("a", agents=[shout, CLEAR])) == []
    assert await texts(agent_chain.inquire("a", agents=[CLEAR, AWAIT, count])) == ["0"]


async def test_a_chain_works_without_agents_and_without_messages(mini_agents: MiniAgents) -> None:
    assert await texts(agent_chain.inquire(["a", "b"], agents=[])) == ["a", "b"]
    assert await texts(agent_chain.inquire(agents=[])) == []
    assert await texts(agent_chain.inquire(agents=[shout, AWAIT, count])) == ["0"]


async def test_await_holds_the_next_agent_back_until_everything_before_it_is_resolved(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    @miniagent
    async def worker(ctx: InteractionContext, name: str) -> None:
        events.append(f"{name} begins")
        ctx.reply(ctx.message_promises)
        await asyncio.sleep(0)
        events.append(f"{name} ends")

    await agent_chain.inquire(agents=[worker.fork(name="a"), worker.fork(name="b"), AWAIT, worker.fork(name="c")])

    assert events == ["a begins", "b begins", "a ends", "b ends", "c begins", "c ends"]


async def test_an_error_ends_the_chain_at_the_next_await(mini_agents: MiniAgents) -> None:
    called: list[str] = []

    @miniagent
    async def broken(ctx: InteractionContext) -> None:
        raise ValueError("broken")

    @miniagent
    async def after(ctx: InteractionContext) -> None:
        called.append("after")

    with pytest.raises(ValueError, match="broken"):
        await agent_chain.inquire("a", agents=[broken, AWAIT, after])

    assert called == []


@pytest.mark.parametrize("aggregator", [agent_chain, agent_loop], ids=["chain", "loop"])
async def test_what_is_no_agent_is_refused_before_any_agent_starts(
    mini_agents: MiniAgents, aggregator: MiniAgent
) -> None:
    called: list[str] = []

    @miniagent
    async def first(ctx: InteractionContext) -> None:
        called.append("first")

    with pytest.raises(NotAStageError, match=r"`agents\[2\]` of `agent_\w+` is 'AWIAT', a str. .*`AWAIT`, `CLEAR` or"):
        await aggregator.inquire(agents=[first, AWAIT, "AWIAT"])

    assert called == []


# ------------------------------------------------------------------------------------------------------- agent_loop


async def test_a_loop_goes_round_until_an_agent_raises_eof_error(mini_agents: MiniAgents) -> None:
    user = Script("one", "two", then=leave)

    replies = await agent_loop.inquire("begin", agents=[user.agent(), AWAIT, shout])

    assert replies == ()
    assert user.heard == [["begin"], ["ONE"], ["TWO"]]


async def test_a_loop_ends_in_good_order_when_an_agent_raises_keyboard_interrupt(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    user = Script("one", then=press_ctrl_c)

    await agent_loop.inquire(agents=[user.agent(), AWAIT, shout])

    assert user.heard == [[], ["ONE"]]
    assert caplog.text == ""


async def test_end_of_input_behind_several_agents_ends_the_loop_too(mini_agents: MiniAgents) -> None:
    user = Script("one", then=leave)

    await agent_loop.inquire(agents=[user.agent(), add_mark, AWAIT, shout, None])

    assert user.heard == [[], ["ONE!"]]


@pytest.mark.mini_agents(errors_to_messages=True)
async def test_end_of_input_ends_a_loop_also_where_errors_become_messages_by_default(mini_agents: MiniAgents) -> None:
    user = Script("one", then=leave)

    await agent_loop.inquire(agents=[user.agent(), add_mark, AWAIT, shout])

    assert user.heard == [[], ["ONE!"]]


async def test_another_error_comes_out_of_the_loop(mini_agents: MiniAgents) -> None:
    def fail() -> None:
        raise ValueError("not the end of a dialog")

    with pytest.raises(ValueError, match="not the end of a dialog"):
        await agent_loop.inquire(agents=[Script("one", then=fail).agent(), AWAIT, shout])


@pytest.mark.parametrize("marks", [[], [CLEAR], [None]], ids=str)
async def test_a_loop_without_await_is_refused_before_anything_starts(
    mini_agents: MiniAgents, marks: list[str | None]
) -> None:
    called: list[str] = []

    @miniagent
    async def eager_agent(ctx: InteractionContext) -> None:
        called.append("called")

    with pytest.raises(EndlessLoopError, match=r"no `AWAIT`: `agents=\[EAGER_AGENT.*Put `AWAIT` behind the agent"):
        await agent_loop.inquire(agents=[eager_agent, *marks])

    assert called == []


async def test_a_loop_without_agents_is_refused(mini_agents: MiniAgents) -> None:
    with pytest.raises(EndlessLoopError, match=r"no agent: `agents=\[AWAIT\]`"):
        await agent_loop.inquire(agents=[AWAIT, None])


async def test_work_that_is_still_under_way_when_the_loop_ends_is_cancelled(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    @miniagent
    async def never_ending(ctx: InteractionContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")

    @miniagent
    async def leaves_without_listening(ctx: InteractionContext) -> None:
        await asyncio.sleep(0)
        raise EOFError

    await agent_loop.inquire(agents=[never_ending, leaves_without_listening, AWAIT])
    await mini_agents.aflush_tasks()

    assert events == ["cancelled"]


async def test_ctrl_c_ends_a_loop_whose_agents_wait_and_the_earlier_handler_comes_back(
    mini_agents: MiniAgents,
) -> None:
    waiting = asyncio.Event()
    events: list[str] = []

    @miniagent
    async def waits_for_ever(ctx: InteractionContext) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("stopped")

    earlier = signal.getsignal(signal.SIGINT)
    loop = agent_loop.inquire(agents=[waits_for_ever, AWAIT])
    await waiting.wait()
    assert signal.getsignal(signal.SIGINT) != earlier
    signal.raise_signal(signal.SIGINT)

    assert await loop == ()
    assert signal.getsignal(signal.SIGINT) == earlier, "a second Ctrl+C does what it always did"
    await mini_agents.aflush_tasks()
    assert events == ["stopped"]


async def test_a_program_that_handles_ctrl_c_itself_keeps_its_handler(mini_agents: MiniAgents) -> None:
    def own_handler(*_: object) -> None: ...

    found: list[object] = []

    @miniagent
    async def looks(ctx: InteractionContext) -> None:
        found.append(signal.getsignal(signal.SIGINT))
        raise EOFError

    earlier = signal.signal(signal.SIGINT, own_handler)
    try:
        await agent_loop.inquire(agents=[looks, AWAIT])
    finally:
        signal.signal(signal.SIGINT, earlier)

    assert found == [own_handler]


# ------------------------------------------------------------------------------------------------------ dialog_loop


async def test_the_loops_own_input_is_a_prompt_for_the_assistant_alone(mini_agents: MiniAgents) -> None:
    user = Script("one", "two", then=leave)
    asked: list[list[str]] = []

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        asked.append(await texts(ctx.message_promises))
        ctx.reply("answer")

    replies = await dialog_loop.inquire(["be kind", "be brief"], user_agent=user.agent(), assistant_agent=assistant)

    assert replies == ()
    assert asked == [["be kind", "be brief", "one"], ["be kind", "be brief", "two"]]
    assert user.heard == [[], ["answer"], ["answer"]]


async def test_an_error_of_the_assistant_reaches_the_user_agent_at_its_place(mini_agents: MiniAgents) -> None:
    heard: list[object] = []

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise ValueError("the model is tired")

    @miniagent
    async def user(ctx: InteractionContext) -> None:
        try:
            async for promise in ctx.message_promises:
                heard.append(str(await promise))
        except ValueError as error:
            heard.append(error)
        if heard:
            raise EOFError
        ctx.reply("hi")

    await dialog_loop.inquire(user_agent=user, assistant_agent=assistant)

    assert [str(thing) for thing in heard] == ["before", "the model is tired"]


async def test_two_dialogs_in_one_program_run_side_by_side(mini_agents: MiniAgents) -> None:
    first, second = Script("a", "b", then=leave), Script("x", then=leave)

    one = dialog_loop.inquire(user_agent=first.agent(), assistant_agent=shout)
    other = dialog_loop.inquire(user_agent=second.agent(), assistant_agent=shout)
    await one
    await other

    assert (first.heard, second.heard) == ([[], ["A"], ["B"]], [[], ["X"]])


@pytest.mark.parametrize("aggregator", [agent_chain, agent_loop], ids=["agent_chain", "agent_loop"])
@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        (shout, "`agents` of `AGENT` is the agent `SHOUT` alone: write `agents=[...]` around it."),
        ("AWAIT", "`agents` of `AGENT` is a list of agents, not 'AWAIT'."),
        (5, "`agents` of `AGENT` is a list of agents, not 5."),
    ],
    ids=["one agent", "a mark", "number"],
)
def test_what_is_no_list_of_agents_is_refused_in_words_that_say_what_to_write(
    aggregator: MiniAgent, agents: Any, sentence: str
) -> None:
    with pytest.raises(NotAStageError) as raised:
        aggregator.fork(agents=agents)

    assert str(raised.value) == sentence.replace("AGENT", aggregator.alias.lower(), 1)


def test_both_sides_of_a_dialog_are_agents() -> None:
    with pytest.raises(TypeError, match="`dialog_loop` needs as `user_agent` an agent, a function or class with"):
        dialog_loop.fork(user_agent=len)
