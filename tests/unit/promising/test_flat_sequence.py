"""`FlatSequence`: nested in, flat out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents.promising.errors import PromisingError
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence
from tests.unit.promising.tools import ByHand, collect, error_of, everything_in, let_others_run, stream_of


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


async def repeat(_sequence: object, number: int) -> AsyncIterator[int]:
    """Turn a number n into n times n: zero, one or more outgoing items."""
    for _ in range(number):
        yield number


def flat(*incoming: Any, flattener: Any = repeat, **settings: Any) -> StreamedPromise[Any, Any]:
    return FlatSequence(stream_of(*incoming), flattener, **settings).sequence_promise


async def test_one_incoming_item_becomes_zero_or_more_outgoing_ones_in_order(context: PromisingContext) -> None:
    assert await collect(flat(2, 0, 1, 3)) == [2, 2, 1, 3, 3, 3]


async def test_the_sequence_resolves_to_a_tuple_of_the_flat_items(context: PromisingContext) -> None:
    assert await flat(2, 0, 1) == (2, 2, 1)


async def test_nothing_in_gives_nothing_out(context: PromisingContext) -> None:
    assert await flat() == ()
    assert await flat(0, 0) == ()


async def test_the_flattener_is_given_the_sequence_and_the_item(context: PromisingContext) -> None:
    async def flattener(sequence: object, item: object) -> AsyncIterator[object]:
        yield (sequence, item)

    sequence = FlatSequence(stream_of("a"), flattener)

    assert await sequence.sequence_promise == ((sequence, "a"),)


async def test_the_flattener_may_be_overridden_as_a_method(context: PromisingContext) -> None:
    class Letters(FlatSequence[str, str]):
        async def _flattener(self, item: str) -> AsyncIterator[str]:
            for letter in item:
                yield letter

    assert await Letters(stream_of("ab", "", "c")).sequence_promise == ("a", "b", "c")


async def test_a_sequence_without_a_flattener_is_refused(context: PromisingContext) -> None:
    with pytest.raises(PromisingError, match="flattener"):
        FlatSequence(stream_of("a"))


async def test_an_appender_may_be_the_incoming_stream(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = FlatSequence(StreamedPromise(streamer=appender), repeat).sequence_promise
        appender.append(1).append(2)

    assert await promise == (1, 2, 2)


async def test_the_class_of_the_sequence_promise_can_be_chosen(context: PromisingContext) -> None:
    class OwnPromise(StreamedPromise[Any, Any]):
        pass

    promise = flat(1, sequence_promise_class=OwnPromise)

    assert type(promise) is OwnPromise
    assert await promise == (1,)


async def test_flat_items_are_replayed_to_every_reader_and_made_once(context: PromisingContext) -> None:
    streamer = ByHand([1, 2])
    promise = FlatSequence(streamer, repeat).sequence_promise
    readers = [asyncio.create_task(collect(promise)) for _ in range(3)]
    streamer.let_go(3)

    assert await asyncio.gather(*readers, collect(promise)) == [[1, 2, 2]] * 4
    assert streamer.runs == 1


async def test_flat_items_arrive_while_the_incoming_stream_is_still_open(context: PromisingContext) -> None:
    streamer = ByHand([2, 1])
    reader = aiter(FlatSequence(streamer, repeat).sequence_promise)
    streamer.let_go()

    assert [await anext(reader), await anext(reader)] == [2, 2]
    assert streamer.made == [2]

    streamer.let_go(2)
    assert [piece async for piece in reader] == [1]


@pytest.mark.parametrize("by_default", [True, False], ids=["by default", "by argument"])
async def test_a_lazy_sequence_reads_nothing_before_somebody_asks(by_default: bool) -> None:
    async with PromisingContext(start_everything_asap_by_default=not by_default):
        streamer = ByHand([1])
        streamer.let_go(2)
        promise = FlatSequence(streamer, repeat, start_asap=None if by_default else False).sequence_promise

        await let_others_run()
        assert streamer.runs == 0

        assert await promise == (1,)


async def test_an_error_of_the_incoming_stream_ends_the_sequence_at_its_place(context: PromisingContext) -> None:
    error = SomeError("incoming")
    promise = flat(1, error, 2)

    for _ in range(2):
        found = await everything_in(promise)
        assert found == [1, error]
        assert found[-1] is error
    assert await error_of(promise) is error


@pytest.mark.parametrize("error", [SomeError("flattener"), SomeExit("exit")], ids=lambda error: type(error).__name__)
async def test_an_error_of_the_flattener_reaches_the_readers_at_its_place(
    context: PromisingContext, error: BaseException
) -> None:
    async def flattener(_: object, item: int) -> AsyncIterator[int]:
        yield item
        if item == 2:
            raise error
        yield -item

    promise = flat(1, 2, 3, flattener=flattener)

    assert await everything_in(promise) == [1, -1, 2, error]
    assert await error_of(promise) is error


@pytest.mark.parametrize(
    "flattener",
    [pytest.param(lambda _, item: [item], id="a list"), pytest.param(lambda _, item: None, id="nothing")],
)
async def test_a_flattener_that_is_no_async_generator_fails_the_reader_with_type_error(
    context: PromisingContext, flattener: Any
) -> None:
    assert [type(item) for item in await everything_in(flat(1, flattener=flattener))] == [TypeError]


async def test_cancelling_the_sequence_cleans_up_the_flattener_and_the_incoming_streamer(
    context: PromisingContext,
) -> None:
    cleaned_up: list[str] = []
    started = asyncio.Event()

    async def incoming(_: object) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            cleaned_up.append("incoming")

    async def flattener(_: object, item: int) -> AsyncIterator[int]:
        try:
            yield item
            started.set()
            await asyncio.Event().wait()
        finally:
            cleaned_up.append("flattener")

    promise = FlatSequence(incoming, flattener).sequence_promise
    await started.wait()

    assert promise.cancel() is True
    await context.aflush_tasks()
    await let_others_run()

    assert sorted(cleaned_up) == ["flattener", "incoming"]


async def test_an_appender_can_be_the_incoming_streamer(context: PromisingContext) -> None:
    async def twice(_: object, item: int) -> AsyncIterator[int]:
        yield item
        yield item

    with StreamAppender[int]() as appender:
        sequence = FlatSequence[int, int](appender, twice)
        appender.append(1).append(2)

    assert await sequence.sequence_promise == (1, 1, 2, 2)
