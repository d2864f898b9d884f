"""What can become messages, what cannot, and in which order they come."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import Message, MessageSequence, MiniAgents
from miniagents.errors import NotAMessageError
from tests.unit.sequences import async_iterable, pieces_of

turn_into_sequence = MessageSequence.turn_into_sequence_promise


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await turn_into_sequence(messages)]


class Point(BaseModel):
    x: int


class Text(str):
    __slots__ = ()


# -- what can become a message -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ("text", [Message("text")]),
        ("", [Message("")]),
        (Text("subclass"), [Message("subclass")]),
        (Message("message", x=1), [Message("message", x=1)]),
        ({"content": "dict", "x": 1}, [Message("dict", x=1)]),
        (OrderedDict(x=1), [Message(x=1)]),
        (Point(x=1), [Message(x=1)]),
        (None, []),
        ([], []),
        ([None, [None, ()]], []),
        (["a", ["b", ("c", [])], None, "d"], [Message("a"), Message("b"), Message("c"), Message("d")]),
        ((text for text in "ab"), [Message("a"), Message("b")]),
        (deque(["a", "b"]), [Message("a"), Message("b")]),
        (dict.fromkeys(["a", "b"]).keys(), [Message("a"), Message("b")]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_it_becomes_messages(messages: Any, expected: list[Message], mini_agents: MiniAgents) -> None:
    assert await turn_into_sequence(messages) == tuple(expected)


async def test_a_message_object_stays_the_same_object(mini_agents: MiniAgents) -> None:
    message = Message("text")

    assert (await turn_into_sequence([message]))[0] is message


async def test_a_message_promise_stays_the_same_object(mini_agents: MiniAgents) -> None:
    promise = Message.promise("text")

    assert [piece async for piece in turn_into_sequence(promise)] == [promise]


async def test_a_sequence_promise_is_one_already(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(["a"])

    assert turn_into_sequence(sequence) is sequence


async def test_sequences_and_async_iterables_nest_like_lists(mini_agents: MiniAgents) -> None:
    inner = turn_into_sequence(["b", async_iterable("c", ["d", async_iterable("e")])])

    assert await texts(["a", inner, async_iterable(), turn_into_sequence(None), ("f", inner)]) == list("abcdefbcde")


async def test_an_object_with_only_aiter_is_an_async_iterable(mini_agents: MiniAgents) -> None:
    class Replies:
        def __aiter__(self) -> AsyncIterator[Any]:
            return async_iterable("a", "b")

    assert await texts(Replies()) == ["a", "b"]


async def test_lists_may_be_nested_as_deep_as_one_likes(mini_agents: MiniAgents) -> None:
    nested: Any = "deep"
    for _ in range(20_000):
        nested = [nested]

    assert await texts(nested) == ["deep"]


async def test_sequences_may_be_nested_as_deep_as_one_likes(mini_agents: MiniAgents) -> None:
    nested: Any = "deep"
    for _ in range(5_000):
        nested = turn_into_sequence([nested])

    assert await texts(nested) == ["deep"]
    assert str(await nested.as_single_promise()) == "deep"


async def test_async_iterables_may_be_nested_as_deep_as_one_likes(mini_agents: MiniAgents) -> None:
    nested: Any = "deep"
    for _ in range(2_000):
        nested = async_iterable(nested)

    assert await texts(nested) == ["deep"]


# -- what cannot ---------------------------------------------------------------------------------------------------------


async def coroutine() -> str:
    return "text"


UNSUPPORTED = {
    "bytes": b"bytes",
    "bytearray": bytearray(b"bytes"),
    "int": 42,
    "float": 1.5,
    "bool": True,
    "object": object(),
    "class": Message,
    "exception class": ValueError,
    "function": coroutine,
    "ellipsis": ...,
}


@pytest.mark.parametrize("value", UNSUPPORTED.values(), ids=UNSUPPORTED)
@pytest.mark.parametrize("is_nested", [False, True], ids=["alone", "nested"])
async def test_an_unsupported_type_is_refused_at_the_call(value: Any, is_nested: bool, mini_agents: MiniAgents) -> None:
    with pytest.raises(TypeError) as caught:
        turn_into_sequence(["a", [value]] if is_nested else value)

    text = str(caught.value)
    assert isinstance(caught.value, NotAMessageError)
    assert f"`{type(value).__name__}`" in text
    assert repr(value) in text
    assert "Allowed are `str`, `dict`" in text


async def test_a_coroutine_is_refused_without_a_warning_that_it_was_never_awaited(mini_agents: MiniAgents) -> None:
    with pytest.raises(NotAMessageError, match="forget to `await`"):
        turn_into_sequence(coroutine())


async def test_a_task_is_refused(mini_agents: MiniAgents) -> None:
    task = asyncio.create_task(coroutine())

    with pytest.raises(NotAMessageError, match="Await it"):
        turn_into_sequence(["a", task])

    assert await task == "text"


async def test_an_agent_is_no_message(mini_agents: MiniAgents) -> None:
    from miniagents import miniagent

    @miniagent
    async def my_agent(ctx: Any) -> None: ...

    with pytest.raises(TypeError, match="MiniAgent"):
        turn_into_sequence(my_agent)


async def test_nothing_is_sent_of_what_contains_something_unsupported(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence()
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append("before")
        with pytest.raises(NotAMessageError):
            appender.append(["a", 42])
        appender.append("after")

    assert await texts(sequence.sequence_promise) == ["before", "after"]


async def test_a_list_that_contains_itself_is_refused(mini_agents: MiniAgents) -> None:
    endless: list[Any] = ["a"]
    endless.append(endless)

    with pytest.raises(NotAMessageError):
        turn_into_sequence(endless)


async def test_an_unsupported_type_inside_an_async_iterable_is_an_error_at_its_place(mini_agents: MiniAgents) -> None:
    first, error, last = await pieces_of(turn_into_sequence(async_iterable("a", 42, "b")))

    assert (first, last) == ("a", "b")
    assert isinstance(error, TypeError)
    assert "42" in str(error)


async def test_a_dict_that_is_no_message_is_refused_at_the_call(mini_agents: MiniAgents) -> None:
    with pytest.raises(ValueError, match="attachment"):
        turn_into_sequence([{"content": "a", "attachment": object()}])


async def test_a_dict_inside_an_async_iterable_that_is_no_message_is_an_error_and_the_end_comes(
    mini_agents: MiniAgents,
) -> None:
    pieces = await pieces_of(turn_into_sequence(async_iterable("a", {"attachment": object()})))

    assert pieces[0] == "a"
    assert isinstance(pieces[1], ValueError)


# -- nothing at all ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, (), [], [[], None]], ids=repr)
async def test_zero_messages_are_a_sequence_too(nothing: Any, mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(nothing)

    assert await sequence == ()
    assert await pieces_of(sequence) == []
    joined = await sequence.as_single_promise()
    assert joined.content == ""
    assert joined["original_messages"] == ()


async def test_a_dict_whose_keys_are_no_strings_is_refused_by_name(mini_agents: MiniAgents) -> None:
    with pytest.raises((TypeError, ValueError), match="42"):
        turn_into_sequence([{42: "answer"}])


async def test_a_dict_may_have_any_strings_as_keys(mini_agents: MiniAgents) -> None:
    message = (await turn_into_sequence({"self": 1, "": 2, "with space": 3}))[0]

    assert (message["self"], message[""], message["with space"]) == (1, 2, 3)
