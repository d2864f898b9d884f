"""What a type checker must infer about promises. Checked by basedpyright in strict mode, never run."""

from collections.abc import AsyncIterator
from typing import assert_type

from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence


async def length_of(promise: Promise[int]) -> int:
    return 5


async def words(_: StreamedPromise[str, int]) -> AsyncIterator[str]:
    yield "word"


async def count(promise: StreamedPromise[str, int]) -> int:
    pieces = [piece async for piece in promise]
    assert_type(pieces, list[str])
    return len(pieces)


async def a_promise_gives_what_its_resolver_returns() -> None:
    promise = Promise(resolver=length_of)

    assert_type(promise, Promise[int])
    assert_type(await promise, int)
    assert_type(await promise.aresolve(), int)
    assert_type(promise.done(), bool)
    assert_type(promise.cancel("no longer needed"), bool)


async def a_streamed_promise_has_a_type_for_its_pieces_and_one_for_the_whole() -> None:
    promise: StreamedPromise[str, int] = StreamedPromise(streamer=words, resolver=count)

    async for piece in promise:
        assert_type(piece, str)
    async for piece in promise():
        assert_type(piece, str)
    assert_type(await promise, int)


def an_appender_takes_pieces_of_its_type() -> None:
    with StreamAppender[str]() as appender:
        assert_type(appender, StreamAppender[str])
        assert_type(appender.append("piece"), StreamAppender[str])
        appender.append(5)  # pyright: ignore[reportArgumentType] - a number is no piece of text


async def twice(_: FlatSequence[int, str], number: int) -> AsyncIterator[str]:
    yield str(number)
    yield str(number)


async def numbers(_: object) -> AsyncIterator[int]:
    yield 5


async def a_flat_sequence_gives_a_tuple_of_what_its_flattener_yields() -> None:
    sequence: FlatSequence[int, str] = FlatSequence(incoming_streamer=numbers, flattener=twice)

    async for item in sequence.sequence_promise:
        assert_type(item, str)
    assert_type(await sequence.sequence_promise, tuple[str, ...])


async def answer() -> int:
    return 42


async def a_context_gives_back_what_it_runs() -> None:
    assert_type(PromisingContext().run(answer()), int)
    assert_type(await PromisingContext().arun(answer()), int)

    async with PromisingContext() as context:
        assert_type(context, PromisingContext)
        assert_type(await context.start_asap(answer()), int)
