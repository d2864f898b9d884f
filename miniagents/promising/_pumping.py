"""Moving what an async iterator gives into a buffer, fairly."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from miniagents.promising._buffer import Buffer, Park
from miniagents.promising._failure import Failure
from miniagents.promising._waiting import give_way

BURST_PIECES = 64
"""How many pieces a producer makes in one go with nobody keeping pace before it lets the others run."""
FIRST_BURST_PIECES = 16
"""How many in its very first go, so that the first token is soon with whoever waits for it."""
BURST_S = 0.005
"""How many seconds it may take for them; looked at after 1, 2, 4, 8 and then every 16 pieces."""


async def pump(iterator: AsyncIterator[Any], buffer: Buffer[Any], park: Park | None) -> None:
    """Append all that `iterator` gives to `buffer`, within its bound, letting the readers run in between.

    Ends early if the buffer has ended, as when it was cancelled; `iterator` is then still open.

    A reader that keeps pace is waiting each time a piece comes, which shows that this task has been suspended; only
    where nobody waits does the pump count, and give way.
    """
    append = buffer.pieces.append
    is_bounded = buffer.bound is not None
    burst = 0
    longest = FIRST_BURST_PIECES
    look_at = 1
    burst_ends_at = 0.0
    if buffer.bound is not None:
        await buffer.wait_for_room(park)
    async for piece in iterator:
        if buffer.end is not None:
            return
        if piece.__class__ is not str and isinstance(piece, BaseException):
            buffer.append(Failure(piece))
        else:
            append(piece)
        waiters = buffer.waiters
        if waiters is not None:
            # `buffer.wake()`, written out for the one waiter that there mostly is.
            if isinstance(waiters, list):
                buffer.wake()
            else:
                buffer.waiters = None
                if not waiters.done():
                    waiters.set_result(None)
            burst, look_at = 0, 1
        else:
            burst += 1
            if burst == look_at:
                now = monotonic()
                look_at = burst + min(burst, 16)
                if burst == 1:
                    burst_ends_at = now + BURST_S
                elif burst >= longest or now > burst_ends_at:
                    burst, look_at, longest = 0, 1, BURST_PIECES
                    await give_way()
        if is_bounded:
            await buffer.wait_for_room(park)


def as_async_iterator(streamer_result: Any) -> Any:
    """Give the async iterator that a streamer has returned.

    Raises:
        TypeError: it returned something else.
    """
    if hasattr(streamer_result, "__anext__"):
        return streamer_result
    if hasattr(streamer_result, "__aiter__"):
        return streamer_result.__aiter__()
    if hasattr(streamer_result, "close"):
        # A coroutine that nobody will await would print a warning of its own.
        streamer_result.close()
    raise TypeError(
        f"A streamer must return an async iterator, but it returned {streamer_result!r}. Write it as an async "
        "generator: `async def streamer(promise): yield piece`."
    )
