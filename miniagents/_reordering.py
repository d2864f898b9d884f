"""The buffer and the reader of a message sequence: nested sequences are walked, never copied.

The order of a sequence is the order in which its segments were handed over. There is one way to get ahead of it: what
is sent out of order is put in front of what is not there yet. To that end the sequence is *reshaped*: what is there so
far becomes a flat list, the new messages come next, and then a link to the rest of the nested sequence that was cut in
two. Readers that are somewhere inside notice by `_epoch`, count what they have had, and go on at the same place of the
new shape, so that all readers at all times see one order. Cancelling reshapes too: what is there remains, the rest is
gone.
"""

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from time import monotonic
from typing import Any, cast

from miniagents._segments import (
    Link,
    SequenceBuffer,
    ShownError,
    circle_failure,
    flat_parts,
    is_circular,
    is_nested,
    materialize,
    offset_of,
)
from miniagents.messages import MessagePromise, kinds_of_one_message
from miniagents.promising._buffer import ENDED, Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import loop_and_task
from miniagents.promising._pumping import BURST_S
from miniagents.promising._reading import FEW, LOT, NOTHING, OVER, REPLAY_PIECES
from miniagents.promising._waiting import AnyTask, give_way

_epoch = [0]
"""How many sequences were reshaped so far; one cell that every reader compares with what it saw last."""


Frame = tuple[SequenceBuffer, int, int, int]
"""Where a reader is in one sequence: its buffer, the index, how many messages were read before it, its version."""


class SequenceReader(AsyncIterator[MessagePromise]):
    """One iteration over a message sequence, from its first message; walks into nested sequences.

    With `raises` false it gives the `Failure` objects in place of raising their errors, which does not count as
    receiving them.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_count",
        "_entered_at",
        "_epoch",
        "_gave_way_at",
        "_index",
        "_loop",
        "_parents",
        "_part_at",
        "_raises",
        "_ready",
        "_root",
        "_since",
        "_skip",
        "_skip_depth",
        "_version",
        "reading_task",
    )

    def __init__(
        self,
        buffer: Buffer[Any],
        *,
        raises: bool = True,
        part_at: Callable[[list[Any], int], Any] = materialize,
    ) -> None:
        # Messages that are about to be given; those behind them are at `_index`.
        self._ready: Iterator[Any] = NOTHING
        self._root: SequenceBuffer = cast("SequenceBuffer", buffer)
        self._buffer: SequenceBuffer = self._root
        self._raises = raises
        self._part_at = part_at
        self._index: int = 0
        # How many messages were passed so far, and how many of them before the current buffer was entered.
        self._count: int = 0
        self._entered_at: int = 0
        # How many messages are still to be passed over, and how deep the sequence is that they are in.
        self._skip: int = 0
        self._skip_depth: int = 0
        self._version: int = self._buffer.version
        self._parents: list[Frame] = []
        self._epoch = _epoch[0]
        self._since = 0
        self._gave_way_at = 0.0
        self._loop: AbstractEventLoop | None = None
        self.reading_task: AnyTask | None = None
        if not self._root.is_complete:
            # Known from here on, so that nothing is cancelled under it.
            self._loop, self.reading_task = loop_and_task()
            self._root.add_reader(self)

    def is_inside(self, buffer: Buffer[Any]) -> bool:
        """Whether it is reading that sequence, or one that is nested in it."""
        return self._buffer is buffer or any(frame[0] is buffer for frame in self._parents)

    def __aiter__(self) -> "SequenceReader":
        return self

    # One loop in one function, because every message of every reader goes through it.
    async def __anext__(self) -> MessagePromise:  # noqa: C901, PLR0912
        while True:
            for promise in self._ready:
                return promise
            if self._epoch != _epoch[0]:
                self._adapt()
            buffer = self._buffer
            index = self._index
            at_hand = len(buffer.pieces) - index
            if at_hand > 0:
                if (at_hand > FEW or not index & 15) and self._has_read_enough():
                    await give_way()
                    continue
                if at_hand > FEW and buffer.bound is None and not self._skip and self._take_many(buffer.pieces, index):
                    continue
                piece = buffer.pieces[index]
                self._index = index + 1
                if buffer.bound is not None:
                    buffer.demand(index + 1)
                if piece.__class__ is not MessagePromise and piece.__class__ is not Failure and is_nested(piece):
                    if self._enter(piece):
                        continue
                    self._count += 1
                    return self._failure(circle_failure())
                self._count += 1
                if self._skip:
                    self._skip -= 1
                    continue
                if piece.__class__ is MessagePromise:
                    return piece
                if piece.__class__ is Failure:
                    return self._failure(piece)
                if piece.__class__ is ShownError and self._raises:
                    piece.failure.received = True
                return self._part_at(buffer.pieces, index)
            if buffer.end is not None:
                if not self._parents:
                    return self._finish(buffer.end)
                self._buffer, self._index, self._entered_at, self._version = self._parents.pop()
                if isinstance(buffer.end, Failure):
                    self._count += 1
                    if not self._skip:
                        return self._failure(buffer.end)
                    self._skip -= 1
                continue
            await self._wait(buffer, index)

    def _take_many(self, pieces: list[Any], index: int) -> bool:
        """Make the next messages ready, so that taking one takes least; `False` if the first needs a closer look."""
        lot: list[Any] = []
        for at in range(index, min(index + LOT, len(pieces))):
            kind = pieces[at].__class__
            if kind is not str and kind not in kinds_of_one_message:
                break
            lot.append(self._part_at(pieces, at))
        self._index += len(lot)
        self._count += len(lot)
        self._ready = iter(lot)
        return bool(lot)

    def rest_of_lot(self) -> Iterator[Any]:
        """Take what is ready behind the message that was given last; for whoever takes all anyway."""
        ready, self._ready = self._ready, NOTHING
        return ready

    def _wait(self, buffer: SequenceBuffer, index: int) -> Awaitable[None]:
        buffer.begin()
        if buffer.end is not None:
            return cast("Awaitable[None]", give_way())
        if buffer.bound is not None:
            buffer.demand_next(index)
        self._since = self._count
        return buffer.add_waiter(self._loop)

    def _failure(self, failure: Failure) -> Any:
        if self._raises:
            raise failure.receive()
        return failure

    def _enter(self, nested: Any) -> bool:
        """Walk into a nested sequence; `False` if it contains itself."""
        self._parents.append((self._buffer, self._index, self._entered_at, self._version))
        if isinstance(nested, Link):
            # What is passed over in there counts there, and not further out.
            self._skip = nested.flat_offset
            self._skip_depth = len(self._parents)
            self._parents = [
                (buffer, index, entered_at + self._skip, version)
                for buffer, index, entered_at, version in self._parents
            ]
        self._buffer = nested.buffer()
        self._index = 0
        self._entered_at = self._count
        self._version = self._buffer.version
        if not is_circular(self._parents):
            return True
        self._buffer, self._index, self._entered_at, self._version = self._parents[0]
        self._parents.clear()
        return False

    def _has_read_enough(self) -> bool:
        """Whether it is time to let other tasks run: so many messages, or so long, without a wait in between."""
        if self._count == self._since:
            # It has just let the others run; where they are many, that alone takes longer than it may read on.
            return False
        now = monotonic()
        if self._count - self._since < REPLAY_PIECES and now - self._gave_way_at < BURST_S:
            return False
        is_first = self._gave_way_at == 0.0
        self._gave_way_at = now
        self._since = self._count
        return not is_first

    def _finish(self, end: Any) -> Any:
        self.reading_task = None
        # After its error a sequence is over, however often one asks.
        self._buffer, self._index = cast("SequenceBuffer", OVER), 0
        if end is ENDED:
            raise StopAsyncIteration
        return self._failure(end)

    def _adapt(self) -> None:
        """Go on at the same place where a sequence that is being read was reshaped."""
        self._epoch = _epoch[0]
        frames = [*self._parents, (self._buffer, self._index, self._entered_at, self._version)]
        for depth, (buffer, _, entered_at, version) in enumerate(frames):
            if buffer is not OVER and buffer.version != version:
                # What was read of it is flat now: one segment a message.
                if depth < self._skip_depth:
                    self._count += self._skip
                    self._skip = 0
                self._parents = frames[:depth]
                self._buffer, self._entered_at, self._version = buffer, entered_at, buffer.version
                self._index = self._count - entered_at
                return


def put_in_front(buffer: SequenceBuffer, pieces: list[Any]) -> None:
    """Add segments ahead of everything that is not there yet."""
    if buffer.end is not None and not buffer.inserting:
        return
    available, rest, leaf = _cut(buffer)
    if not rest:
        buffer.extend(pieces, [piece for piece in pieces if is_nested(piece)])
        return
    buffer.link_all([piece for piece in pieces if is_nested(piece)])
    _reshape(buffer, [*available, *pieces, *rest], leaf)


def keep_what_is_there(buffer: SequenceBuffer) -> None:
    """Leave only what is there already, as the rest is cancelled."""
    available, rest, leaf = _cut(buffer)
    if rest:
        _reshape(buffer, available, leaf)


def _reshape(buffer: SequenceBuffer, pieces: list[Any], leaf: Buffer[Any]) -> None:
    buffer.pieces[:] = pieces
    buffer.version += 1
    buffer.resolved_count = 0
    buffer.is_resolved = False
    _epoch[0] += 1
    # Every reader that has come to the front of this sequence waits there.
    leaf.wake()


def _cut(buffer: SequenceBuffer) -> tuple[list[Any], list[Any], Buffer[Any]]:
    """Give what is there, flat; the segments behind it, if any nested one is open; and where something is missing."""
    available: list[Any] = []
    for index, piece in enumerate(buffer.pieces):
        if not is_nested(piece):
            available.append(piece if isinstance(piece, Failure) else materialize(buffer.pieces, index))
            continue
        offset = offset_of(piece)
        parts = list(flat_parts(piece.buffer()))
        leaf = parts.pop() if parts and isinstance(parts[-1], Buffer) else None
        available.extend(parts[offset:])
        if leaf is not None:
            return available, [Link(piece.buffer(), len(parts)), *buffer.pieces[index + 1 :]], leaf
    return available, [], buffer
