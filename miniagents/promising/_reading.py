"""Reading a stream: an index into its buffer, which waits only where the pieces end."""

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any, TypeVar

from miniagents.promising._buffer import ENDED, Buffer, prefilled_buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import loop_and_task
from miniagents.promising._pumping import BURST_S
from miniagents.promising._waiting import AnyTask, give_way

PIECE_co = TypeVar("PIECE_co", covariant=True)

REPLAY_PIECES = 256
"""How many pieces that are there already a reader takes in one go before it lets the others run."""
LOT = 16
"""How many of them it looks up at once."""
FEW = 2
"""Up to how many it looks up one by one: as many as there are where readers keep pace."""

NOTHING: Iterator[Any] = iter(())


class StreamReader(AsyncIterator[PIECE_co]):
    """One iteration over the pieces of a stream, from the first."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_gave_way_at",
        "_gave_way_at_index",
        "_index",
        "_loop",
        "_ready",
        "reading_task",
    )

    def __init__(self, buffer: Buffer[Any]) -> None:
        self._buffer = buffer
        # Pieces that are about to be given, and the index behind them.
        self._ready: Iterator[PIECE_co] = NOTHING
        self._index = 0
        self._gave_way_at = 0.0
        self._gave_way_at_index = 0
        self._loop: AbstractEventLoop | None = None
        self.reading_task: AnyTask | None = None
        if buffer.end is None:
            # Known from here on, so that nothing is cancelled under it.
            self._loop, self.reading_task = loop_and_task()
            buffer.add_reader(self)

    def __aiter__(self) -> "StreamReader[PIECE_co]":
        return self

    async def __anext__(self) -> PIECE_co:
        while True:
            # All of it is read anew each time: several tasks may share one iterator.
            for piece in self._ready:
                return piece
            buffer = self._buffer
            index = self._index
            at_hand = len(buffer.pieces) - index
            if at_hand:
                if (at_hand > FEW or not index & 15) and self._has_read_enough(index):
                    await give_way()
                    continue
                if at_hand > FEW and buffer.bound is None and not buffer.has_failures:
                    return self._take_many(index)
                piece = buffer.pieces[index]
                self._index = index + 1
                if buffer.bound is not None:
                    buffer.demand(index + 1)
                if piece.__class__ is Failure:
                    raise piece.receive()
                return piece
            if buffer.end is not None:
                return self._finish(buffer.end)
            producer = buffer.producer
            if producer is not None and producer.task is None:
                buffer.begin()
                if buffer.end is not None:
                    continue
            if buffer.bound is not None:
                buffer.demand_next(index)
            self._gave_way_at_index = index
            await buffer.add_waiter(self._loop)

    def _take_many(self, index: int) -> PIECE_co:
        """Make the next pieces ready, so that taking one takes least; give the first of them."""
        pieces = self._buffer.pieces[index : index + LOT]
        self._index = index + len(pieces)
        ready = self._ready = iter(pieces)
        return next(ready)

    def _has_read_enough(self, index: int) -> bool:
        """Whether it is time to let other tasks run: so many pieces, or so long, without a wait in between."""
        if index == self._gave_way_at_index:
            # It has just let the others run; where they are many, that alone takes longer than it may read on.
            return False
        now = monotonic()
        if index - self._gave_way_at_index < REPLAY_PIECES and now - self._gave_way_at < BURST_S:
            return False
        # The first look only starts the clock.
        is_first = self._gave_way_at == 0.0
        self._gave_way_at = now
        self._gave_way_at_index = index
        return not is_first

    def _finish(self, end: Any) -> Any:
        self.reading_task = None
        # After its error a stream is over, however often one asks.
        self._buffer = OVER
        self._index = 0
        if end is ENDED:
            raise StopAsyncIteration
        raise end.receive()


OVER: Buffer[Any] = prefilled_buffer(())
"""What an exhausted reader reads from."""
