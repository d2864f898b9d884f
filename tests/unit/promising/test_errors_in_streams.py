"""Errors in a `StreamedPromise`: at their place, the same for every reader, and never a hang."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from tests.unit.promising.tools import error_of, everything_in, let_others_run, stream_of


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


async def joined(promise: StreamedPromise[str, str]) -> str:
    return "".join([piece async for piece in promise])


# --------------------------------------------------------------------------------------------------- errors


async def test_an_error_of_the_streamer_is_raised_behind_the_pieces_as_the_same_instance_in_every_replay(
    context: PromisingContext,
) -> None:
    error = SomeError("broken")
    promise = stream_of("a", "b", error, "never")

    for _ in range(3):
        found = await everything_in(promise)
        assert found == ["a", "b", error]
        assert found[-1] is error


async def test_behind_the_error_of_the_streamer_there_is_the_end_again_and_again(context: PromisingContext) -> None:
    reader = aiter(stream_of(SomeError("broken")))
    with pytest.raises(SomeError):
        await anext(reader)

    for _ in range(5):
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


async def test_a_streamer_whose_anext_always_raises_ends_at_its_first_error(context: PromisingContext) -> None:
    class Broken:
        asked = 0

        def __aiter__(self) -> "Broken":
            return self

        async def __anext__(self) -> str:
            Broken.asked += 1
            raise SomeError(f"broken {Broken.asked}")

    promise = StreamedPromise(streamer=lambda _: Broken())

    first, second = await everything_in(promise), await everything_in(promise)

    assert [str(error) for error in first] == ["broken 1"]
    assert first[0] is second[0]
    assert await error_of(promise) is first[0]
    assert Broken.asked == 1


async def test_the_whole_of_a_stream_that_broke_is_the_very_same_error(context: PromisingContext) -> None:
    error = SomeError("broken")

    assert await error_of(stream_of("a", error)) is error
    assert await error_of(stream_of("a", error, resolver=joined)) is error


async def test_the_traceback_does_not_grow_over_200_replays(context: PromisingContext) -> None:
    promise = stream_of("a", SomeError("broken"))
    lengths: list[int] = []
    for _ in range(200):
        error = (await everything_in(promise))[-1]
        lengths.append(len(traceback.extract_tb(error.__traceback__)))

    assert len(set(lengths)) == 1


async def test_the_traceback_does_not_grow_either_when_the_error_is_passed_on_and_read_at_every_level(
    context: PromisingContext,
) -> None:
    levels = [stream_of("a", SomeError("broken"))]
    for _ in range(5):
        levels.append(StreamedPromise(streamer=levels[-1]))
    errors: list[BaseException] = []
    lengths: list[tuple[int, ...]] = []
    for _ in range(50):
        errors += [(await everything_in(level))[-1] for level in levels]
        lengths.append(tuple([len(traceback.extract_tb((await error_of(level)).__traceback__)) for level in levels]))

    assert len({id(error) for error in errors}) == 1
    assert len(set(lengths)) == 1


async def test_an_exception_object_that_was_appended_is_a_piece_and_what_follows_it_is_read_on(
    context: PromisingContext,
) -> None:
    error = SomeError("a piece")
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a").append(error).append("b")

    for _ in range(2):
        found = await everything_in(promise)
        assert found == ["a", error, "b"]
        assert found[1] is error


async def test_a_plain_loop_ends_at_an_appended_exception(context: PromisingContext) -> None:
    seen: list[str] = []
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a").append(SomeError("a piece")).append("b")

    with pytest.raises(SomeError, match="a piece"):
        async for piece in promise:
            seen.append(piece)

    assert seen == ["a"]


async def test_an_appended_exception_fails_the_whole(context: PromisingContext) -> None:
    error = SomeError("a piece")
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a").append(error).append("b")

    assert await error_of(promise) is error


@pytest.mark.parametrize(
    "broken_streamer",
    [
        pytest.param(lambda _: ["a", "b"], id="a list"),
        pytest.param(lambda _: None, id="nothing"),
        pytest.param(lambda _: iter("ab"), id="a plain iterator"),
        pytest.param(lambda _: let_others_run(), id="a coroutine"),
        pytest.param(lambda _: object(), id="an object"),
    ],
)
@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_a_streamer_that_gives_no_async_iterator_fails_the_consumer_with_type_error_and_ends(
    context: PromisingContext, broken_streamer: Any, start_asap: bool
) -> None:
    promise = StreamedPromise(streamer=broken_streamer, start_asap=start_asap)

    found = await everything_in(promise)

    assert [type(item) for item in found] == [TypeError]
    assert await error_of(promise) is found[0]


@pytest.mark.parametrize("broken_streamer", [42, "text", [1, 2]], ids=repr)
async def test_a_streamer_that_is_no_function_fails_with_type_error_and_never_hangs(
    context: PromisingContext, broken_streamer: Any
) -> None:
    with pytest.raises(TypeError):
        await StreamedPromise(streamer=broken_streamer)


async def test_a_streamer_that_raises_when_it_is_called_fails_its_readers(context: PromisingContext) -> None:
    error = SomeError("not even an iterator")

    def streamer(_: object) -> AsyncIterator[str]:
        raise error

    promise = StreamedPromise(streamer=streamer)

    assert await everything_in(promise) == [error]


@pytest.mark.parametrize("exit_class", [KeyboardInterrupt, SystemExit, GeneratorExit, SomeExit])
async def test_an_exit_raised_in_a_streamer_reaches_every_reader_like_any_error(
    context: PromisingContext, exit_class: type[BaseException]
) -> None:
    exit_ = exit_class("exit")
    promise = stream_of("a", exit_)

    for _ in range(2):
        assert await everything_in(promise) == ["a", exit_]
    assert await error_of(promise) is exit_


async def test_an_exit_raised_in_the_resolver_of_a_stream_fails_the_whole_only(context: PromisingContext) -> None:
    exit_ = SomeExit("exit")

    async def resolver(_: object) -> None:
        raise exit_

    promise = stream_of("a", resolver=resolver)

    assert await error_of(promise) is exit_
    assert await everything_in(promise) == ["a"]


async def test_a_cancelled_error_raised_in_a_streamer_is_never_stored(context: PromisingContext) -> None:
    promise = stream_of("a", asyncio.CancelledError())

    found = await everything_in(promise)

    assert [found[0], type(found[1])] == ["a", PromiseCancelledError]
