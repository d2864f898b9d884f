"""`Message`, its references to other messages, and `MessagePromise`, which streams its tokens."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from miniagents import Frozen, Message, MessagePromise, MessageTokenAppender, MiniAgents
from miniagents.errors import AppenderClosedError, AppenderNotOpenError, FunctionNotProvidedError


class CustomMessage(Message):
    custom_field: str


async def tokens_of(promise: MessagePromise) -> list[str]:
    return [token async for token in promise]


async def stream_hello(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
    yield "Hel"
    metadata_so_far["mood"] = "good"
    yield "lo"


# -- messages ------------------------------------------------------------------------------------------------------------


def test_a_message_is_its_content() -> None:
    message = Message("Hello")

    assert (message.content, str(message), message.as_string) == ("Hello", "Hello", "Hello")


def test_content_may_be_named() -> None:
    assert Message(content="Hello") == Message("Hello")


def test_any_further_field_is_kept() -> None:
    message = Message("Hello", mood="good", scores=[1, 2], nested={"a": 1})

    assert message.mood == "good"  # pyright: ignore
    assert message["scores"] == (1, 2)
    assert message["nested"]["a"] == 1


def test_a_subclass_has_typed_fields() -> None:
    message = CustomMessage("Hello", custom_field="Custom Value")

    assert (message.content, message.custom_field, message.class_) == ("Hello", "Custom Value", "CustomMessage")
    with pytest.raises(ValidationError, match="custom_field"):
        CustomMessage("Hello")
    with pytest.raises(ValidationError, match="custom_field"):
        CustomMessage("Hello", custom_field=["no", "text"])


def test_a_template_is_formatted_with_the_messages_own_fields() -> None:
    message = Message(content_template="{greeting}, {name}!", greeting="Hello", name="World")

    assert str(message) == "Hello, World!"
    assert message.content is None


def test_content_wins_over_a_template() -> None:
    assert str(Message("content", content_template="template")) == "content"


def test_empty_content_is_content() -> None:
    assert str(Message("", content_template="template")) == ""
    assert str(Message("")) == ""


def test_without_content_and_template_a_message_shows_as_json_in_a_fenced_block() -> None:
    text = str(Message(answer=42, names=["a", "b"]))

    first, *body, last = text.split("\n")
    assert (first, last) == ("```json", "```")
    shown = json.loads("\n".join(body))
    assert shown["answer"] == 42
    assert shown["names"] == ["a", "b"]


@pytest.mark.parametrize("field", ["content", "mood", "new_field"])
def test_a_message_cannot_be_changed(field: str) -> None:
    message = Message("Hello", mood="good")

    with pytest.raises(ValidationError):
        setattr(message, field, "other")

    assert message == Message("Hello", mood="good")


def test_a_field_that_cannot_be_frozen_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="attachment"):
        Message("Hello", attachment=object())


def test_equal_means_same_class_and_same_content() -> None:
    assert Message("a", x=1, y=2) == Message("a", y=2, x=1)
    assert hash(Message("a", x=1)) == hash(Message("a", x=1))
    assert Message("a") != Message("b")
    assert Message("a", custom_field="x") != CustomMessage("a", custom_field="x")


def test_the_fast_way_of_making_text_messages_makes_the_same_messages() -> None:
    # A plain text that is sent becomes a message without validation, which must not show.
    async def resolve() -> Message:
        return (await _echo_of("Hello"))[0]

    async def _echo_of(text: str) -> tuple[Message, ...]:
        from miniagents import MessageSequence

        return await MessageSequence.turn_into_sequence_promise(text)

    made = MiniAgents().run(resolve())

    assert made == Message("Hello")
    assert made.hash_key == Message("Hello").hash_key
    assert made.full_json == Message("Hello").full_json
    assert repr(made) == repr(Message("Hello"))
    assert made.model_dump() == Message("Hello").model_dump()
    assert made.model_copy(update={"content": "Bye"}).content == "Bye"


# -- references ----------------------------------------------------------------------------------------------------------


def test_a_nested_message_is_serialized_as_its_hash_key() -> None:
    inner = Message("inner")

    assert Message("outer", other=inner).serialize() == {
        "class_": "Message",
        "content": "outer",
        "content_template": None,
        "other__hash_key": inner.hash_key,
    }


def test_a_tuple_of_messages_is_serialized_as_their_hash_keys_and_stays_a_tuple() -> None:
    first, second = Message("1"), Message("2")

    serialized = Message("outer", others=[first, second]).serialize()

    assert serialized["others__hash_keys"] == (first.hash_key, second.hash_key)
    assert "others" not in serialized


def test_other_values_among_nested_messages_stay_as_they_are() -> None:
    inner = Message("inner")

    serialized = Message("outer", mixed=["text", inner, 3, None, ["deeper", inner]]).serialize()

    assert serialized["mixed__hash_keys"] == ("text", inner.hash_key, 3, None, ("deeper", inner.hash_key))


def test_messages_inside_of_nested_objects_are_replaced_too() -> None:
    inner = Message("inner")

    serialized = Message("outer", box={"deeper": {"message": inner, "messages": [inner]}}).serialize()

    assert serialized["box"]["deeper"]["message__hash_key"] == inner.hash_key
    assert serialized["box"]["deeper"]["messages__hash_keys"] == (inner.hash_key,)


def test_sequences_stay_tuples_when_serialized() -> None:
    assert Message(numbers=[1, [2, 3]]).serialize()["numbers"] == (1, (2, 3))


def test_a_message_that_is_not_nested_keeps_its_plain_fields() -> None:
    assert Message("a", x=1).serialize() == {"class_": "Message", "content": "a", "content_template": None, "x": 1}


def test_the_hash_key_of_a_message_follows_from_those_inside_it() -> None:
    def outer(text: str) -> Message:
        return Message("outer", inner=Message("middle", inner=Message(text)))

    assert outer("a").hash_key == outer("a").hash_key
    assert outer("a").hash_key != outer("b").hash_key


@pytest.mark.parametrize("text", ["", 'a "quoted" one', "back\\slash \n\t\x00\x7f", "\u2028 \U0001f600 \u00e9"])
def test_a_plain_text_is_serialized_as_any_other_message_is(text: str) -> None:
    message = Message(text)

    assert message.serialized == json.dumps(message.serialize(), sort_keys=True, ensure_ascii=False)


def test_the_hash_key_is_the_sha256_of_the_sorted_json() -> None:
    message = Message("Grüße", inner=Message("x"), n=1)

    text = json.dumps(message.serialize(), ensure_ascii=False, sort_keys=True)

    assert message.hash_key == hashlib.sha256(text.encode()).hexdigest()[:40]


def test_a_field_that_looks_like_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="other__hash_key"):
        Message("a", other__hash_key="0" * 40)
    with pytest.raises(ValueError, match="others__hash_keys"):
        Message("a", others__hash_keys=[])


def test_sub_messages_are_walked_depth_first() -> None:
    a, b, c = Message("a"), Message("b"), Message("c")
    left = Message("left", first=a, second=b)
    right = Message("right", box={"list": ["text", [c]]})

    assert list(Message("top", left=left, rights=(right, 1)).sub_messages()) == [a, b, left, c, right]
    assert list(Message("alone").sub_messages()) == []


def test_a_message_inside_two_others_is_given_for_each() -> None:
    shared = Message("shared")

    walked = list(Message("top", a=Message("a", x=shared), b=Message("b", x=shared)).sub_messages())

    assert [message.content for message in walked] == ["shared", "a", "shared", "b"]
    assert walked[0] is walked[2] is shared


def test_a_chain_of_messages_may_be_longer_than_the_recursion_limit() -> None:
    message = Message("0")
    for number in range(1, 3000):
        message = Message(str(number), previous=message)
        message.hash_key  # noqa: B018 - as a history does, which names each message as it comes

    assert len(list(message.sub_messages())) == 2999


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


def test_a_pydantic_model_inside_a_message_becomes_a_frozen_object() -> None:
    class Point(BaseModel):
        x: int

    message = Message(point=Point(x=1))

    assert isinstance(message["point"], Frozen)
    assert message["point"]["x"] == 1


@pytest.mark.parametrize("name", ["values", "keys", "get", "cached", "as_promise", "self", "cls"])
def test_a_field_may_be_named_like_a_method(name: str) -> None:
    # What a model or a person puts into a dict is not theirs to rename.
    message = Message(**{name: "text"})

    assert message[name] == message.get(name) == "text"
    assert dict(message)[name] == "text"
    assert str(Message(content_template="<{" + name + "}>", **{name: "text"})) == "<text>"


async def test_a_field_that_a_promise_cannot_take_by_name_reaches_the_message_from_the_streamer(
    mini_agents: MiniAgents,
) -> None:
    async def streamer(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        metadata_so_far["self"] = 1
        yield "a"

    assert (await Message.promise(message_token_streamer=streamer))["self"] == 1


def test_a_template_that_names_a_missing_field_says_which() -> None:
    with pytest.raises(ValueError, match="missing"):
        str(Message(content_template="{missing}"))
