"""What cancelling a promise does, and what it leaves alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from tests.unit.promising.tools import ByHand, collect, error_of, everything_in, let_others_run


class SomeError(Exception):
    pass


class Job:
    """A resolver that works until it is released, and notes how it ended."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.runs = 0
        self.ended = ""

    async def __call__(self, *_: object) -> str:
        self.runs += 1
        try:
            await self.release.wait()
            self.ended = "done"
            return "value"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


# --------------------------------------------------------------------------------------------------- of a promise


async def test_cancel_stops_the_work_and_runs_its_finally_blocks(context: PromisingContext) -> None:
    job = Job()
    promise = Promise(resolver=job)
    await let_others_run()

    assert promise.cancel() is True
    await context.aflush_tasks()

    assert job.ended == "cancelled"


async def test_done_is_true_at_once_after_cancel(context: PromisingContext) -> None:
    value = Promise(resolver=Job())
    stream = StreamedPromise(streamer=ByHand())
    await let_others_run()

    for promise in (value, stream):
        assert promise.done() is False
        promise.cancel()
        assert promise.done() is True


async def test_readers_of_a_cancelled_promise_get_promise_cancelled_error_with_the_message(
    context: PromisingContext,
) -> None:
    promise = Promise(resolver=Job())
    early = asyncio.ensure_future(error_of(promise))
    await let_others_run()

    promise.cancel("no longer wanted")

    error = await early
    assert type(error) is PromiseCancelledError
    assert isinstance(error, Exception)
    assert "no longer wanted" in str(error)
    assert await error_of(promise) is error


async def test_readers_of_a_cancelled_stream_get_the_pieces_so_far_and_then_promise_cancelled_error(
    context: PromisingContext,
) -> None:
    streamer = ByHand("abc")
    promise = StreamedPromise(streamer=streamer)
    early = asyncio.create_task(everything_in(promise))
    streamer.let_go(2)
    await let_others_run()

    assert promise.cancel("enough") is True

    found = await early
    assert found[:2] == ["a", "b"]
    assert [type(item) for item in found[2:]] == [PromiseCancelledError]
    assert "enough" in str(found[2])
    assert await everything_in(promise) == found
    assert await error_of(promise) is found[2]
    await context.aflush_tasks()
    assert streamer.is_cleaned_up


async def test_cancelling_a_finished_promise_returns_false_and_changes_nothing(context: PromisingContext) -> None:
    async def fail(_: object) -> None:
        raise SomeError

    value = Promise(resolver=lambda _: asyncio.sleep(0, "value"))
    failed = Promise(resolver=fail)
    stream = StreamedPromise(streamer=StreamedPromise(prefill_pieces=["a"]))
    prefilled = Promise(prefill_result=1)
    await asyncio.gather(value, stream, error_of(failed))

    assert [promise.cancel() for promise in (value, failed, stream, prefilled)] == [False] * 4
    assert await value == "value"
    assert await stream == ("a",)
    assert await prefilled == 1
    assert isinstance(await error_of(failed), SomeError)


async def test_cancelling_twice_returns_false_the_second_time(context: PromisingContext) -> None:
    promise = Promise(resolver=Job())
    await let_others_run()

    assert [promise.cancel("first"), promise.cancel("second")] == [True, False]
    assert "first" in str(await error_of(promise))


async def test_a_promise_that_is_cancelled_before_it_has_begun_never_runs(context: PromisingContext) -> None:
    eager, lazy = Job(), Job()
    eager_promise, lazy_promise = Promise(resolver=eager), Promise(resolver=lazy, start_asap=False)
    streamer = ByHand("a")
    lazy_stream = StreamedPromise(streamer=streamer, start_asap=False)

    for promise in (eager_promise, lazy_promise, lazy_stream):
        assert promise.cancel() is True
        assert isinstance(await error_of(promise), PromiseCancelledError)
    await context.aflush_tasks()

    assert (eager.runs, lazy.runs, streamer.runs) == (0, 0, 0)


async def test_a_result_that_comes_after_the_cancellation_does_not_count(context: PromisingContext) -> None:
    async def stubborn(_: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"

    promise = Promise(resolver=stubborn)
    await let_others_run()
    promise.cancel()
    await context.aflush_tasks()

    assert isinstance(await error_of(promise), PromiseCancelledError)


async def test_pieces_that_come_after_the_cancellation_do_not_count(context: PromisingContext) -> None:
    async def stubborn(_: object) -> AsyncIterator[str]:
        yield "a"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "b"
            yield "c"

    promise = StreamedPromise(streamer=stubborn)
    await let_others_run()
    promise.cancel()
    await context.aflush_tasks()

    assert [str(type(item).__name__) for item in await everything_in(promise)] == ["str", "PromiseCancelledError"]


async def test_cancelling_a_promise_cancels_what_its_producer_alone_started_recursively(
    context: PromisingContext,
) -> None:
    jobs = [Job() for _ in range(3)]

    async def outer(_: object) -> object:
        Promise(resolver=jobs[0])
        return await Promise(resolver=middle)

    async def middle(_: object) -> object:
        Promise(resolver=jobs[1])
        return await Promise(resolver=jobs[2])

    promise = Promise(resolver=outer)
    await let_others_run()

    promise.cancel()
    await context.aflush_tasks()

    assert [job.ended for job in jobs] == ["cancelled"] * 3


async def test_cancelling_spares_what_somebody_outside_is_reading(context: PromisingContext) -> None:
    read_outside, read_by_nobody = Job(), Job()
    inner: list[Promise[str]] = []

    async def outer(_: object) -> str:
        inner.append(Promise(resolver=read_outside))
        inner.append(Promise(resolver=read_by_nobody))
        return await inner[0]

    promise = Promise(resolver=outer)
    await let_others_run()
    outsider = asyncio.ensure_future(inner[0])
    await let_others_run()

    promise.cancel()
    await let_others_run()
    assert read_outside.ended == ""
    read_outside.release.set()

    assert await outsider == "value"
    assert read_by_nobody.ended == "cancelled"
    assert isinstance(await error_of(inner[1]), PromiseCancelledError)


async def test_cancelling_a_stream_spares_a_stream_inside_that_somebody_outside_iterates(
    context: PromisingContext,
) -> None:
    streamer = ByHand("abc")
    inner: list[StreamedPromise[str, object]] = []

    async def outer(_: object) -> AsyncIterator[str]:
        inner.append(StreamedPromise(streamer=streamer))
        async for piece in inner[0]:
            yield piece

    promise = StreamedPromise(streamer=outer)
    await let_others_run()
    outsider = asyncio.create_task(collect(inner[0]))
    await let_others_run()

    promise.cancel()
    streamer.let_go(4)

    assert await outsider == ["a", "b", "c"]


async def test_what_the_promise_only_reads_is_not_cancelled_with_it(context: PromisingContext) -> None:
    job = Job()
    made_outside = Promise(resolver=job)
    promise = Promise(resolver=lambda _: made_outside.aresolve())
    await let_others_run()

    promise.cancel()
    await let_others_run()
    job.release.set()

    assert await made_outside == "value"


async def test_cancelling_the_promise_of_an_appender_ends_it_for_readers_and_does_not_break_the_writer(
    context: PromisingContext,
) -> None:
    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a")
        assert promise.cancel() is True
        assert [type(item) for item in await everything_in(promise)] == [str, PromiseCancelledError]
        assert promise.done()


async def test_a_writer_that_waits_for_room_goes_on_when_its_stream_is_cancelled(context: PromisingContext) -> None:
    appender = StreamAppender[int]()
    appender.open()

    async def write() -> str:
        for number in range(5):
            await appender.append(number)
        appender.close()
        return "written"

    promise = StreamedPromise(streamer=appender, read_ahead=1)
    writer = asyncio.create_task(write())
    await let_others_run()
    assert not writer.done()

    promise.cancel()
    done, _ = await asyncio.wait([writer], timeout=2)

    assert done == {writer}
    writer.exception()


async def test_cancelling_a_stream_that_is_done_but_whose_resolver_works_stops_the_resolver(
    context: PromisingContext,
) -> None:
    job = Job()
    promise = StreamedPromise(prefill_pieces=["a", "b"], resolver=job)
    await let_others_run()

    assert promise.done() is False
    assert promise.cancel() is True
    await context.aflush_tasks()

    assert job.ended == "cancelled"
    assert isinstance(await error_of(promise), PromiseCancelledError)


async def test_an_error_in_a_clean_up_after_cancel_hangs_nobody(
    context: PromisingContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def streamer(_: object) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            raise SomeError("while cleaning up")

    promise = StreamedPromise(streamer=streamer)
    await let_others_run()

    promise.cancel()
    await context.aflush_tasks()

    assert [type(item) for item in await everything_in(promise)] == [str, PromiseCancelledError]


async def test_cancelling_inside_of_the_resolver_itself_works(context: PromisingContext) -> None:
    async def resolver(promise: Promise[str]) -> str:
        promise.cancel("by itself")
        await asyncio.sleep(0)
        return "never"

    error = await error_of(Promise(resolver=resolver))

    assert isinstance(error, PromiseCancelledError)
    assert "by itself" in str(error)


async def test_a_cancelled_promise_that_nobody_reads_is_not_reported() -> None:
    # The log is watched by the fixtures of every test.
    async with PromisingContext() as context:
        Promise(resolver=Job()).cancel()
        StreamedPromise(streamer=ByHand()).cancel()
        promise = Promise(resolver=Job())
        await let_others_run()
        promise.cancel()
        del promise
        await context.aflush_tasks()
