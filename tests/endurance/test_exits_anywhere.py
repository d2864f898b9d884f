"""Any exception, `BaseException` included, in any place where a user's code runs: nothing is left waiting or untold."""

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from miniagents import DeadlockError, InteractionContext, MessagePromise, MiniAgents, miniagent
from tests.endurance.places import EXITS, PLACES, NotedBlock, Planted
from tests.endurance.tools import Watched, times

PROGRAMS = times(1000)
GROUPS = 10
MANY_PIECES = 1000


class Seen(logging.Handler):
    """What anybody has heard of errors: readers, and those who read the log."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def logger(self) -> logging.Logger:
        logger = logging.Logger("of one program")
        logger.addHandler(self)
        return logger

    def add(self, error: BaseException) -> None:
        self.texts.extend(text_of(found) for found in family_of(error))


def text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}"


def family_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give the error, its causes, and those that it is a group of."""
    while error is not None:
        yield error
        for nested in getattr(error, "exceptions", ()):
            yield from family_of(nested)
        error = error.__cause__


async def read(promise: Any, seen: Seen) -> None:
    """Read all pieces and those in them, going on behind errors; then the whole."""
    if hasattr(promise, "__aiter__"):
        reader = aiter(promise)
        for _ in range(MANY_PIECES):
            try:
                piece = await anext(reader)
                if hasattr(piece, "__await__"):
                    seen.texts.append(str(await piece))
            except StopAsyncIteration:
                break
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                seen.add(error)
        else:
            raise AssertionError("the stream does not end")
    try:
        await promise
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        seen.add(error)


async def look_briefly(promise: Any, seen: Seen) -> None:
    """Begin to read, and leave."""
    try:
        async with asyncio.timeout(0.25):
            first = await (anext(aiter(promise)) if hasattr(promise, "__aiter__") else promise)
            if isinstance(first, MessagePromise):
                seen.texts.append(str(await first))
    except (TimeoutError, StopAsyncIteration):
        pass
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        seen.add(error)


def program(dice: random.Random, planted: Planted, seen: Seen) -> Any:
    """Make a random program's main function."""

    @miniagent
    async def forwarding(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            ctx.reply(ctx.message_promises)
            await planted.pause()

    def forwarded(promise: Any) -> Any:
        for _ in range(dice.choice((0, 0, 1, 3))):
            promise = forwarding.inquire(promise)
        return promise

    async def main() -> None:
        with NotedBlock(planted):
            promises: list[Any] = []
            for _ in range(dice.randint(1, 4)):
                place = dice.choice(PLACES)
                planted.places.append(place.__name__)
                promise = await place(planted)
                if promise is not None:
                    is_of_messages = hasattr(promise, "as_single_promise")
                    promises.append(forwarded(promise) if is_of_messages else promise)
                await planted.pause()
            for promise in promises:
                for reading in dice.choices([read, look_briefly, None], k=2):
                    if reading is read:
                        await read(promise, seen)
                    elif reading is look_briefly:
                        await look_briefly(promise, seen)
            if dice.random() < 0.1:
                planted.new()()

    return main()


def run_program(planted: Planted) -> str | None:
    """Run a random program with `planted` errors; say what is not as it should be, if anything."""
    dice, seen, watched = planted.dice, Seen(), Watched()
    context = MiniAgents(
        logger=seen.logger(),
        start_everything_asap_by_default=dice.choice([True, True, False]),
        background_errors=dice.choice(["raise", "log"]),
        errors_to_messages=dice.choice([False, False, True]),
        read_ahead_by_default=dice.choice([None, None, 0, 2]),
    )
    _, error = watched.run(context, program(dice, planted, seen))
    if watched.complaints:
        return "; ".join(watched.complaints)
    if planted.begun != planted.ended:
        return f"{planted.begun} blocks were entered and {planted.ended} left"
    if any(DeadlockError.__name__ in text for text in seen.texts):
        return f"a deadlock that is none: {seen.texts}"
    if error is not None:
        seen.add(error)
        if not isinstance(error, ExceptionGroup):
            # All that runs was cancelled; what is raised then is no news.
            is_planted = any(found in planted.raised for found in family_of(error))
            return None if is_planted else f"`run()` raised {error!r}"
    untold = [
        planted_error
        for planted_error in planted.raised
        # Of these others are made on the way, by Python itself.
        if not isinstance(planted_error, asyncio.CancelledError | StopIteration | StopAsyncIteration)
        and not any(str(planted_error) in text for text in seen.texts)
    ]
    if untold:
        return f"nobody heard of {untold}: {seen.texts}"
    exits = [planted_error for planted_error in planted.raised if isinstance(planted_error, EXITS)]
    unread = [exit_ for exit_ in exits if not any(text.startswith(text_of(exit_)[:30]) for text in seen.texts)]
    return f"exits that nobody received did not end the program: {unread}" if unread else None


def what_is_wrong(seed: str) -> str | None:
    """Run one program; say what is not as it should be, if anything, and what was in it."""
    planted = Planted(random.Random(seed))
    found = run_program(planted)
    return found and f"{found} ({', '.join(planted.places)})"


@pytest.mark.parametrize("group", range(GROUPS))
def test_whatever_is_raised_wherever_nothing_is_left_waiting_and_no_error_is_lost(group: int) -> None:
    seeds = [f"program {number}" for number in range(group, PROGRAMS, GROUPS)]

    wrong = {seed: found for seed in seeds if (found := what_is_wrong(seed))}

    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
