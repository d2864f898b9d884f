"""Waits that can never end, and waits that merely last."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents.promising.errors import DeadlockError
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence
from tests.unit.promising.tools import collect, error_of, everything_in, let_others_run, run_program

pytestmark = pytest.mark.virtual_clock

AN_HOUR = 3600


def now() -> float:
    return asyncio.get_running_loop().time()


async def deadlock_of(awaitable: Any) -> str:
    """Give the text of the `DeadlockError` that must come within a second."""
    began = now()
    error = await outcome_within_an_hour(awaitable)
    assert isinstance(error, DeadlockError), error
    assert now() - began <= 1
    return str(error)


async def outcome_within_an_hour(awaitable: Any) -> Any:
    """Give the result, or the error; a wait that hangs is cancelled after an hour of virtual time, at once that is."""
    try:
        async with asyncio.timeout(AN_HOUR):
            return await awaitable
    except BaseException as error:
        return error


# --------------------------------------------------------------------------------------------------- circles


async def test_a_promise_that_awaits_itself_is_a_deadlock(context: PromisingContext) -> None:
    async def awaits_itself(promise: Promise[object]) -> object:
        return await promise

    text = await deadlock_of(Promise(resolver=awaits_itself))

    assert "awaits_itself" in text


async def test_promises_that_await_each_other_are_a_deadlock_that_names_them_all(context: PromisingContext) -> None:
    promises: dict[str, Promise[object]] = {}

    async def the_first(_: object) -> object:
        return await promises["second"]

    async def the_second(_: object) -> object:
        return await promises["third"]

    async def the_third(_: object) -> object:
        return await promises["first"]

    promises["first"] = Promise(resolver=the_first)
    promises["second"] = Promise(resolver=the_second)
    promises["third"] = Promise(resolver=the_third)

    text = await deadlock_of(promises["first"])

    for name in ("the_first", "the_second", "the_third"):
        assert name in text
    for promise in promises.values():
        assert isinstance(await outcome_within_an_hour(promise), DeadlockError)


async def test_a_stream_that_reads_itself_is_a_deadlock(context: PromisingContext) -> None:
    async def reads_itself(promise: StreamedPromise[str, object]) -> AsyncIterator[str]:
        async for piece in promise:
            yield piece

    assert "reads_itself" in await deadlock_of(collect(StreamedPromise(streamer=reads_itself)))


async def test_a_stream_that_awaits_its_own_whole_is_a_deadlock_after_its_pieces(context: PromisingContext) -> None:
    async def awaits_its_whole(promise: StreamedPromise[str, object]) -> AsyncIterator[str]:
        yield "a"
        await promise

    promise = StreamedPromise(streamer=awaits_its_whole)

    assert "awaits_its_whole" in await deadlock_of(promise)
    assert [type(item) for item in await everything_in(promise)] == [str, DeadlockError]


@pytest.mark.allow_errors_in_log("of the two that get the error, one has no reader left")
async def test_a_circle_of_a_promise_and_a_stream_is_a_deadlock(context: PromisingContext) -> None:
    async def reads(_: object) -> list[object]:
        return await collect(stream)

    async def streams(_: object) -> AsyncIterator[object]:
        yield await promise

    promise = Promise(resolver=reads, start_asap=False)
    stream = StreamedPromise(streamer=streams, start_asap=False)

    await deadlock_of(promise)


async def test_a_sequence_that_flattens_itself_is_a_deadlock(context: PromisingContext) -> None:
    sequences: list[StreamedPromise[Any, Any]] = []

    async def incoming(_: object) -> AsyncIterator[Any]:
        yield sequences[0]

    async def flattener(_: object, item: StreamedPromise[Any, Any]) -> AsyncIterator[Any]:
        async for piece in item:
            yield piece

    sequences.append(FlatSequence(incoming, flattener).sequence_promise)

    await deadlock_of(sequences[0])


@pytest.mark.allow_errors_in_log("of the two that get the error, one has no reader left")
async def test_a_circle_that_closes_late_is_found_within_a_second_of_that(context: PromisingContext) -> None:
    async def the_first(_: object) -> object:
        return await second

    async def the_second(_: object) -> object:
        await asyncio.sleep(100)
        return await first

    first, second = Promise(resolver=the_first), Promise(resolver=the_second)

    error = await outcome_within_an_hour(first)

    assert isinstance(error, DeadlockError)
    assert 100 <= now() <= 101


@pytest.mark.parametrize("the_other_lasts", [0, 100])
async def test_a_circle_through_tasks_that_are_gathered_is_found(
    context: PromisingContext, the_other_lasts: int
) -> None:
    async def gathers(promise: Promise[object]) -> object:
        return await asyncio.gather(asyncio.create_task(promise.aresolve()), asyncio.sleep(the_other_lasts))

    error = await outcome_within_an_hour(Promise(resolver=gathers))

    assert isinstance(error, DeadlockError)
    assert the_other_lasts <= now() <= the_other_lasts + 1


async def test_a_deadlock_error_tells_how_to_mend_it(context: PromisingContext) -> None:
    async def awaits_itself(promise: Promise[object]) -> object:
        return await promise

    text = await deadlock_of(Promise(resolver=awaits_itself))

    assert "Await it from outside of the function that computes it" in text


async def test_a_promise_that_catches_the_deadlock_error_goes_on(context: PromisingContext) -> None:
    async def awaits_itself(promise: Promise[object]) -> object:
        try:
            return await promise
        except DeadlockError:
            return "a way out"

    assert await outcome_within_an_hour(Promise(resolver=awaits_itself)) == "a way out"


# --------------------------------------------------------------------------------------------------- writers


async def test_an_appender_that_the_waiting_main_function_holds_unclosed_is_a_deadlock(
    context: PromisingContext,
) -> None:
    appender = StreamAppender[str]().open()
    promise = StreamedPromise(streamer=appender)
    appender.append("a")

    text = await deadlock_of(promise)

    assert "close()" in text
    appender.close()


async def test_reading_the_pieces_inside_of_the_with_block_to_the_end_is_a_deadlock(context: PromisingContext) -> None:
    seen: list[str] = []

    with StreamAppender() as appender:
        promise = StreamedPromise(streamer=appender)
        appender.append("a")
        with pytest.raises(DeadlockError, match=r"close\(\)"):
            async with asyncio.timeout(AN_HOUR):
                async for piece in promise:
                    seen.append(piece)

    assert seen == ["a"]
    assert now() <= 1


async def test_a_dropped_appender_is_a_deadlock_for_its_readers_who_get_the_pieces_first(
    context: PromisingContext,
) -> None:
    appender = StreamAppender[str]().open()
    promise = StreamedPromise(streamer=appender)
    appender.append("a")
    reader = asyncio.create_task(everything_in(promise))
    await let_others_run()

    del appender

    found = await outcome_within_an_hour(reader)
    assert [type(item) for item in found] == [str, DeadlockError]
    assert "close()" in str(found[1])
    assert await error_of(promise) is found[1]


async def test_an_appender_that_its_writer_forgot_to_close_is_a_deadlock(context: PromisingContext) -> None:
    promises: list[StreamedPromise[str, object]] = []

    async def writes_and_forgets(_: object) -> None:
        appender = StreamAppender[str]().open()
        promises.append(StreamedPromise(streamer=appender))
        appender.append("a")
        await asyncio.sleep(5)

    await Promise(resolver=writes_and_forgets)

    await deadlock_of(promises[0])


async def test_an_appender_that_a_promise_holds_open_while_it_awaits_what_it_writes_is_a_deadlock(
    context: PromisingContext,
) -> None:
    async def writes_and_reads(_: object) -> object:
        with StreamAppender[str]() as appender:
            appender.append("a")
            return await StreamedPromise(streamer=appender)

    text = await deadlock_of(Promise(resolver=writes_and_reads))

    assert "writes_and_reads" in text


async def test_an_appender_that_is_held_inside_of_an_async_generator_is_a_deadlock_all_the_same(
    context: PromisingContext,
) -> None:
    async def writes_and_waits() -> str:
        with StreamAppender[str]() as appender:
            appender.append("a")
            return "".join(await StreamedPromise(streamer=appender))

    async def generator() -> AsyncIterator[str]:
        yield await writes_and_waits()

    async def reads(_: object) -> list[str]:
        return [piece async for piece in generator()]

    assert "which only it itself could bring to its end" in await deadlock_of(Promise(resolver=reads))


async def test_an_appender_that_a_nested_function_sees_too_is_a_deadlock_all_the_same(
    context: PromisingContext,
) -> None:
    appender = StreamAppender[str]().open()

    def write(piece: str) -> None:
        appender.append(piece)

    write("a")
    promise = StreamedPromise(streamer=appender)

    await deadlock_of(promise)
    appender.close()


async def test_an_appender_that_its_opener_awaits_is_a_deadlock_once_the_last_other_writer_has_ended(
    context: PromisingContext,
) -> None:
    async def write_late(writable: StreamAppender[str]) -> None:
        await asyncio.sleep(100)
        writable.append("a")

    appender = StreamAppender[str]().open()
    promise = StreamedPromise(streamer=appender)
    writer = asyncio.create_task(write_late(appender))

    error = await outcome_within_an_hour(promise)

    assert isinstance(error, DeadlockError)
    assert 100 <= now() <= 101
    appender.close()
    await writer


async def test_all_who_wait_for_a_dropped_appender_are_told(context: PromisingContext) -> None:
    appender = StreamAppender[str]().open()
    promise = StreamedPromise(streamer=appender)
    waiting = [asyncio.create_task(error_of(promise)) for _ in range(3)]
    waiting += [asyncio.create_task(everything_in(promise)) for _ in range(3)]
    await let_others_run()

    del appender

    results = await outcome_within_an_hour(asyncio.gather(*waiting))
    assert {type(error) for error in results[:3]} == {DeadlockError}
    assert {type(items[-1]) for items in results[3:]} == {DeadlockError}


async def test_a_context_ends_though_a_background_task_reads_what_nobody_closes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def read(promise: StreamedPromise[str, object]) -> None:
        await collect(promise)

    async def main() -> None:
        appender = StreamAppender[str]().open()
        PromisingContext.get_current().start_asap(read(StreamedPromise(streamer=appender)))
        await asyncio.sleep(0)

    async with asyncio.timeout(2):
        await PromisingContext().arun(main())

    assert "DeadlockError" in caplog.text


@pytest.mark.parametrize(
    "main",
    [
        "appender = StreamAppender().open(); await StreamedPromise(streamer=appender)",
        "await StreamedPromise(streamer=StreamAppender().open())",
        "await Promise(resolver=Promise.aresolve)",
    ],
    ids=["held by main", "dropped", "a promise of itself"],
)
def test_a_program_with_a_wait_that_cannot_end_ends_with_the_error(main: str) -> None:
    ended = run_program(
        f"""
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise

async def main():
    {main}

PromisingContext().run(main())
"""
    )

    assert ended.returncode == 1
    assert "DeadlockError" in ended.stderr.splitlines()[-1]


async def test_who_waits_for_a_circle_is_a_tree_that_ends(context: PromisingContext) -> None:
    promises: list[Promise[object]] = []

    async def the_first(_: object) -> object:
        return await promises[1]

    async def the_second(_: object) -> object:
        return await promises[0]

    promises += [Promise(resolver=the_first), Promise(resolver=the_second)]
    await let_others_run()

    tree = context.who_waits()
    assert "the_first" in tree
    assert "the_second" in tree
    await asyncio.gather(*(error_of(promise) for promise in promises))
