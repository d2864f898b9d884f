"""The buffer and the reader of a message sequence: nested sequences are walked, never copied.

The order of a sequence is the order in which its segments were handed over. There is one way to get ahead of it: what
is sent out of order is put in front of what is not there yet. To that end the sequence is *reshaped*: what is there so
far becomes a flat list, the new messages come next, and then a link to the rest of the nested sequence that was cut in
two. Readers that are somewhere inside notice by `_epoch`, count what they have had, and go on at the same place of the
new shape, so that all readers at all times see one order. Cancelling reshapes too: what is there remains, the rest is
gone.
"""

from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any, cast

from miniagents.messages import Message, MessagePromise, promise_of_text, text_message
from miniagents.promising._buffer import ENDED, Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_task
from miniagents.promising._pumping import BURST_S
from miniagents.promising._waiting import AnyTask, Waiter, give_way
from miniagents.promising.sentinels import Sentinel
from miniagents.promising.streamed import OVER, REPLAY_PIECES

_epoch = [0]
"""How many sequences were reshaped so far; one cell that every reader compares with what it saw last."""


class SequenceBuffer(Buffer[Any]):
    """The segments of a message sequence: texts, messages, message promises, failures, and nested sequences."""

    __slots__ = ("close_later", "inserting", "is_complete", "nested", "shown_errors", "version")

    def __init__(self, bound: int | None = None, name: str = "a message sequence") -> None:
        super().__init__(bound, name)
        self.version = 0
        # Whether everything, nested sequences included, is known to be there.
        self.is_complete = False
        self.nested: list[SequenceBuffer] | None = None
        self.shown_errors: list[Failure] | None = None
        self.inserting: set[Producer] | None = None
        self.close_later: Sentinel | Failure | None = None

    def extend(self, pieces: list[Any], nested: list[Any]) -> None:
        """Add segments, of which `nested` are sequences themselves, and let the readers know."""
        if self.end is not None:
            return
        self.pieces.extend(pieces)
        self.link_all(nested)
        if self.waiters is not None:
            self.wake()

    def link_all(self, nested: list[Any]) -> None:
        """Take note of nested sequences: who reads this reads them."""
        for sequence in nested:
            self._link(sequence.buffer())

    def _link(self, nested: "SequenceBuffer") -> None:
        if self.had_reader:
            nested.mark_read()
        elif self.nested is None:
            self.nested = [nested]
        else:
            self.nested.append(nested)

    def mark_read(self) -> None:
        """Somebody of the user's has begun to read this, and with it what is nested in it."""
        pending = [self]
        while pending:
            buffer = pending.pop()
            if buffer.had_reader:
                continue
            super(SequenceBuffer, buffer).mark_read()
            nested, buffer.nested = buffer.nested, None
            pending.extend(nested or ())
            shown, buffer.shown_errors = buffer.shown_errors, None
            for failure in shown or ():
                failure.received = True

    def append_shown_error(self, failure: Failure, message: Message) -> None:
        """Add the message that shows an error; the error counts as received once somebody reads here."""
        if self.had_reader:
            failure.received = True
        elif self.shown_errors is None:
            self.shown_errors = [failure]
        else:
            self.shown_errors.append(failure)
        self.append(message)

    def is_settled(self) -> bool:
        """Whether the end is set, or will be as soon as what was sent out of order has come."""
        return self.end is not None or self.close_later is not None

    def close(self, failure: Failure | None = None) -> None:
        """End the sequence; not before what was sent out of order has come."""
        if self.inserting:
            self.close_later = ENDED if failure is None else failure
        else:
            super().close(failure)

    def writers(self) -> Any:
        """Give the tasks that can add something, as far as that is known."""
        tasks = super().writers()
        if tasks is None or not self.inserting:
            return tasks
        return [*tasks, *(producer.task for producer in self.inserting if producer.task is not None)]


class Link:
    """The rest of a nested sequence behind its first `flat_offset` messages, which stand elsewhere already."""

    __slots__ = ("_buffer", "flat_offset")

    def __init__(self, buffer: SequenceBuffer, flat_offset: int) -> None:
        self._buffer = buffer
        self.flat_offset = flat_offset

    def buffer(self) -> SequenceBuffer:
        """Give the nested sequence."""
        return self._buffer


def is_nested(piece: object) -> bool:
    """Whether a segment is a nested sequence."""
    return not isinstance(piece, str | Message | MessagePromise | Failure)


def offset_of(nested: object) -> int:
    """Give how many messages of a nested sequence are to be skipped."""
    return nested.flat_offset if isinstance(nested, Link) else 0


def materialize(pieces: list[Any], index: int) -> MessagePromise:
    """Give the segment at `index`, which is no sequence, as a promise: the same one to every reader."""
    piece = pieces[index]
    if isinstance(piece, MessagePromise):
        return piece
    promise = promise_of_text(piece) if piece.__class__ is str else cast("Message", piece).as_promise
    pieces[index] = promise
    return promise


def announced(pieces: list[Any], index: int) -> MessagePromise:
    """Give the segment at `index` as a promise that those who listen hear of; see `materialize`."""
    if pieces[index].__class__ is str:
        pieces[index] = MessagePromise(prefill_message=text_message(pieces[index]))
    return materialize(pieces, index)


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
        "_parents",
        "_raises",
        "_root",
        "_since",
        "_skip",
        "_skip_depth",
        "_version",
        "reading_task",
    )

    def __init__(self, buffer: Buffer[Any], *, raises: bool = True) -> None:
        self._root = self._buffer = cast("SequenceBuffer", buffer)
        self._raises = raises
        self._index = 0
        # How many messages were passed so far, and how many of them before the current buffer was entered.
        self._count = 0
        self._entered_at = 0
        # How many messages are still to be passed over, and how deep the sequence is that they are in.
        self._skip = 0
        self._skip_depth = 0
        self._version = self._buffer.version
        self._parents: list[tuple[SequenceBuffer, int, int, int]] = []
        self._epoch = _epoch[0]
        self._since = 0
        self._gave_way_at = 0.0
        self.reading_task: AnyTask | None = None

    def __aiter__(self) -> "SequenceReader":
        return self

    # One loop in one function, because every message of every reader goes through it.
    async def __anext__(self) -> MessagePromise:  # noqa: C901
        while True:
            if self._epoch != _epoch[0]:
                self._adapt()
            buffer = self._buffer
            index = self._index
            if index < len(buffer.pieces):
                if not index & 15 and self._has_read_enough():
                    await give_way()
                    continue
                piece = buffer.pieces[index]
                self._index = index + 1
                if buffer.bound is not None:
                    buffer.demand(index + 1)
                if piece.__class__ is not MessagePromise and piece.__class__ is not Failure and is_nested(piece):
                    self._enter(piece)
                    continue
                self._count += 1
                if self._skip:
                    self._skip -= 1
                    continue
                if piece.__class__ is MessagePromise:
                    return piece
                if piece.__class__ is Failure:
                    return self._failure(piece)
                return materialize(buffer.pieces, index)
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

    def _wait(self, buffer: SequenceBuffer, index: int) -> Waiter:
        if self.reading_task is None:
            self.reading_task = current_task()
            self._root.add_reader(self)
        buffer.begin()
        if buffer.bound is not None:
            buffer.demand_next(index)
        self._since = self._count
        return buffer.add_waiter()

    def _failure(self, failure: Failure) -> Any:
        if self._raises:
            raise failure.receive()
        return failure

    def _enter(self, nested: Any) -> None:
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

    def _has_read_enough(self) -> bool:
        """Whether it is time to let other tasks run: so many messages, or so long, without a wait in between."""
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


def is_complete(buffer: SequenceBuffer) -> bool:
    """Whether every message promise of a sequence is there, those of nested ones included."""
    if not buffer.is_complete:
        buffer.is_complete = next(pending_parts(buffer, with_messages=False), None) is None
    return buffer.is_complete


def flat_parts(buffer: Buffer[Any]) -> Iterator[Any]:
    """Give what is there, flat: `MessagePromise` or `Failure`; then the open `Buffer` if more is to come."""
    stack: list[tuple[Buffer[Any], int]] = [(buffer, 0)]
    skip = 0
    while stack:
        current, index = stack.pop()
        while index < len(current.pieces):
            piece = current.pieces[index]
            index += 1
            if is_nested(piece):
                stack.append((current, index))
                skip += offset_of(piece)
                current, index = piece.buffer(), 0
            elif skip:
                skip -= 1
            else:
                yield piece if isinstance(piece, Failure) else materialize(current.pieces, index - 1)
        if current.end is None:
            yield current
            return
        if isinstance(current.end, Failure):
            if skip:
                skip -= 1
            else:
                yield current.end


def pending_parts(buffer: Buffer[Any], *, with_messages: bool = True) -> Iterator[Any]:
    """Give, one after another, what is not there yet: open buffers and (unless told otherwise) unresolved messages.

    Whoever takes one must wait until it is there before asking for the next.
    """
    stack: list[tuple[SequenceBuffer, int, int]] = [(cast("SequenceBuffer", buffer), 0, 0)]
    while stack:
        current, index, version = stack.pop()
        if current.version != version:
            index = 0
        while index < len(current.pieces):
            piece = current.pieces[index]
            index += 1
            if isinstance(piece, MessagePromise):
                if with_messages and not piece.done():
                    yield piece
            elif is_nested(piece) and not piece.buffer().is_complete:
                stack.append((current, index, current.version))
                nested = piece.buffer()
                stack.append((nested, 0, nested.version))
                break
        else:
            if current.end is None:
                yield current
                stack.append((current, index, current.version))
