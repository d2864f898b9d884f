"""`errors_to_messages`: errors arrive as messages, for those who asked for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, miniagent


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


@miniagent
async def failing(ctx: InteractionContext) -> None:
    ctx.reply("before")
    raise ValueError("broken")


async def broken_tokens(_: dict[str, Any]) -> AsyncIterator[str]:
    yield "Hel"
    yield "lo"
    raise ValueError("broken")


async def test_an_error_arrives_as_a_message(mini_agents: MiniAgents) -> None:
    before, error = await failing.inquire(errors_to_messages=True)

    assert before == Message("before")
    assert "broken" in str(error)
    assert error["is_error"] is True
    assert "is_error" not in before


async def test_what_comes_after_an_error_follows(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply([KeyError("first"), "a", failing.inquire(), "b"])

    messages = await agent.inquire(errors_to_messages=True)

    assert [bool(message.get("is_error")) for message in messages] == [True, False, False, True, False]
    assert [str(message) for message in messages[1:3]] == ["a", "before"]
    assert str(messages[4]) == "b"


async def test_an_error_inside_of_tokens_comes_after_the_tokens_on_a_line_of_its_own(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply([Message.promise(message_token_streamer=broken_tokens, role="user"), "after"])

    replies = agent.inquire(errors_to_messages=True)
    tokens = [[token async for token in promise] async for promise in replies]
    message, after = await replies

    assert tokens[0][:2] == ["Hel", "lo"]
    text = "".join(tokens[0])
    assert text.startswith("Hello\n")
    assert text.endswith("broken")
    assert str(message) == text
    assert message["is_error"] is True
    assert message["role"] == "user"
    assert after == Message("after")


async def test_an_error_before_the_first_token_has_no_line_before_it(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        raise ValueError("broken")
        yield ""

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    (message,) = await agent.inquire(errors_to_messages=True)

    assert not str(message).startswith("\n")
    assert message["is_error"] is True


async def test_messages_without_an_error_are_the_same_as_ever(mini_agents: MiniAgents) -> None:
    class Custom(Message):
        number: int

    async def tokens(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hel"
        await asyncio.sleep(0)
        metadata_so_far["mood"] = "good"
        yield "lo"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(["a", Message("b", x=1), Custom.promise(message_token_streamer=tokens, number=1)])

    as_messages = agent.inquire(errors_to_messages=True)
    promises = [promise async for promise in as_messages]

    assert await as_messages == await agent.inquire()
    assert promises[2].preliminary_metadata["number"] == 1
    assert promises[2].message_class is Custom
    assert isinstance((await as_messages)[2], Custom)
    assert [token async for token in promises[2]] == ["Hel", "lo"]


async def test_tokens_stream_through_while_they_come(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "early"
        await release.wait()
        yield " late"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    replies = agent.inquire(errors_to_messages=True)
    first = await anext(aiter(replies))
    assert await anext(aiter(first)) == "early"
    release.set()
    assert await texts(replies) == ["early late"]


async def test_it_is_a_view_of_one_call_and_others_get_the_exception(mini_agents: MiniAgents) -> None:
    inner: list[Any] = []

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        inner.append(failing.inquire())
        ctx.reply(inner[0])
        ctx.reply(Message.promise(message_token_streamer=broken_tokens))

    messages = await outer.inquire(errors_to_messages=True)

    assert [message.get("is_error", False) for message in messages] == [False, True, True]
    with pytest.raises(ValueError, match="broken"):
        await inner[0]


async def test_a_message_promise_that_fails_still_fails_for_those_who_hold_it(mini_agents: MiniAgents) -> None:
    promise = Message.promise(message_token_streamer=broken_tokens)

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(promise)

    assert (await agent.inquire(errors_to_messages=True))[0]["is_error"] is True
    with pytest.raises(ValueError, match="broken"):
        await promise


@pytest.mark.mini_agents(errors_to_messages=True)
async def test_the_context_may_say_so_for_all_calls(mini_agents: MiniAgents) -> None:
    assert (await failing.inquire())[1]["is_error"] is True
    assert (await failing.initiate_inquiry().reply_sequence())[1]["is_error"] is True
    with pytest.raises(ValueError, match="broken"):
        await failing.inquire(errors_to_messages=False)
    with pytest.raises(ValueError, match="broken"):
        await failing.initiate_inquiry(errors_to_messages=False).reply_sequence()


async def test_a_message_sequence_may_show_errors_as_messages(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence(errors_to_messages=True, appender_capture_errors=True)
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append(["a", ValueError("piece")])
        raise ValueError("last")

    first, piece, last = await sequence.sequence_promise
    assert str(first) == "a"
    assert "piece" in str(piece)
    assert "last" in str(last)
    assert piece["is_error"] is last["is_error"] is True


async def test_an_error_without_a_text_shows_its_class(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        raise ValueError

    assert await texts(agent.inquire(errors_to_messages=True)) == ["ValueError"]


async def test_an_error_that_is_shown_is_not_reported(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with MiniAgents():
        await failing.inquire(errors_to_messages=True)

    assert caplog.text == ""


async def test_an_error_that_is_shown_to_nobody_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            failing.inquire(errors_to_messages=True)

    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('broken')"]
    assert "ValueError: broken" in caplog.text


@pytest.mark.parametrize("exit_error", [KeyboardInterrupt, SystemExit])
async def test_an_exit_is_no_message(exit_error: type[BaseException], mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        raise exit_error

    with pytest.raises(exit_error):
        await agent.inquire(errors_to_messages=True)


async def test_cancelling_the_view_stops_the_agent(mini_agents: MiniAgents) -> None:
    stopped = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        try:
            ctx.reply("a")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with agent.inquire(errors_to_messages=True) as replies:
        assert str(await (await anext(aiter(replies)))) == "a"

    await stopped.wait()
