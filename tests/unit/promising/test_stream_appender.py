"""`StreamAppender`: the writing end of a stream."""

import asyncio
import threading

import pytest

from miniagents.promising.errors import (
    AppenderClosedError,
    AppenderNotOpenError,
    PromiseCancelledError,
    PromisingError,
)
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from tests.unit.promising.tools import collect, error_of, everything_in, let_others_run


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


# --------------------------------------------------------------------------------------------------- writing


async def test_what_is_appended_is_what_readers_get(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a")
        appender.append("b")

    assert await collect(promise) == ["a", "b"]
    assert await promise == ("a", "b")


async def test_append_returns_the_appender(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        assert appender.append("a") is appender
        assert await appender.append("b") is appender


async def test_what_was_appended_before_the_promise_was_made_is_there_too(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        appender.append("a")
        promise = StreamedPromise(streamer=appender)
        appender.append("b")

    assert await collect(promise) == ["a", "b"]


async def test_a_closed_appender_can_still_be_handed_over(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        appender.append("a")

    assert await collect(StreamedPromise(streamer=appender)) == ["a"]


async def test_a_reader_gets_a_piece_while_the_appender_is_still_open(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        reader = aiter(StreamedPromise(streamer=appender))
        appender.append("a")

        assert await anext(reader) == "a"


async def test_none_can_be_appended(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append(None)

    assert await collect(promise) == [None]


# --------------------------------------------------------------------------------------------------- open and closed


async def test_appending_before_opening_is_refused(context: PromisingContext) -> None:
    with pytest.raises(AppenderNotOpenError, match=r"with StreamAppender\(\)"):
        StreamAppender().append("a")


async def test_an_appender_that_was_never_opened_is_refused_as_streamer(context: PromisingContext) -> None:
    with pytest.raises(AppenderNotOpenError):
        await StreamedPromise(streamer=StreamAppender())


async def test_appending_after_closing_is_refused(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        pass

    with pytest.raises(AppenderClosedError, match="closed"):
        appender.append("a")


async def test_reopening_is_refused(context: PromisingContext) -> None:
    appender = StreamAppender()
    with appender:
        with pytest.raises(AppenderClosedError):
            appender.open()

    with pytest.raises(AppenderClosedError):
        appender.open()
    with pytest.raises(AppenderClosedError):
        with appender:
            pass


async def test_open_and_close_do_without_a_with_block(context: PromisingContext) -> None:
    appender = StreamAppender()
    appender.open()
    promise = StreamedPromise(streamer=appender)
    appender.append("a")
    appender.close()

    assert await collect(promise) == ["a"]


async def test_closing_twice_is_fine(context: PromisingContext) -> None:
    appender = StreamAppender()
    appender.open()
    promise = StreamedPromise(streamer=appender)

    appender.close()
    appender.close()

    assert await promise == ()


async def test_closing_inside_the_with_block_is_fine(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender.append("a"))
        appender.close()

    assert await promise == ("a",)


async def test_was_open_and_is_open_tell_the_state(context: PromisingContext) -> None:
    appender = StreamAppender()
    states = [(appender.was_open, appender.is_open)]
    with appender:
        states.append((appender.was_open, appender.is_open))
    states.append((appender.was_open, appender.is_open))

    assert states == [(False, False), (True, True), (True, False)]


# --------------------------------------------------------------------------------------------------- awaiting append


async def test_append_never_blocks_even_at_the_read_ahead_bound(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender, read_ahead=1)
        for number in range(100):
            appender.append(number)

    assert await collect(promise) == list(range(100))


async def test_awaiting_append_gives_way_to_readers(context: PromisingContext) -> None:
    seen: list[int] = []

    async def read(promise: StreamedPromise[int, object]) -> None:
        async for piece in promise:
            seen.append(piece)

    with StreamAppender() as appender:
        reader = asyncio.create_task(read(StreamedPromise(streamer=appender)))
        await asyncio.sleep(0)
        for number in range(5):
            await appender.append(number)
            # At most the one that the reader was just woken for is still on its way.
            assert len(seen) >= number
    await reader

    assert seen == [0, 1, 2, 3, 4]


async def test_a_tight_loop_that_awaits_append_does_not_starve_a_timer(context: PromisingContext) -> None:
    rang = asyncio.Event()
    # A real one: virtual time stands still while anything can run, and this loop always can.
    asyncio.get_running_loop().call_later(0.01, rang.set)

    with StreamAppender() as appender:
        while not rang.is_set():
            await appender.append("piece")

    assert rang.is_set()


async def test_awaiting_append_waits_while_the_stream_is_at_its_read_ahead_bound(context: PromisingContext) -> None:
    written: list[int] = []

    appender = StreamAppender[int]()
    appender.open()

    async def write_on() -> None:
        try:
            for number in range(6):
                await appender.append(number)
                written.append(number)
        finally:
            appender.close()

    promise = StreamedPromise(streamer=appender, read_ahead=2)
    writer = context.start_asap(write_on())
    await let_others_run()
    # Two pieces are there; the third may be in the stream, but who wrote it waits.
    assert len(written) <= 2

    reader = aiter(promise)
    assert await anext(reader) == 0
    await let_others_run()
    assert len(written) <= 3

    assert [piece async for piece in reader] == [1, 2, 3, 4, 5]
    await writer
    assert written == [0, 1, 2, 3, 4, 5]


# --------------------------------------------------------------------------------------------------- errors


async def test_capture_errors_puts_an_exception_into_the_stream_and_raises_it_no_further(
    context: PromisingContext,
) -> None:
    error = SomeError("captured")
    with StreamAppender(capture_errors=True) as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a")
        raise error

    for _ in range(2):
        found = await everything_in(promise)
        assert found == ["a", error]
        assert found[1] is error
    assert not appender.is_open


async def test_without_capture_errors_an_exception_is_raised_and_the_stream_still_closes(
    context: PromisingContext,
) -> None:
    with pytest.raises(SomeError):
        with StreamAppender(capture_errors=False) as appender:
            promise = StreamedPromise(streamer=appender)
            appender.append("a")
            raise SomeError

    assert not appender.is_open
    assert await collect(promise) == ["a"]


@pytest.mark.parametrize("by_default", [True, False])
async def test_whether_errors_are_captured_is_by_default_what_the_context_says(by_default: bool) -> None:
    async with PromisingContext(appenders_capture_errors_by_default=by_default):
        raised = False
        try:
            with StreamAppender() as appender:
                promise = StreamedPromise(streamer=appender)
                raise SomeError
        except SomeError:
            raised = True

        assert raised is not by_default
        assert len(await everything_in(promise)) == by_default


async def test_appender_closed_error_is_raised_further_even_where_errors_are_captured(
    context: PromisingContext,
) -> None:
    with pytest.raises(AppenderClosedError):
        with StreamAppender(capture_errors=True) as appender:
            promise = StreamedPromise(streamer=appender)
            appender.append("a")
            appender.close()
            appender.append("too late")

    assert await everything_in(promise) == ["a"]


@pytest.mark.parametrize("capture_errors", [True, False])
async def test_an_exit_raised_in_the_block_reaches_the_readers_like_any_error(
    context: PromisingContext, capture_errors: bool
) -> None:
    exit_ = SomeExit("exit")
    try:
        with StreamAppender(capture_errors=capture_errors) as appender:
            promise = StreamedPromise(streamer=appender)
            appender.append("a")
            raise exit_
    except SomeExit:
        assert not capture_errors

    assert await everything_in(promise) == ["a", exit_]


@pytest.mark.parametrize("capture_errors", [True, False])
async def test_a_cancelled_block_is_cancelled_and_its_readers_get_promise_cancelled_error(
    context: PromisingContext, capture_errors: bool
) -> None:
    promises: list[StreamedPromise[str, object]] = []

    async def write() -> None:
        with StreamAppender(capture_errors=capture_errors) as appender:
            promises.append(StreamedPromise(streamer=appender))
            appender.append("a")
            await asyncio.Event().wait()

    writer = asyncio.create_task(write())
    await let_others_run()
    writer.cancel()

    assert isinstance(await error_of(writer), asyncio.CancelledError)
    found = await everything_in(promises[0])
    assert [found[0], *map(type, found[1:])] == ["a", PromiseCancelledError]


# --------------------------------------------------------------------------------------------------- threads


@pytest.mark.allow_blocking("it waits for a thread that ends at once")
async def test_appending_from_a_foreign_thread_is_a_clear_error(context: PromisingContext) -> None:
    errors: list[BaseException] = []

    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)

        def append() -> None:
            try:
                appender.append("from elsewhere")
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=append)
        thread.start()
        thread.join()

    assert isinstance(errors[0], PromisingError)
    assert "thread" in str(errors[0])
    assert "run_from_thread" in str(errors[0])
    assert await collect(promise) == []


async def test_a_foreign_thread_appends_through_run_from_thread(context: PromisingContext) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        await asyncio.to_thread(context.run_from_thread, appender.append, "from elsewhere")

    assert await collect(promise) == ["from elsewhere"]
