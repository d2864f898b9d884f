"""What cancelling one of the readers of a promise does not do to the others."""

import asyncio

import pytest

from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import ByHand, collect, error_of, let_others_run


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


# --------------------------------------------------------------------------------------------------- of a reader


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_a_cancelled_awaiter_takes_nothing_from_the_others(context: PromisingContext, start_asap: bool) -> None:
    job = Job()
    promise = Promise(resolver=job, start_asap=start_asap)
    first, second = asyncio.ensure_future(promise), asyncio.ensure_future(promise)
    await let_others_run()

    first.cancel()
    assert isinstance(await error_of(first), asyncio.CancelledError)
    job.release.set()

    assert await second == "value"
    assert await promise == "value"
    assert (job.runs, job.ended) == (1, "done")


@pytest.mark.virtual_clock
@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_when_the_only_awaiter_times_out_the_work_goes_on(context: PromisingContext, start_asap: bool) -> None:
    job = Job()
    promise = Promise(resolver=job, start_asap=start_asap)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(promise.aresolve(), 60)
    job.release.set()

    assert await promise == "value"
    assert (job.runs, job.ended) == (1, "done")


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_a_cancelled_reader_of_pieces_takes_nothing_from_the_others(
    context: PromisingContext, start_asap: bool
) -> None:
    streamer = ByHand("abc")
    promise = StreamedPromise(streamer=streamer, start_asap=start_asap)
    readers = [asyncio.create_task(collect(promise)) for _ in range(3)]
    streamer.let_go()
    await let_others_run()

    readers[0].cancel()
    assert isinstance(await error_of(readers[0]), asyncio.CancelledError)
    streamer.let_go(3)

    assert await readers[1] == await readers[2] == await collect(promise) == ["a", "b", "c"]
    assert await promise == ("a", "b", "c")
    assert streamer.runs == 1


@pytest.mark.virtual_clock
async def test_an_iterator_whose_wait_timed_out_goes_on_where_it_was(context: PromisingContext) -> None:
    streamer = ByHand("ab")
    reader = aiter(StreamedPromise(streamer=streamer))
    streamer.let_go()
    assert await anext(reader) == "a"

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(reader), 60)
    streamer.let_go(2)

    assert [piece async for piece in reader] == ["b"]


async def test_leaving_a_loop_with_break_cancels_nothing(context: PromisingContext) -> None:
    streamer = ByHand("abc")
    promise = StreamedPromise(streamer=streamer)
    streamer.let_go()
    async for _ in promise:
        break

    streamer.let_go(3)

    assert await collect(promise) == ["a", "b", "c"]


async def test_a_reader_cancelled_in_the_moment_when_the_value_comes_harms_nobody(context: PromisingContext) -> None:
    job = Job()
    promise = Promise(resolver=job)
    reader = asyncio.ensure_future(promise)
    await let_others_run()

    job.release.set()
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])

    assert await promise == "value"


async def test_cancelled_error_is_never_a_stored_result(context: PromisingContext) -> None:
    async def cancels_itself(_: object) -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    promise = Promise(resolver=cancels_itself)

    assert isinstance(await error_of(promise), PromiseCancelledError)
    assert await error_of(promise) is await error_of(promise)


async def test_an_awaiter_that_is_cancelled_gets_cancelled_error_and_not_promise_cancelled_error(
    context: PromisingContext,
) -> None:
    job = Job()
    awaiter = asyncio.ensure_future(Promise(resolver=job))
    await let_others_run()

    awaiter.cancel()

    assert type(await error_of(awaiter)) is asyncio.CancelledError
    job.release.set()
