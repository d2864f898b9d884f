"""Very many calls, very many readers, and an exact account of who got what."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, PromiseCancelledError, miniagent
from miniagents.promising.promising import StreamedPromise
from tests.endurance.tools import Watched, allocated_blocks, times

BURST = 5_000


class PlannedError(Exception):
    pass


def run(main: Any, **settings: Any) -> Any:
    watched = Watched()
    result, error = watched.run(MiniAgents(**settings), main())
    assert error is None, repr(error)
    assert not watched.complaints
    return result


async def see(replies: Any) -> list[str]:
    seen: list[str] = []
    try:
        async for message in replies:
            seen.append(str(await message))
    except (PlannedError, PromiseCancelledError) as error:
        seen.append(type(error).__name__)
    return seen


def test_a_hundred_thousand_calls_in_bursts_are_all_answered_and_leave_nothing() -> None:
    samples: list[int] = []

    @miniagent
    async def doubling(ctx: InteractionContext, number: int) -> None:
        await asyncio.sleep(number % 3)
        ctx.reply(str(2 * number))

    async def main() -> int:
        answered = 0
        for burst in range(times(20)):
            numbers = range(burst * BURST, (burst + 1) * BURST)
            calls = [doubling.inquire(number=number) for number in numbers]
            for number, replies in zip(numbers, calls, strict=True):
                (message,) = await replies
                assert message.content == str(2 * number)
                answered += 1
            del calls, replies, message
            assert asyncio.all_tasks() == {asyncio.current_task()}
            samples.append(allocated_blocks())
        return answered

    assert run(main) == times(100_000)
    assert samples[-1] - samples[1] < BURST, samples


@pytest.mark.parametrize("kind", ["a stream", "the replies of an agent"])
def test_ten_thousand_readers_each_get_all_of_it_in_order(kind: str) -> None:
    pieces = [str(number) for number in range(20)]
    runs = 0

    async def streamer(_: object) -> AsyncIterator[str]:
        nonlocal runs
        runs += 1
        for piece in pieces:
            await asyncio.sleep(1)
            yield piece

    @miniagent
    async def replying(ctx: InteractionContext) -> None:
        async for piece in streamer(ctx):
            ctx.reply(piece)

    async def main() -> Counter[str]:
        source: Any = StreamedPromise(streamer=streamer) if kind == "a stream" else replying.inquire()
        dice = random.Random(1)

        async def read(begin_at: float, leave_after: int) -> str:
            await asyncio.sleep(begin_at)
            seen: list[str] = []
            async for piece in source:
                seen.append(piece if isinstance(piece, str) else str(await piece))
                if len(seen) == leave_after:
                    assert seen == pieces[:leave_after]
                    return "left"
            assert seen == pieces
            return "all"

        readers = [
            asyncio.create_task(read(dice.choice([0, 0, 5.5, 30]), 1000 if number % 10 else dice.randint(1, 10)))
            for number in range(times(10_000))
        ]
        return Counter(await asyncio.gather(*readers))

    assert run(main) == {"all": times(9_000), "left": times(1_000)}
    assert runs == 1


def test_of_a_thousand_agents_some_fail_some_are_cancelled_and_some_time_out_and_everybody_gets_what_is_his() -> None:
    count = times(1_000)
    fates = ["fails"] * (count // 10) + ["is cancelled"] * (count // 10) + ["times out"] * (count // 10)
    fates += ["succeeds"] * (count - len(fates))
    random.Random(2).shuffle(fates)
    cleaned_up: list[int] = []

    @miniagent
    async def working(ctx: InteractionContext, number: int, fate: str) -> None:
        try:
            ctx.reply(f"{number} begins")
            # The slow ones are those who time out; they are let finish.
            await asyncio.sleep(100 if fate == "times out" else number % 7)
            if fate == "fails":
                raise PlannedError(str(number))
            if fate == "is cancelled":
                await asyncio.sleep(1000)
            ctx.reply(f"{number} ends")
        finally:
            cleaned_up.append(number)

    async def main() -> None:
        calls = [working.inquire(number=number, fate=fate) for number, fate in enumerate(fates)]

        async def first_reader(number: int) -> list[str]:
            try:
                async with asyncio.timeout(20):
                    return await see(calls[number])
            except TimeoutError:
                return ["timed out"]

        first = [asyncio.create_task(first_reader(number)) for number in range(count)]
        second = [asyncio.create_task(see(replies)) for replies in calls]
        await asyncio.sleep(10)
        for number, fate in enumerate(fates):
            assert calls[number].done() is (fate in ("fails", "succeeds"))
            if fate == "is cancelled":
                assert calls[number].cancel()
        for number, fate in enumerate(fates):
            begins, ends = f"{number} begins", f"{number} ends"
            expected = {
                "fails": [begins, "PlannedError"],
                "is cancelled": [begins, "PromiseCancelledError"],
                "times out": [begins, ends],
                "succeeds": [begins, ends],
            }[fate]
            assert await second[number] == expected
            assert await first[number] == (["timed out"] if fate == "times out" else expected)
            assert await see(calls[number]) == expected

    run(main)
    assert sorted(cleaned_up) == list(range(count))
