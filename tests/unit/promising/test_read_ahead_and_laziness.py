"""How far a producer runs ahead of its readers: `start_asap=False` and `read_ahead`."""

import asyncio

import pytest

from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence
from tests.unit.promising.tools import Counting, collect, let_others_run

# --------------------------------------------------------------------------------------------------- lazy


async def test_a_lazy_stream_makes_nothing_before_somebody_asks(context: PromisingContext) -> None:
    streamer = Counting(10)
    promise = StreamedPromise(streamer=streamer, start_asap=False)
    aiter(promise)

    await let_others_run()

    assert streamer.made == 0


async def test_a_lazy_stream_makes_a_piece_when_a_reader_asks_for_one_that_is_not_there_yet(
    context: PromisingContext,
) -> None:
    streamer = Counting(10)
    reader = aiter(StreamedPromise(streamer=streamer, start_asap=False))

    for number in range(4):
        assert await anext(reader) == number
        await let_others_run()
        assert streamer.made == number + 1


async def test_a_second_reader_of_a_lazy_stream_reads_what_is_there_without_making_more(
    context: PromisingContext,
) -> None:
    streamer = Counting(10)
    promise = StreamedPromise(streamer=streamer, start_asap=False)
    ahead, behind = aiter(promise), aiter(promise)
    assert [await anext(ahead) for _ in range(3)] == [0, 1, 2]

    assert [await anext(behind) for _ in range(3)] == [0, 1, 2]
    await let_others_run()
    assert streamer.made == 3

    assert await anext(behind) == 3
    assert streamer.made == 4


async def test_two_readers_that_ask_for_the_same_piece_get_one_piece_made(context: PromisingContext) -> None:
    streamer = Counting(10)
    promise = StreamedPromise(streamer=streamer, start_asap=False)

    assert await asyncio.gather(anext(aiter(promise)), anext(aiter(promise))) == [0, 0]
    await let_others_run()

    assert streamer.made == 1


async def test_awaiting_the_whole_of_a_lazy_stream_makes_all_of_it(context: PromisingContext) -> None:
    assert await StreamedPromise(streamer=Counting(50), start_asap=False) == tuple(range(50))


@pytest.mark.virtual_clock
async def test_a_lazy_stream_whose_reader_gave_up_waits_for_the_next_one(context: PromisingContext) -> None:
    release = asyncio.Event()

    async def streamer(_: object):
        await release.wait()
        for number in range(5):
            yield number

    promise = StreamedPromise(streamer=streamer, start_asap=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(aiter(promise)), 60)

    release.set()

    assert await collect(promise) == [0, 1, 2, 3, 4]


async def test_a_chain_of_lazy_streams_produces_on_demand_all_the_way(context: PromisingContext) -> None:
    streamer = Counting(10)
    promise = StreamedPromise(streamer=streamer, start_asap=False)
    for _ in range(3):
        promise = StreamedPromise(streamer=promise, start_asap=False)
    reader = aiter(promise)

    assert [await anext(reader), await anext(reader)] == [0, 1]
    await let_others_run()

    assert streamer.made == 2


async def test_a_lazy_flat_sequence_flattens_on_demand(context: PromisingContext) -> None:
    streamer = Counting(10)

    async def twice(_: object, item: int):
        yield item
        yield item

    reader = aiter(FlatSequence(streamer, twice, start_asap=False).sequence_promise)

    assert [await anext(reader), await anext(reader), await anext(reader)] == [0, 0, 1]
    await let_others_run()
    assert streamer.made == 2


async def test_laziness_is_by_default_what_the_context_says() -> None:
    streamer = Counting(10)
    async with PromisingContext(start_everything_asap_by_default=False):
        reader = aiter(StreamedPromise(streamer=streamer))
        await let_others_run()
        assert streamer.made == 0

        assert await anext(reader) == 0
        await let_others_run()
        assert streamer.made == 1


async def test_an_eager_stream_without_a_bound_runs_to_its_end_with_nobody_reading(context: PromisingContext) -> None:
    streamer = Counting(1000)
    promise = StreamedPromise(streamer=streamer)

    await context.aflush_tasks()

    assert streamer.made == 1000
    assert len(await promise) == 1000


# --------------------------------------------------------------------------------------------------- read_ahead


@pytest.mark.parametrize("read_ahead", [1, 2, 5, 40])
async def test_a_producer_is_never_more_than_read_ahead_pieces_ahead_of_its_reader(
    context: PromisingContext, read_ahead: int
) -> None:
    streamer = Counting(100)
    reader = aiter(StreamedPromise(streamer=streamer, read_ahead=read_ahead))

    await let_others_run()
    assert streamer.made == read_ahead

    for number in range(20):
        assert await anext(reader) == number
        await let_others_run()
        assert streamer.made == number + 1 + read_ahead

    assert len([piece async for piece in reader]) == 80


async def test_it_is_the_furthest_reader_that_counts(context: PromisingContext) -> None:
    streamer = Counting(100)
    promise = StreamedPromise(streamer=streamer, read_ahead=3)
    furthest, behind = aiter(promise), aiter(promise)
    for _ in range(10):
        await anext(furthest)
    await let_others_run()
    assert streamer.made == 13

    for _ in range(5):
        await anext(behind)
    await let_others_run()

    assert streamer.made == 13


async def test_awaiting_the_whole_lifts_the_bound(context: PromisingContext) -> None:
    promise = StreamedPromise(streamer=Counting(100), read_ahead=2)
    await let_others_run()

    assert await promise == tuple(range(100))


async def test_a_reader_behind_a_bound_sees_everything(context: PromisingContext) -> None:
    promise = StreamedPromise(streamer=Counting(100), read_ahead=1)

    assert await collect(promise) == list(range(100))
    assert await collect(promise) == list(range(100))


async def test_read_ahead_of_zero_makes_a_piece_only_when_it_is_asked_for(context: PromisingContext) -> None:
    streamer = Counting(10)
    reader = aiter(StreamedPromise(streamer=streamer, read_ahead=0))
    await let_others_run()
    assert streamer.made == 0

    assert await anext(reader) == 0
    await let_others_run()

    assert streamer.made == 1


async def test_the_bound_is_by_default_what_the_context_says() -> None:
    by_context, unbound = Counting(100), Counting(100)
    async with PromisingContext(read_ahead_by_default=4) as context:
        bound_promise = StreamedPromise(streamer=by_context)
        await let_others_run()
        assert by_context.made == 4
        assert await bound_promise == tuple(range(100))

    async with PromisingContext() as context:
        StreamedPromise(streamer=unbound)
        await context.aflush_tasks()
        assert unbound.made == 100


async def test_the_bound_of_the_context_binds_appenders_too() -> None:
    written: list[int] = []

    async def write(appender: StreamAppender[int]) -> None:
        for number in range(10):
            await appender.append(number)
            written.append(number)
        appender.close()

    async with PromisingContext(read_ahead_by_default=3) as context:
        appender = StreamAppender[int]().open()
        promise = StreamedPromise(streamer=appender)
        context.start_asap(write(appender))
        await let_others_run()
        assert len(written) <= 3

        assert await collect(promise) == list(range(10))


@pytest.mark.parametrize("bound", [-1, -10])
async def test_a_negative_bound_is_refused(context: PromisingContext, bound: int) -> None:
    with pytest.raises(ValueError, match=str(bound)):
        StreamedPromise(streamer=Counting(1), read_ahead=bound)
    with pytest.raises(ValueError, match=str(bound)):
        PromisingContext(read_ahead_by_default=bound)


async def test_aflush_tasks_does_not_wait_for_a_producer_at_its_bound(context: PromisingContext) -> None:
    StreamedPromise(streamer=Counting(100), read_ahead=2)

    async with asyncio.timeout(2):
        await context.aflush_tasks()


async def test_a_producer_at_its_bound_goes_on_when_its_reader_is_a_background_task() -> None:
    seen: list[int] = []

    async def read(promise: StreamedPromise[int, object]) -> None:
        async for piece in promise:
            seen.append(piece)
            await asyncio.sleep(0)

    async with PromisingContext() as context:
        context.start_asap(read(StreamedPromise(streamer=Counting(100), read_ahead=2)))

    assert seen == list(range(100))


async def test_a_lazy_stream_goes_on_at_the_end_of_the_context_when_a_background_task_reads_it() -> None:
    seen: list[int] = []

    async def read(promise: StreamedPromise[int, object]) -> None:
        async for piece in promise:
            seen.append(piece)
            await asyncio.sleep(0)

    async with PromisingContext() as context:
        context.start_asap(read(StreamedPromise(streamer=Counting(20), start_asap=False)))

    assert seen == list(range(20))
