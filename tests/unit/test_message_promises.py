"""`MessagePromise`, which streams its tokens, and the appenders that write them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from miniagents import Frozen, Message, MessagePromise, MessageTokenAppender, MiniAgents
from miniagents.errors import AppenderClosedError, AppenderNotOpenError, FunctionNotProvidedError
from tests.unit.custom_messages import CustomMessage


async def tokens_of(promise: MessagePromise) -> list[str]:
    return [token async for token in promise]


async def stream_hello(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
    yield "Hel"
    metadata_so_far["mood"] = "good"
    yield "lo"


# -- promises of messages ------------------------------------------------------------------------------------------------


async def test_a_message_is_a_promise_that_is_done(mini_agents: MiniAgents) -> None:
    message = Message("Hello", mood="good")

    promise = message.as_promise

    assert promise.done()
    assert await promise is message
    assert await tokens_of(promise) == ["Hello"]
    assert promise.preliminary_metadata["mood"] == "good"
    assert promise.message_class is Message
    assert message.as_promise is promise


async def test_a_message_without_content_streams_its_text_as_one_token(mini_agents: MiniAgents) -> None:
    message = Message(answer=42)

    assert await tokens_of(message.as_promise) == [str(message)]


def test_a_resolved_promise_needs_no_context() -> None:
    async def main() -> str:
        return str(await Message.promise("Hello"))

    assert asyncio.run(main()) == "Hello"


async def test_a_promise_with_content_is_resolved_from_the_start(mini_agents: MiniAgents) -> None:
    promise = Message.promise("Hello", mood="good")

    assert promise.done()
    assert await promise == Message("Hello", mood="good")
    assert await tokens_of(promise) == ["Hello"]


async def test_a_promise_of_nothing_is_an_empty_message_with_its_fields(mini_agents: MiniAgents) -> None:
    assert await Message.promise(mood="good") == Message(mood="good")


async def test_a_token_streamer_makes_text_and_fields(mini_agents: MiniAgents) -> None:
    promise = Message.promise(message_token_streamer=stream_hello, role="user")

    assert await promise == Message("Hello", role="user", mood="good")
    assert await tokens_of(promise) == ["Hel", "lo"]


async def test_metadata_are_readable_before_the_first_token(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        await release.wait()
        yield "late"

    promise = Message.promise(message_token_streamer=streamer, role="user", tags=["a"])

    assert isinstance(promise.preliminary_metadata, Frozen)
    assert promise.preliminary_metadata.as_kwargs() == {"role": "user", "tags": ("a",)}
    assert not promise.done()
    release.set()
    assert str(await promise) == "late"


async def test_what_the_streamer_puts_into_the_metadata_wins_over_the_preliminary(mini_agents: MiniAgents) -> None:
    promise = Message.promise(message_token_streamer=stream_hello, mood="bad")

    assert (await promise)["mood"] == "good"
    assert promise.preliminary_metadata["mood"] == "bad"


async def test_a_promise_makes_a_message_of_its_class(mini_agents: MiniAgents) -> None:
    promise = CustomMessage.promise(message_token_streamer=stream_hello, custom_field="x")

    message = await promise

    assert promise.message_class is CustomMessage
    assert isinstance(message, CustomMessage)
    assert (message.content, message.custom_field) == ("Hello", "x")


@pytest.mark.parametrize("content", ["Hello", ""], ids=["text", "empty text"])
def test_content_and_a_token_streamer_together_are_refused(content: str) -> None:
    with pytest.raises(ValueError, match="message_token_streamer"):
        Message.promise(content, message_token_streamer=stream_hello)


def test_a_message_promise_without_any_source_is_refused() -> None:
    with pytest.raises(FunctionNotProvidedError, match="message_token_streamer"):
        MessagePromise()


async def test_every_reader_gets_all_tokens_and_the_streamer_runs_once(mini_agents: MiniAgents) -> None:
    runs = 0

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        nonlocal runs
        runs += 1
        for token in "abc":
            await asyncio.sleep(0)
            yield token

    promise = Message.promise(message_token_streamer=streamer)

    assert await asyncio.gather(*(tokens_of(promise) for _ in range(5))) == [["a", "b", "c"]] * 5
    assert await tokens_of(promise) == ["a", "b", "c"]
    assert await promise == Message("abc")
    assert runs == 1


async def test_a_lazy_message_makes_no_token_before_somebody_asks(mini_agents: MiniAgents) -> None:
    made: list[str] = []

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        for token in "abc":
            made.append(token)
            yield token

    promise = Message.promise(message_token_streamer=streamer, start_asap=False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert made == []

    first = await anext(aiter(promise))

    assert (first, made) == ("a", ["a"])
    assert await tokens_of(promise) == ["a", "b", "c"]


async def test_an_error_in_the_tokens_is_raised_at_its_place_and_by_await(mini_agents: MiniAgents) -> None:
    error = ValueError("broken")

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hel"
        raise error

    promise = Message.promise(message_token_streamer=streamer)
    got: list[str] = []
    with pytest.raises(ValueError, match="broken") as by_reading:
        async for token in promise:
            got.append(token)
    with pytest.raises(ValueError, match="broken") as by_awaiting:
        await promise

    assert got == ["Hel"]
    assert by_reading.value is by_awaiting.value is error


async def test_a_token_that_is_no_string_fails_the_whole_message(mini_agents: MiniAgents) -> None:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[Any]:
        yield "a"
        yield 42

    with pytest.raises(TypeError, match="42"):
        await Message.promise(message_token_streamer=streamer)


async def test_fields_that_do_not_fit_the_class_fail_the_whole_message_and_the_tokens_still_stream(
    mini_agents: MiniAgents,
) -> None:
    promise = CustomMessage.promise(message_token_streamer=stream_hello)

    with pytest.raises(ValidationError, match="custom_field"):
        await promise
    assert await tokens_of(promise) == ["Hel", "lo"]


# -- appenders -----------------------------------------------------------------------------------------------------------


async def test_an_appender_writes_tokens_and_fields(mini_agents: MiniAgents) -> None:
    appender = MessageTokenAppender()
    with appender:
        promise = Message.promise(message_token_streamer=appender, role="user")
        assert appender.append("Hel") is appender
        appender.append("lo")
        appender.metadata_so_far["mood"] = "good"

    assert await promise == Message("Hello", role="user", mood="good")
    assert await tokens_of(promise) == ["Hel", "lo"]


async def test_tokens_arrive_while_the_appender_is_open(mini_agents: MiniAgents) -> None:
    with MessageTokenAppender() as appender:
        reader = aiter(Message.promise(message_token_streamer=appender))
        for token in "abc":
            appender.append(token)
            assert await anext(reader) == token


async def test_an_appender_that_was_never_opened_is_refused_at_once(mini_agents: MiniAgents) -> None:
    with pytest.raises(AppenderNotOpenError, match="with MessageTokenAppender"):
        Message.promise(message_token_streamer=MessageTokenAppender())


async def test_an_appender_that_is_closed_already_is_a_finished_message(mini_agents: MiniAgents) -> None:
    with MessageTokenAppender() as appender:
        appender.append("Hello")

    assert await Message.promise(message_token_streamer=appender) == Message("Hello")


async def test_nothing_is_appended_after_closing(mini_agents: MiniAgents) -> None:
    with MessageTokenAppender() as appender:
        pass

    with pytest.raises(AppenderClosedError):
        appender.append("late")


@pytest.mark.parametrize("token", [None, 42, b"bytes", ["a"]], ids=repr)
async def test_an_appended_token_must_be_a_string(token: Any, mini_agents: MiniAgents) -> None:
    with MessageTokenAppender() as appender, pytest.raises(TypeError, match="token"):
        appender.append(token)


async def test_an_error_in_the_block_of_a_capturing_appender_goes_into_the_message(mini_agents: MiniAgents) -> None:
    with MessageTokenAppender(capture_errors=True) as appender:
        promise = Message.promise(message_token_streamer=appender)
        appender.append("Hel")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await promise


async def test_an_error_in_the_block_of_a_plain_appender_is_raised_and_the_message_ends(
    mini_agents: MiniAgents,
) -> None:
    with pytest.raises(ValueError, match="broken"), MessageTokenAppender(capture_errors=False) as appender:
        promise = Message.promise(message_token_streamer=appender)
        appender.append("Hel")
        raise ValueError("broken")

    assert await promise == Message("Hel")


async def test_a_field_that_a_promise_cannot_take_by_name_reaches_the_message_from_the_streamer(
    mini_agents: MiniAgents,
) -> None:
    async def streamer(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        metadata_so_far["self"] = 1
        yield "a"

    assert (await Message.promise(message_token_streamer=streamer))["self"] == 1
