"""A sequence as one message, and sequences that are written to from outside."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import Message, MessageSequence, MessageSequencePromise, MiniAgents
from miniagents.errors import AppenderClosedError, AppenderNotOpenError
from tests.unit.sequences import async_iterable, pieces_of

turn_into_sequence = MessageSequence.turn_into_sequence_promise


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await turn_into_sequence(messages)]


# -- one message of all --------------------------------------------------------------------------------------------------


async def test_a_sequence_as_a_single_promise_joins_the_texts_and_keeps_the_originals(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(["a", async_iterable("b"), Message("c", x=1)])

    message = await sequence.as_single_promise()

    assert message.content == "a\n\nb\n\nc"
    assert message["original_messages"] == (Message("a"), Message("b"), Message("c", x=1))


async def test_a_single_promise_streams_the_tokens_of_all(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hel"
        yield "lo"

    sequence = turn_into_sequence([Message.promise(message_token_streamer=tokens), "World"])

    assert [token async for token in sequence.as_single_promise(" ")] == ["Hel", "lo", " ", "World"]


async def test_the_first_tokens_are_there_while_later_messages_are_not(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def messages() -> AsyncIterator[str]:
        yield "a"
        await release.wait()
        yield "b"

    reader = aiter(turn_into_sequence(messages()).as_single_promise())

    assert await anext(reader) == "a"
    release.set()
    assert [token async for token in reader] == ["\n\n", "b"]


async def test_the_delimiter_may_be_anything(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(["a", "b"])

    assert str(await sequence.as_single_promise(delimiter="; ")) == "a; b"
    assert str(await sequence.as_single_promise(delimiter="")) == "ab"


async def test_leading_newlines_of_each_message_may_be_stripped(mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "\n"
        yield "\n b"
        yield "\nc"

    sequence = turn_into_sequence(["\n\na\n", Message.promise(message_token_streamer=tokens)])

    assert str(await sequence.as_single_promise("|", strip_leading_newlines=True)) == "a\n| b\nc"
    assert str(await sequence.as_single_promise("|")) == "\n\na\n|\n\n b\nc"


async def test_the_originals_may_be_left_out(mini_agents: MiniAgents) -> None:
    message = await turn_into_sequence(["a", "b"]).as_single_promise(reference_original_messages=False)

    assert message == Message("a\n\nb")


async def test_a_single_promise_has_fields_and_a_class_of_its_own(mini_agents: MiniAgents) -> None:
    class Summary(Message):
        length: int

    promise = turn_into_sequence(["a", "b"]).as_single_promise(message_class=Summary, length=2, role="user")

    assert promise.preliminary_metadata.as_kwargs() == {"length": 2, "role": "user"}
    message = await promise
    assert isinstance(message, Summary)
    assert (message.content, message.length, message["role"]) == ("a\n\nb", 2, "user")


async def test_an_error_in_the_sequence_is_an_error_of_the_single_promise(mini_agents: MiniAgents) -> None:
    promise = turn_into_sequence(["a", ValueError("broken"), "b"]).as_single_promise()
    tokens: list[str] = []

    with pytest.raises(ValueError, match="broken"):
        async for token in promise:
            tokens.append(token)
    with pytest.raises(ValueError, match="broken"):
        await promise

    assert tokens[0] == "a"


async def test_a_single_promise_is_lazy_unless_told_otherwise(mini_agents: MiniAgents) -> None:
    made: list[str] = []

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        made.append("begun")
        yield "a"

    sequence = turn_into_sequence(Message.promise(message_token_streamer=tokens, start_asap=False))
    lazy = sequence.as_single_promise()
    await mini_agents.aflush_tasks()
    assert made == []

    sequence.as_single_promise(start_asap=True)
    await mini_agents.aflush_tasks()
    assert made == ["begun"]
    assert str(await lazy) == "a"


# -- sequences that are written to ---------------------------------------------------------------------------------------


async def test_a_message_sequence_is_filled_through_its_appender(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence()
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        reader = aiter(sequence.sequence_promise)
        assert appender.append(["a", async_iterable("b")]) is appender
        assert str(await (await anext(reader))) == "a"
        appender.append(None).append({"content": "c"})

    assert await texts(sequence.sequence_promise) == ["a", "b", "c"]


async def test_an_unopened_appender_of_a_sequence_says_so(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence()
    assert sequence.message_appender is not None

    with pytest.raises(AppenderNotOpenError):
        sequence.message_appender.append("a")


async def test_a_closed_appender_of_a_sequence_says_so(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence()
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append("a")

    with pytest.raises(AppenderClosedError):
        appender.append("b")
    with pytest.raises(AppenderClosedError):
        appender.open()


async def test_an_error_in_the_block_of_a_capturing_appender_is_the_last_piece(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence(appender_capture_errors=True)
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append("a")
        raise ValueError("broken")

    first, error = await pieces_of(sequence.sequence_promise)
    assert (first, repr(error)) == ("a", "ValueError('broken')")


async def test_a_message_sequence_may_be_filled_by_a_streamer(mini_agents: MiniAgents) -> None:
    async def streamer(_: Any) -> AsyncIterator[Any]:
        yield "a"
        yield ["b", None, async_iterable("c")]

    sequence = MessageSequence(incoming_streamer=streamer)

    assert isinstance(sequence.sequence_promise, MessageSequencePromise)
    assert await texts(sequence.sequence_promise) == ["a", "b", "c"]


async def test_a_lazy_message_sequence_asks_its_streamer_for_one_item_after_another(mini_agents: MiniAgents) -> None:
    made: list[str] = []

    async def streamer(_: Any) -> AsyncIterator[Any]:
        for text in "abc":
            made.append(text)
            yield text

    sequence = MessageSequence(incoming_streamer=streamer, start_asap=False).sequence_promise
    await mini_agents.aflush_tasks()
    assert made == []

    reader = aiter(sequence)
    await anext(reader)
    await mini_agents.aflush_tasks()
    assert made == ["a"]
    assert await texts(sequence) == ["a", "b", "c"]
