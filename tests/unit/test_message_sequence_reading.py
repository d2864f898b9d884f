"""When the messages of a sequence are read, and how errors stand among them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from miniagents import Message, MessageSequence, MiniAgents
from tests.unit.sequences import async_iterable, pieces_of

turn_into_sequence = MessageSequence.turn_into_sequence_promise


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await turn_into_sequence(messages)]


# -- when it is read -----------------------------------------------------------------------------------------------------


async def test_an_ordinary_iterable_is_read_at_the_moment_it_is_handed_over(mini_agents: MiniAgents) -> None:
    inner = ["b"]
    messages = ["a", inner]
    sequence = turn_into_sequence(messages)

    inner.append("changed")
    messages.append("changed")

    assert await texts(sequence) == ["a", "b"]


async def test_a_generator_is_exhausted_when_it_is_handed_over(mini_agents: MiniAgents) -> None:
    read: list[int] = []

    def generate() -> Iterator[str]:
        for number in range(3):
            read.append(number)
            yield str(number)

    turn_into_sequence(generate())

    assert read == [0, 1, 2]


async def test_an_async_iterable_is_read_when_its_turn_comes(mini_agents: MiniAgents) -> None:
    release, begun = asyncio.Event(), asyncio.Event()

    async def first() -> AsyncIterator[str]:
        yield "a"
        await release.wait()
        yield "b"

    async def second() -> AsyncIterator[str]:
        begun.set()
        yield "c"

    sequence = turn_into_sequence([first(), second()])
    reader = aiter(sequence)
    assert str(await (await anext(reader))) == "a"
    for _ in range(5):
        await asyncio.sleep(0)
    assert not begun.is_set()

    release.set()

    assert await texts(sequence) == ["a", "b", "c"]


async def test_flattening_goes_on_in_the_background_without_a_reader(mini_agents: MiniAgents) -> None:
    begun = asyncio.Event()

    async def messages() -> AsyncIterator[str]:
        begun.set()
        yield "a"

    sequence = turn_into_sequence(messages())
    await begun.wait()

    assert await texts(sequence) == ["a"]


async def test_messages_are_there_as_soon_as_they_are_made(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def messages() -> AsyncIterator[str]:
        yield "a"
        await release.wait()
        yield "b"

    reader = aiter(turn_into_sequence([messages()]))

    assert str(await (await anext(reader))) == "a"
    assert not release.is_set()
    release.set()
    assert str(await (await anext(reader))) == "b"


async def test_every_reader_at_any_time_gets_all(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence([async_iterable(*"abc"), "d"])

    assert await asyncio.gather(*(pieces_of(sequence) for _ in range(3))) == [list("abcd")] * 3
    assert await pieces_of(sequence) == list("abcd")
    assert await texts(sequence) == list("abcd")


async def test_calling_a_sequence_gives_a_fresh_iterator(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(["a", "b"])

    copy = MessageSequence(incoming_streamer=sequence)

    assert await texts(copy.sequence_promise) == ["a", "b"]
    assert await pieces_of(sequence()) == ["a", "b"]


async def test_a_message_is_the_same_promise_to_every_reader(mini_agents: MiniAgents) -> None:
    sequence = turn_into_sequence(["a", Message("b"), async_iterable("c")])
    await sequence

    first, second = [[promise async for promise in sequence] for _ in range(2)]

    assert all(one is other for one, other in zip(first, second, strict=True))
    assert tuple([await promise for promise in first]) == await sequence


# -- errors at their place -----------------------------------------------------------------------------------------------


async def test_an_exception_among_the_messages_is_raised_at_its_place_and_the_rest_follows(
    mini_agents: MiniAgents,
) -> None:
    error = ValueError("broken")
    sequence = turn_into_sequence(["a", [error], "b"])

    assert await pieces_of(sequence) == ["a", error, "b"]
    assert await pieces_of(sequence) == ["a", error, "b"]
    with pytest.raises(ValueError, match="broken") as caught:
        await sequence
    assert caught.value is error


async def test_the_whole_raises_the_first_of_several_errors(mini_agents: MiniAgents) -> None:
    first, second = ValueError("first"), KeyError("second")
    sequence = turn_into_sequence(["a", first, second, "b"])

    with pytest.raises(ValueError, match="first"):
        await sequence
    assert await pieces_of(sequence) == ["a", first, second, "b"]


async def test_an_async_iterable_that_fails_raises_at_its_place_and_what_comes_after_it_follows(
    mini_agents: MiniAgents,
) -> None:
    error = ValueError("broken")

    async def messages() -> AsyncIterator[str]:
        yield "a"
        raise error

    assert await pieces_of(turn_into_sequence([messages(), "b"])) == ["a", error, "b"]


async def test_an_iterable_that_fails_raises_at_its_place_and_what_comes_after_it_follows(
    mini_agents: MiniAgents,
) -> None:
    error = ValueError("broken")

    def messages() -> Iterator[str]:
        yield "a"
        raise error

    assert await pieces_of(turn_into_sequence([messages(), "b"])) == ["a", error, "b"]


async def test_stop_iteration_as_a_piece_ends_nothing(mini_agents: MiniAgents) -> None:
    pieces = await pieces_of(turn_into_sequence(["a", StopAsyncIteration("x"), StopIteration("y"), "b"]))

    assert (pieces[0], pieces[-1]) == ("a", "b")
    assert [type(piece) for piece in pieces[1:3]] == [RuntimeError, RuntimeError]


async def test_a_message_that_fails_among_others_fails_the_whole_and_not_the_others(mini_agents: MiniAgents) -> None:
    async def broken(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hel"
        raise ValueError("broken")

    sequence = turn_into_sequence(["a", Message.promise(message_token_streamer=broken), "b"])

    first, second, third = [promise async for promise in sequence]
    assert (str(await first), str(await third)) == ("a", "b")
    with pytest.raises(ValueError, match="broken"):
        await second
    with pytest.raises(ValueError, match="broken"):
        await sequence
