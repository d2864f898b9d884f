"""`AgentCall`: a call whose messages are sent one after another, while its replies may be read already."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import AgentCall, InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import CallFinishedError, NotAMessageError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


@miniagent
async def echo(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


async def test_messages_are_sent_one_after_another(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()
    assert isinstance(call, AgentCall)
    call.send_message("Hello")
    call.send_message("World")

    assert await texts(call.reply_sequence()) == ["Echo: Hello", "Echo: World"]


async def test_sending_can_be_chained(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()

    assert call.send_message("a").send_message(["b", None, ["c"]]).finish() is call
    assert await texts(call.reply_sequence()) == ["Echo: a", "Echo: b", "Echo: c"]


async def test_the_agent_starts_before_the_call_is_finished(mini_agents: MiniAgents) -> None:
    started = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        started.set()
        ctx.reply(ctx.message_promises)

    call = agent.initiate_inquiry()
    await started.wait()

    assert await texts(call.send_message("late").reply_sequence()) == ["late"]


async def test_asking_for_the_replies_finishes_the_call(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()
    assert not call.is_finished

    replies = call.reply_sequence()

    assert call.is_finished
    assert await replies == ()


async def test_the_replies_can_be_read_while_messages_are_sent(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()
    replies = aiter(call.reply_sequence(close_request_sequence=False))

    for text in "abc":
        call.send_message(text)
        assert str(await (await anext(replies))) == f"Echo: {text}"

    assert not call.is_finished
    call.finish()
    assert [promise async for promise in replies] == []


async def test_the_replies_are_the_same_promise_each_time(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()

    first = call.reply_sequence(close_request_sequence=False)

    assert call.reply_sequence() is first
    assert await first == ()


async def test_finishing_twice_changes_nothing(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry().send_message("a").finish().finish()

    assert await texts(call.reply_sequence()) == ["Echo: a"]


async def test_nothing_is_sent_after_finishing(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry().finish()

    for send in (call.send_message, call.send_out_of_order):
        with pytest.raises(CallFinishedError, match="`ECHO` is finished") as caught:
            send("late")
        caught.match(r"reply_sequence\(close_request_sequence=False\)")
    assert await call.reply_sequence() == ()


async def test_what_is_no_message_is_refused_and_the_call_goes_on(mini_agents: MiniAgents) -> None:
    call = echo.initiate_inquiry()
    with pytest.raises(NotAMessageError, match="42"):
        call.send_message(["a", 42])

    assert await texts(call.send_message("b").reply_sequence()) == ["Echo: b"]


async def test_sent_messages_may_still_be_coming(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "slow"
        await release.wait()

    call = echo.initiate_inquiry().send_message(Message.promise(message_token_streamer=tokens)).send_message("b")
    replies = call.reply_sequence()
    release.set()

    assert await texts(replies) == ["Echo: slow", "Echo: b"]


async def test_an_error_that_is_sent_reaches_the_agent_at_its_place(mini_agents: MiniAgents) -> None:
    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        messages = aiter(ctx.message_promises)
        while True:
            try:
                ctx.reply(await anext(messages))
            except ValueError as error:
                ctx.reply(f"caught {error}")
            except StopAsyncIteration:
                return

    call = careful.initiate_inquiry().send_message("a").send_message(ValueError("broken")).send_message("b")

    assert await texts(call.reply_sequence()) == ["a", "caught broken", "b"]


async def test_settings_and_modes_are_given_at_the_beginning(mini_agents: MiniAgents) -> None:
    started: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext, name: str) -> None:
        started.append(name)
        raise ValueError(name)

    lazy = agent.initiate_inquiry(start_asap=False, errors_to_messages=True, name="lazy").finish()
    await mini_agents.aflush_tasks()
    assert started == []

    assert await texts(lazy.reply_sequence()) == ["ValueError: lazy"]


async def test_a_call_that_is_left_open_by_an_agent_is_finished_when_the_agent_ends(mini_agents: MiniAgents) -> None:
    @miniagent
    async def forgetful(ctx: InteractionContext) -> None:
        call = echo.initiate_inquiry().send_message("a")
        ctx.reply(call.reply_sequence(close_request_sequence=False))

    assert await texts(forgetful.inquire()) == ["Echo: a"]


async def test_a_call_that_is_left_open_by_an_agent_that_fails_is_finished_too(mini_agents: MiniAgents) -> None:
    calls: list[AgentCall] = []

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        calls.append(echo.initiate_inquiry().send_message("a"))
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await failing.inquire()

    assert await texts(calls[0].reply_sequence()) == ["Echo: a"]


async def test_a_call_that_is_left_open_is_finished_when_the_context_ends() -> None:
    async with MiniAgents():
        replies = echo.initiate_inquiry().send_message("a").reply_sequence(close_request_sequence=False)

    assert await texts(replies) == ["Echo: a"]


def test_a_call_that_is_left_open_lets_run_end() -> None:
    async def main() -> Any:
        return echo.initiate_inquiry().send_message("a").reply_sequence(close_request_sequence=False)

    async def read(replies: Any) -> list[str]:
        return await texts(replies)

    replies = MiniAgents().run(main())

    assert asyncio.run(read(replies)) == ["Echo: a"]


async def test_an_agent_may_talk_with_another_in_both_directions(mini_agents: MiniAgents) -> None:
    @miniagent
    async def guesser(ctx: InteractionContext) -> None:
        low, high = 0, 100
        ctx.reply(str((low + high) // 2))
        async for hint in ctx.message_promises:
            guess = (low + high) // 2
            low, high = (guess + 1, high) if str(await hint) == "higher" else (low, guess - 1)
            ctx.reply(str((low + high) // 2))

    @miniagent
    async def keeper(ctx: InteractionContext, secret: int) -> None:
        call = guesser.initiate_inquiry()
        async for guess in call.reply_sequence(close_request_sequence=False):
            number = int(str(await guess))
            if number == secret:
                call.finish()
                ctx.reply(f"found {number}")
                return
            call.send_message("higher" if number < secret else "lower")

    assert await texts(keeper.inquire(secret=37)) == ["found 37"]


async def test_sending_may_be_awaited_so_that_the_agent_runs(mini_agents: MiniAgents) -> None:
    received: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async for message_promise in ctx.message_promises:
            received.append(str(await message_promise))

    call = agent.initiate_inquiry()
    for text in "abc":
        assert await call.send_message(text) is call

    assert received[:2] == ["a", "b"]
    await call.reply_sequence()
    assert received == ["a", "b", "c"]


async def test_an_awaited_send_waits_while_the_agent_is_behind() -> None:
    received: list[str] = []
    release = asyncio.Event()
    sent: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        async for message_promise in ctx.message_promises:
            received.append(str(await message_promise))
            await release.wait()

    async with MiniAgents(read_ahead_by_default=2) as mini_agents:
        call = agent.initiate_inquiry()

        async def send() -> None:
            for number in range(10):
                await call.send_message(str(number))
                sent.append(str(number))

        sending = mini_agents.start_asap(send())
        for _ in range(50):
            await asyncio.sleep(0)
        assert received == ["0"]
        assert len(sent) <= 3

        release.set()
        await sending
        await call.reply_sequence()

    assert received == [str(number) for number in range(10)]


async def test_an_agent_that_does_not_read_its_input_may_be_sent_anything(mini_agents: MiniAgents) -> None:
    @miniagent
    async def deaf(ctx: InteractionContext) -> None:
        ctx.reply("done")

    call = deaf.initiate_inquiry().send_message("a")
    assert await texts(call.reply_sequence(close_request_sequence=False)) == ["done"]

    assert await texts(call.send_message("b").reply_sequence()) == ["done"]


async def test_cancelling_the_replies_of_an_open_call_stops_the_agent(mini_agents: MiniAgents) -> None:
    stopped = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        try:
            await ctx.message_promises
        finally:
            stopped.set()

    call = agent.initiate_inquiry().send_message("a")
    replies = call.reply_sequence(close_request_sequence=False)
    await asyncio.sleep(0)

    assert replies.cancel() is True
    await stopped.wait()
