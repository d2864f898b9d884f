"""`StreamedPromise`: a value that comes in pieces, replayed to every reader from the first one."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents.promising.errors import NoActiveContextError, PromisingError
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from tests.unit.promising.tools import ByHand, collect, error_of, let_others_run, stream_of


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


async def joined(promise: StreamedPromise[str, str]) -> str:
    return "".join([piece async for piece in promise])


# --------------------------------------------------------------------------------------------------- replay


async def test_every_iteration_replays_from_the_first_piece(context: PromisingContext) -> None:
    promise = stream_of(1, 2, 3)

    assert [await collect(promise) for _ in range(3)] == [[1, 2, 3]] * 3


async def test_an_iteration_that_began_late_replays_what_was_and_then_follows_live(context: PromisingContext) -> None:
    streamer = ByHand("abc")
    promise = StreamedPromise(streamer=streamer)
    streamer.let_go(2)
    await let_others_run()

    reader = aiter(promise)
    assert [await anext(reader), await anext(reader)] == ["a", "b"]
    third = asyncio.ensure_future(anext(reader))
    await let_others_run()
    assert not third.done()

    streamer.let_go(2)
    assert await third == "c"
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_a_piece_reaches_its_reader_before_the_next_one_is_made(context: PromisingContext) -> None:
    streamer = ByHand("ab")
    reader = aiter(StreamedPromise(streamer=streamer))

    streamer.let_go()

    assert await anext(reader) == "a"
    assert streamer.made == ["a"]
    streamer.let_go(2)


async def test_the_streamer_runs_once_for_all_consumers(context: PromisingContext) -> None:
    streamer = ByHand("abc")
    promise = StreamedPromise(streamer=streamer, resolver=joined)
    readers = [asyncio.create_task(collect(promise)) for _ in range(5)]
    whole = asyncio.ensure_future(promise)
    await let_others_run()

    streamer.let_go(4)

    assert await asyncio.gather(*readers) == [["a", "b", "c"]] * 5
    assert await whole == "abc"
    assert await collect(promise) == ["a", "b", "c"]
    assert streamer.runs == 1


async def test_the_streamer_is_given_the_promise_itself(context: PromisingContext) -> None:
    async def streamer(promise: object) -> AsyncIterator[object]:
        yield promise

    promise = StreamedPromise(streamer=streamer)

    assert await collect(promise) == [promise]


async def test_readers_at_different_places_do_not_disturb_each_other(context: PromisingContext) -> None:
    promise = stream_of(*range(6))
    ahead, behind = aiter(promise), aiter(promise)

    seen = [await anext(ahead), await anext(ahead), await anext(behind), await anext(ahead), await anext(behind)]

    assert seen == [0, 1, 0, 2, 1]


async def test_tasks_that_share_one_iterator_get_each_piece_once(context: PromisingContext) -> None:
    streamer = ByHand("abcd")
    reader = aiter(StreamedPromise(streamer=streamer))
    readers = [asyncio.ensure_future(anext(reader)) for _ in range(4)]
    await let_others_run()

    streamer.let_go(5)

    assert sorted(await asyncio.gather(*readers)) == ["a", "b", "c", "d"]


async def test_an_iterator_that_is_over_stays_over(context: PromisingContext) -> None:
    reader = aiter(stream_of("a"))
    assert await anext(reader) == "a"

    for _ in range(3):
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


async def test_an_empty_stream_ends_at_once(context: PromisingContext) -> None:
    promise = stream_of()

    assert await collect(promise) == []
    assert await promise == ()


async def test_calling_a_promise_gives_a_fresh_iterator(context: PromisingContext) -> None:
    promise = stream_of("a", "b")
    one, another = promise(), promise()

    assert [await anext(one), await anext(another), await anext(one)] == ["a", "a", "b"]


async def test_one_promise_can_be_the_streamer_of_another(context: PromisingContext) -> None:
    inner = stream_of("a", "b")
    outer = StreamedPromise(streamer=inner, resolver=joined)

    assert await collect(outer) == ["a", "b"]
    assert await outer == "ab"


# --------------------------------------------------------------------------------------------------- the whole


async def test_the_resolver_packages_the_pieces_into_the_whole(context: PromisingContext) -> None:
    assert await stream_of("a", "b", resolver=joined) == "ab"


async def test_awaiting_the_whole_needs_nobody_who_reads_the_pieces(context: PromisingContext) -> None:
    assert await stream_of("a", "b", resolver=joined, start_asap=False) == "ab"


async def test_without_a_resolver_the_whole_is_a_tuple_of_the_pieces(context: PromisingContext) -> None:
    assert await stream_of("a", "b") == ("a", "b")


async def test_a_broken_resolver_fails_the_whole_only_and_the_pieces_still_stream(context: PromisingContext) -> None:
    error = SomeError("cannot package")

    async def resolver(_: object) -> None:
        raise error

    streamer = ByHand("ab")
    promise = StreamedPromise(streamer=streamer, resolver=resolver)

    assert await error_of(promise) is error
    streamer.let_go(3)
    assert await collect(promise) == ["a", "b"]
    assert await error_of(promise) is error


async def test_prefilled_pieces_stream_and_resolve(context: PromisingContext) -> None:
    promise = StreamedPromise(prefill_pieces=["a", "b"], resolver=joined)

    assert await collect(promise) == ["a", "b"]
    assert await promise == "ab"


async def test_a_prefilled_result_is_there_before_the_pieces(context: PromisingContext) -> None:
    streamer = ByHand("ab")
    promise = StreamedPromise(streamer=streamer, prefill_result="known")

    assert await promise == "known"
    streamer.let_go(3)
    assert await collect(promise) == ["a", "b"]


async def test_a_subclass_may_override_streamer_and_resolver(context: PromisingContext) -> None:
    class Letters(StreamedPromise[str, str]):
        async def _streamer(self) -> AsyncIterator[str]:
            yield "a"
            yield "b"

        async def _resolver(self) -> str:
            return "-".join([piece async for piece in self])

    promise = Letters()

    assert await collect(promise) == ["a", "b"]
    assert await promise == "a-b"


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="no source of pieces"),
        pytest.param({"streamer": ByHand(), "prefill_pieces": ["a"]}, id="two sources of pieces"),
        pytest.param(
            {"prefill_pieces": ["a"], "resolver": joined, "prefill_result": "a"}, id="two sources of the whole"
        ),
    ],
)
async def test_no_source_or_two_sources_are_refused(context: PromisingContext, settings: dict[str, Any]) -> None:
    with pytest.raises(PromisingError, match="StreamedPromise"):
        StreamedPromise(**settings)


def test_a_stream_without_a_context_says_how_to_get_one() -> None:
    with pytest.raises(NoActiveContextError, match=r"PromisingContext\(\)"):
        StreamedPromise(streamer=ByHand())


# --------------------------------------------------------------------------------------------------- when it starts


async def test_no_code_of_the_streamer_runs_inside_the_constructor(context: PromisingContext) -> None:
    calls: list[str] = []

    def streamer(_promise: object) -> AsyncIterator[str]:
        calls.append("called")
        return aiter(stream_of("a"))

    promise = StreamedPromise(streamer=streamer, start_asap=True)

    assert calls == []
    assert await collect(promise) == ["a"]
    assert calls == ["called"]


async def test_an_eager_stream_starts_at_the_earliest_task_switch(context: PromisingContext) -> None:
    streamer = ByHand("a")

    StreamedPromise(streamer=streamer, start_asap=True)
    await asyncio.sleep(0)

    assert streamer.runs == 1
    streamer.let_go(2)


# --------------------------------------------------------------------------------------------------- done


async def test_done_is_true_when_the_whole_is_there(context: PromisingContext) -> None:
    streamer = ByHand("a")
    promise = StreamedPromise(streamer=streamer)
    streamer.let_go()
    await let_others_run()
    assert promise.done() is False

    streamer.let_go()
    await promise

    assert promise.done() is True


async def test_done_is_true_when_the_stream_broke(context: PromisingContext) -> None:
    promise = stream_of("a", SomeError())
    await error_of(promise)

    assert promise.done() is True


async def test_a_prefilled_stream_is_done_from_the_start(context: PromisingContext) -> None:
    assert StreamedPromise(prefill_pieces=["a"]).done() is True


# --------------------------------------------------------------------------------------------------- law 7, costs


async def test_a_streamer_with_2000_pieces_at_hand_gives_its_reader_the_first_one_early(
    context: PromisingContext,
) -> None:
    made = 0

    async def streamer(_: object) -> AsyncIterator[int]:
        nonlocal made
        for made in range(1, 2001):
            yield made

    reader = aiter(StreamedPromise(streamer=streamer))

    assert await anext(reader) == 1
    assert made < 200


async def test_a_streamer_that_never_waits_does_not_starve_a_timer(context: PromisingContext) -> None:
    made = 0
    rang = asyncio.Event()

    async def streamer(_: object) -> AsyncIterator[int]:
        nonlocal made
        while not rang.is_set():
            made += 1
            yield made

    # A real one: virtual time stands still while anything can run, and this streamer always can.
    asyncio.get_running_loop().call_later(0.01, rang.set)
    promise = StreamedPromise(streamer=streamer)

    assert len(await promise) == made


async def test_a_replay_of_many_pieces_does_not_starve_other_tasks(context: PromisingContext) -> None:
    promise = StreamedPromise(prefill_pieces=range(5000))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await collect(promise)
    task.cancel()

    assert turns >= 5


async def test_a_reader_that_finds_pieces_takes_them_without_suspending(context: PromisingContext) -> None:
    promise = stream_of(*range(10))
    await promise
    reader = aiter(promise)

    for number in range(10):
        # Driven by hand: a step that suspended would come back from `send` instead of returning its piece.
        with pytest.raises(StopIteration) as returned:
            anext(reader).__await__().send(None)
        assert returned.value.value == number


async def test_reading_a_stream_and_writing_one_with_an_appender_cost_no_task(context: PromisingContext) -> None:
    before = asyncio.all_tasks()

    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a").append("b")
        reader = aiter(promise)
        assert [await anext(reader), await anext(reader)] == ["a", "b"]
        assert asyncio.all_tasks() == before
    assert await promise == ("a", "b")
    assert asyncio.all_tasks() == before


async def test_a_stream_that_is_pumped_costs_one_task(context: PromisingContext) -> None:
    before = asyncio.all_tasks()
    streamer = ByHand("ab")
    promise = StreamedPromise(streamer=streamer)
    readers = [aiter(promise) for _ in range(3)]
    streamer.let_go()

    assert [await anext(reader) for reader in readers] == ["a"] * 3
    assert len(asyncio.all_tasks() - before) == 1
    streamer.let_go(2)


async def test_a_stream_that_succeeded_leaves_no_cyclic_garbage(context: PromisingContext) -> None:
    async def use_streams(count: int) -> None:
        for _ in range(count):
            promise = stream_of("a", "b", resolver=joined)
            assert await collect(promise) == ["a", "b"]
            assert await promise == "ab"
            with StreamAppender() as appender:
                appended = StreamedPromise(streamer=appender)
                appender.append("a")
            assert await collect(appended) == ["a"]
            assert await appended == ("a",)
        await let_others_run()

    await use_streams(3)
    found: list[int] = []
    gc.disable()
    try:
        # Threads of the process that the tests run in may leave something of their own, but not each time.
        for _ in range(3):
            gc.collect()
            await use_streams(50)
            found.append(gc.collect())
    finally:
        gc.enable()

    assert min(found) < 10, f"{found} unreachable objects after 100 streams each"
