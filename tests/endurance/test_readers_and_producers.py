"""Readers who are slow, leave or fail; producers that never suspend, always fail, or end without closing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from miniagents import DeadlockError, InteractionContext, Message, MessageTokenAppender, MiniAgents, miniagent
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from tests.endurance.tools import AN_HOUR, Watched, in_time, outcome_of, times

PIECES = times(20_000)


class PlannedError(Exception):
    pass


def run(main: Callable[[], Any], **settings: Any) -> Any:
    watched = Watched()
    result, error = watched.run(MiniAgents(**settings), main())
    assert error is None, repr(error)
    assert not watched.complaints
    return result


async def numbers(_: object) -> AsyncIterator[int]:
    """Never suspends."""
    for number in range(PIECES):
        yield number


@pytest.mark.parametrize("read_ahead", [None, 0, 10], ids=lambda bound: f"read_ahead={bound}")
def test_a_slow_reader_gets_everything_and_neither_holds_up_the_others_nor_lets_the_producer_run_away(
    read_ahead: int | None,
) -> None:
    made = 0
    furthest_ahead = 0

    async def main() -> None:
        read = 0

        async def streamer(_: object) -> AsyncIterator[int]:
            nonlocal made, furthest_ahead
            for number in range(1_000):
                made += 1
                furthest_ahead = max(furthest_ahead, made - read)
                yield number

        stream = StreamedPromise(streamer=streamer, read_ahead=read_ahead)

        async def read_slowly() -> None:
            nonlocal read
            async for number in stream:
                assert number == read
                read += 1
                await asyncio.sleep(3)

        slow = asyncio.create_task(read_slowly())
        await slow
        assert read == made == 1_000

        _, seconds = await in_time(lambda: collect(stream), AN_HOUR)
        assert seconds == 0

    run(main)
    if read_ahead is not None:
        assert furthest_ahead <= read_ahead + 2


async def collect(stream: Any) -> list[Any]:
    return [piece async for piece in stream]


def test_thousands_of_readers_who_leave_or_fail_at_every_piece_take_nothing_from_the_one_who_stays() -> None:
    readers = times(2_000)

    async def main() -> None:
        async def streamer(_: object) -> AsyncIterator[int]:
            for number in range(100):
                await asyncio.sleep(1)
                yield number

        stream = StreamedPromise(streamer=streamer)

        async def leave_at(count: int, how: str) -> None:
            async for number in stream:
                if number == count and how == "raise":
                    raise PlannedError
                if number == count:
                    break

        async def be_cancelled_at(seconds: float) -> None:
            async with asyncio.timeout(seconds):
                await stream

        leaving = [leave_at(number % 100, ["break", "raise"][number // 100 % 2]) for number in range(readers)]
        leaving += [be_cancelled_at(number % 100) for number in range(readers)]
        outcomes = asyncio.gather(*leaving, return_exceptions=True)
        assert await collect(stream) == list(range(100))
        assert {type(outcome) for outcome in await outcomes} == {type(None), PlannedError, TimeoutError}

    run(main)


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_a_producer_that_never_suspends_lets_its_readers_and_everybody_else_run(lazy: bool) -> None:
    made_when_first_read: list[int] = []
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        made = 0

        async def streamer(_: object) -> AsyncIterator[int]:
            nonlocal made
            async for number in numbers(_):
                made += 1
                yield number

        async def tick() -> None:
            nonlocal ticks
            while made < PIECES:
                ticks += 1
                await asyncio.sleep(0)

        stream = StreamedPromise(streamer=streamer, start_asap=not lazy)
        ticking = asyncio.create_task(tick())
        reader = aiter(stream)
        assert await anext(reader) == 0
        made_when_first_read.append(made)
        assert len(await stream) == PIECES
        await ticking

    run(main)
    assert made_when_first_read[0] <= PIECES // 20
    assert ticks >= 20


class AlwaysFailing:
    """Its `__anext__` always raises, and never suspends."""

    def __init__(self) -> None:
        self.asked = 0

    def __aiter__(self) -> "AlwaysFailing":
        return self

    async def __anext__(self) -> Any:
        self.asked += 1
        raise PlannedError(str(self.asked))


@pytest.mark.parametrize("kind", ["a stream", "tokens", "a reply", "a reader who goes on"])
def test_a_producer_whose_anext_always_raises_is_asked_once_and_ends(kind: str) -> None:
    producer = AlwaysFailing()

    @miniagent
    async def replying(ctx: InteractionContext) -> None:
        ctx.reply(producer)

    async def main() -> None:
        match kind:
            case "a stream" | "a reader who goes on":
                promise: Any = StreamedPromise(streamer=lambda _: producer)
            case "tokens":
                promise = Message.promise(message_token_streamer=lambda _: producer)
            case _:
                promise = replying.inquire()
        outcome, seconds = await in_time(lambda: promise, AN_HOUR)
        assert isinstance(outcome, PlannedError)
        assert seconds == 0
        reader = aiter(promise)
        ends = [await outcome_of(anext(reader)) for _ in range(100)]
        assert ends[0] is outcome
        assert all(isinstance(end, StopAsyncIteration) for end in ends[1:])

    run(main)
    assert producer.asked == 1


@pytest.mark.parametrize("kind", ["an appender", "tokens of a message"])
def test_producers_that_end_without_closing_give_their_readers_the_pieces_and_then_a_deadlock_error_in_time(
    kind: str,
) -> None:
    count = times(100)

    async def main() -> None:
        promises: list[Any] = []

        async def write(number: int) -> None:
            appender = StreamAppender[str]() if kind == "an appender" else MessageTokenAppender()
            appender.open()
            is_plain = kind == "an appender"
            promises.append(
                StreamedPromise(streamer=appender) if is_plain else Message.promise(message_token_streamer=appender)
            )
            appender.append("a")
            await asyncio.sleep(number % 5)
            appender.append("b")

        writers = [asyncio.create_task(write(number)) for number in range(count)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()

        async def read(number: int) -> None:
            seen: list[Any] = []
            try:
                async for piece in promises[number]:
                    seen.append(piece)
            except DeadlockError as error:
                seen.append(error)
            assert seen[:2] == ["a", "b"]
            assert isinstance(seen[2], DeadlockError)
            # A second after the writer's end, and another one for each look that took in the others first.
            assert loop.time() <= number % 5 + 1

        await asyncio.gather(*map(read, range(count)))
        await asyncio.gather(*writers)

    run(main)


def test_a_reader_whose_task_dies_at_any_step_leaves_no_waiter_behind() -> None:
    async def main() -> None:
        appender = StreamAppender[int]().open()
        stream = StreamedPromise(streamer=appender)
        for _ in range(times(2_000)):
            reader = asyncio.create_task(collect(stream))
            await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
        assert len(stream.buffer().waiters or ()) < 100
        appender.append(1)
        appender.close()
        assert await stream == (1,)

    run(main)


def test_contexts_that_come_and_go_leave_nothing_of_themselves() -> None:
    async def nested() -> int:
        total = 0
        for number in range(times(300)):
            async with PromisingContext(), MiniAgents():
                stream = StreamedPromise(streamer=lambda _, number=number: few(number))
                total += len(await stream)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return total

    async def few(number: int) -> AsyncIterator[int]:
        for piece in range(number % 3):
            yield piece

    assert run(nested) == sum(number % 3 for number in range(times(300)))
