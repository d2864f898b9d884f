"""Laws of streams that hold for any pieces, any readers and any moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence
from miniagents.testing import run_with_virtual_clock

# A hang is a failure too. Virtual time, so that it passes at once.
TIME_LIMIT_S = 3600

few = st.integers(0, 6)
pauses = st.lists(few, max_size=8)


class SomeError(Exception):
    pass


def run(main: Callable[[], Coroutine[Any, Any, None]], **context_settings: Any) -> None:
    """Run `main` in a new context and see that no task is left."""

    async def in_a_context() -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            async with PromisingContext(**context_settings):
                await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_with_virtual_clock(in_a_context())


async def pause(task_switches: int) -> None:
    for _ in range(task_switches):
        await asyncio.sleep(0)


async def everything_in(iterator: AsyncIterator[Any]) -> list[Any]:
    found: list[Any] = []
    while True:
        try:
            found.append(await anext(iterator))
        except StopAsyncIteration:
            return found
        except asyncio.CancelledError:
            raise
        except Exception as error:
            found.append(error)


@dataclass(frozen=True)
class Script:
    """What a stream will do: pieces with pauses between them, perhaps errors among them, perhaps one at the end."""

    steps: list[tuple[int, Any]]
    last_error: Exception | None

    @property
    def content(self) -> list[Any]:
        return [piece for _, piece in self.steps] + ([] if self.last_error is None else [self.last_error])


scripts = st.builds(
    Script,
    steps=st.lists(st.tuples(few, st.one_of(st.integers(), st.builds(SomeError, st.just("a piece")))), max_size=12),
    last_error=st.one_of(st.none(), st.builds(SomeError, st.just("the end"))),
)
modes = st.fixed_dictionaries({"start_asap": st.booleans(), "read_ahead": st.one_of(st.none(), st.integers(0, 4))})


def promise_of(script: Script, kind: str, mode: dict[str, Any]) -> StreamedPromise[Any, Any]:
    """Make the stream: written by a streamer, by an appender in the background, or passed on by another promise."""
    if kind == "prefilled":
        return StreamedPromise(prefill_pieces=script.content)
    if kind == "appended":
        appender = StreamAppender[Any](capture_errors=True).open()
        PromisingContext.get_current().start_asap(_append(script, appender))
        return StreamedPromise(streamer=appender, read_ahead=mode["read_ahead"])

    async def streamer(_: object) -> AsyncIterator[Any]:
        for switches, piece in script.steps:
            await pause(switches)
            yield piece
        if script.last_error is not None:
            raise script.last_error

    promise = StreamedPromise(streamer=streamer, **mode)
    if kind == "forwarded":
        # Only pieces: a reader that forwards ends at the first error, which is then the end of the outer stream.
        return StreamedPromise(streamer=promise, **mode)
    return promise


async def _append(script: Script, appender: StreamAppender[Any]) -> None:
    try:
        for switches, piece in script.steps:
            await pause(switches)
            if switches % 2:
                await appender.append(piece)
            else:
                appender.append(piece)
        if script.last_error is not None:
            appender.append(script.last_error)
    finally:
        appender.close()


kinds = st.sampled_from(["streamed", "appended", "prefilled"])


@given(scripts, kinds, modes, pauses)
@settings(deadline=None)
def test_any_number_of_readers_at_any_time_see_the_same(
    script: Script, kind: str, mode: dict[str, Any], begins: list[int]
) -> None:
    async def main() -> None:
        promise = promise_of(script, kind, mode)

        async def read_after(switches: int) -> list[Any]:
            await pause(switches)
            return await everything_in(aiter(promise))

        found = await asyncio.gather(*(read_after(switches) for switches in begins))
        found.append(await everything_in(aiter(promise)))
        # Errors compare by identity: every reader got the very same objects.
        assert all(content == script.content for content in found), found

    run(main)


@pytest.mark.allow_errors_in_log("a reader that stops at the first error of a stream never receives the others")
@given(scripts, kinds, modes, few)
@settings(deadline=None)
def test_the_whole_is_a_tuple_of_the_pieces_or_the_first_error(
    script: Script, kind: str, mode: dict[str, Any], switches: int
) -> None:
    first_error = next((item for item in script.content if isinstance(item, Exception)), None)

    async def main() -> None:
        promise = promise_of(script, kind, mode)
        await pause(switches)
        for _ in range(2):
            if first_error is None:
                assert await promise == tuple(script.content)
            else:
                with pytest.raises(SomeError) as caught:
                    await promise
                assert caught.value is first_error
        assert promise.done()
        assert promise.cancel() is False

    run(main)


@pytest.mark.allow_errors_in_log("a reader that stops at the first error of a stream never receives the others")
@given(scripts, modes)
@settings(deadline=None)
def test_a_stream_that_passes_on_another_shows_it_up_to_its_first_error(script: Script, mode: dict[str, Any]) -> None:
    expected: list[Any] = []
    for item in script.content:
        expected.append(item)
        if isinstance(item, Exception):
            break

    async def main() -> None:
        promise = promise_of(script, "forwarded", mode)
        assert (await everything_in(aiter(promise)))[: len(expected)] == expected

    run(main)


@given(scripts, kinds, modes, st.lists(st.tuples(few, few), min_size=1, max_size=5), few)
@settings(deadline=None)
def test_cancelling_readers_at_any_point_harms_no_other_reader(
    script: Script, kind: str, mode: dict[str, Any], cancelled_readers: list[tuple[int, int]], begin: int
) -> None:
    async def main() -> None:
        promise = promise_of(script, kind, mode)

        async def is_cancelled(begins_after: int, cancelled_after: int) -> None:
            await pause(begins_after)
            reads_pieces = begins_after % 2
            reader = asyncio.ensure_future(everything_in(aiter(promise)) if reads_pieces else promise.aresolve())
            await pause(cancelled_after)
            reader.cancel()
            await asyncio.wait([reader])
            if not reader.cancelled() and reader.exception() is None and reads_pieces:
                assert reader.result() == script.content

        async def stays() -> list[Any]:
            await pause(begin)
            return await everything_in(aiter(promise))

        found, *_ = await asyncio.gather(stays(), *(is_cancelled(*times) for times in cancelled_readers))
        assert found == script.content
        assert await everything_in(aiter(promise)) == script.content

    run(main)


@pytest.mark.allow_errors_in_log("errors are appended that nobody comes to before the stream is cancelled")
@given(scripts, st.sampled_from(["streamed", "appended"]), modes, few, pauses)
@settings(deadline=None)
def test_cancelling_a_stream_at_any_point_gives_all_readers_the_same_beginning_and_then_the_cancellation(
    script: Script, kind: str, mode: dict[str, Any], cancelled_after: int, begins: list[int]
) -> None:
    async def main() -> None:
        promise = promise_of(script, kind, mode)

        async def read_after(switches: int) -> list[Any]:
            await pause(switches)
            return await everything_in(aiter(promise))

        readers = [asyncio.create_task(read_after(switches)) for switches in begins]
        await pause(cancelled_after)
        was_done = promise.done()
        assert promise.cancel("stop") is not was_done
        assert promise.done()
        found = await asyncio.gather(*readers)
        found.append(await everything_in(aiter(promise)))
        assert all(content == found[0] for content in found)
        if was_done:
            assert found[0] == script.content
        else:
            assert found[0][:-1] == script.content[: len(found[0]) - 1]
            assert isinstance(found[0][-1], PromiseCancelledError)

    run(main)


@given(st.booleans(), few, st.lists(st.tuples(few, few), max_size=5), few, st.booleans())
@settings(deadline=None)
def test_a_value_is_made_once_and_survives_any_cancelled_awaiters(
    start_asap: bool, takes: int, cancelled_awaiters: list[tuple[int, int]], begin: int, fails: bool
) -> None:
    runs = 0
    failure = SomeError("of the resolver")

    async def resolver(_: object) -> str:
        nonlocal runs
        runs += 1
        await pause(takes)
        if fails:
            raise failure
        return "value"

    async def outcome_of(promise: Promise[str]) -> object:
        try:
            return await promise
        except SomeError as error:
            return error

    async def main() -> None:
        promise = Promise(resolver=resolver, start_asap=start_asap)

        async def is_cancelled(begins_after: int, cancelled_after: int) -> None:
            await pause(begins_after)
            awaiter = asyncio.ensure_future(outcome_of(promise))
            await pause(cancelled_after)
            awaiter.cancel()
            await asyncio.wait([awaiter])

        async def stays() -> object:
            await pause(begin)
            return await outcome_of(promise)

        outcome, *_ = await asyncio.gather(stays(), *(is_cancelled(*times) for times in cancelled_awaiters))
        assert outcome is failure if fails else outcome == "value"
        assert await outcome_of(promise) is outcome

    run(main)
    assert runs == 1


@given(st.lists(st.tuples(few, modes, scripts), max_size=5), few, st.booleans())
@settings(deadline=None)
def test_a_program_that_is_cancelled_at_any_point_leaves_no_task_and_cleans_up_every_streamer(
    streams: list[tuple[int, dict[str, Any], Script]], cancelled_after: int, reads: bool
) -> None:
    begun = 0
    cleaned_up = 0

    async def main() -> None:
        nonlocal begun, cleaned_up

        async def streamer(_: object) -> AsyncIterator[int]:
            nonlocal begun, cleaned_up
            begun += 1
            try:
                for number in range(3):
                    await asyncio.sleep(0)
                    yield number
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned_up += 1

        promises = [StreamedPromise(streamer=streamer, **mode) for _, mode, _ in streams]
        if reads:
            await asyncio.gather(*(everything_in(aiter(promise)) for promise in promises))
        await asyncio.Event().wait()

    async def in_a_context() -> None:
        async with PromisingContext():
            await main()

    async def program() -> None:
        task = asyncio.create_task(in_a_context())
        await pause(cancelled_after)
        task.cancel()
        async with asyncio.timeout(TIME_LIMIT_S):
            await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_with_virtual_clock(program())
    assert cleaned_up == begun


nested = st.recursive(st.integers(), lambda children: st.lists(children, max_size=4), max_leaves=12)


def flat_by_hand(items: list[Any]) -> list[int]:
    return [number for item in items for number in (flat_by_hand(item) if isinstance(item, list) else [item])]


@given(st.lists(st.tuples(few, nested), max_size=6), st.booleans(), pauses)
@settings(deadline=None)
def test_flattening_by_flat_sequence_equals_flattening_by_hand(
    incoming: list[tuple[int, Any]], start_asap: bool, begins: list[int]
) -> None:
    expected = flat_by_hand([item for _, item in incoming])

    async def incoming_streamer(_: object) -> AsyncIterator[Any]:
        for switches, item in incoming:
            await pause(switches)
            yield item

    async def flattener(sequence: FlatSequence[Any, int], item: Any) -> AsyncIterator[int]:
        if isinstance(item, list):
            for child in item:
                await asyncio.sleep(0)
                async for number in flattener(sequence, child):
                    yield number
        else:
            yield item

    async def main() -> None:
        promise = FlatSequence(incoming_streamer, flattener, start_asap=start_asap).sequence_promise

        async def read_after(switches: int) -> list[int]:
            await pause(switches)
            return [number async for number in promise]

        assert all(found == expected for found in await asyncio.gather(*map(read_after, begins)))
        assert await promise == tuple(expected)

    run(main)
