"""What the endurance tests share.

Their counts are multiplied by the environment variable `ENDURANCE`: `ENDURANCE=10 python -m pytest tests/endurance`.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from miniagents.promising.promising import PromisingContext
from miniagents.testing.virtual_clock import VirtualTimeLoop

FACTOR = max(1, int(os.environ.get("ENDURANCE", "1")))
A_MINUTE = 60
AN_HOUR = 60 * A_MINUTE
A_WEEK = 7 * 24 * AN_HOUR


def times(count: int) -> int:
    """Give the count, multiplied for a long run."""
    return count * FACTOR


class Watched:
    """Runs programs on virtual time and notes what must not happen: a hang, a task left, a complaint of asyncio's."""

    def __init__(self, limit_s: float = A_WEEK) -> None:
        self.limit_s = limit_s
        self.complaints: list[str] = []

    def run(self, context: PromisingContext, main: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
        """Give what `context.run(main)` returns, or what it raises."""
        try:
            return context.run(main, loop_factory=self._new_loop), None
        except BaseException as error:
            return None, error

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        loop = VirtualTimeLoop()
        # On virtual time this is due as soon as nothing else will ever happen.
        loop.call_later(self.limit_s, self._give_up, loop)
        loop.set_exception_handler(lambda _, details: self.complaints.append(f"asyncio: {details}"))
        return loop

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks(loop)
        self.complaints.append("it hangs: " + "; ".join(map(repr, tasks)))
        for task in tasks:
            task.cancel()


async def outcome_of(awaitable: Awaitable[Any]) -> Any:
    """Give the result, or the exception that was raised."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        raise  # no promise ever raises it: it is this task that was cancelled
    except BaseException as error:
        return error


async def in_time(make: Callable[[], Awaitable[Any]], limit_s: float) -> tuple[Any, float]:
    """Give the result or the exception, and the seconds that it took; `limit_s` ends what would go on for ever."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    try:
        async with asyncio.timeout(limit_s):
            result = await make()
    except Exception as error:
        result = error
    return result, loop.time() - began_at


def allocated_blocks() -> int:
    """How many blocks of memory Python holds now, garbage not counted."""
    gc.collect()
    return sys.getallocatedblocks()
