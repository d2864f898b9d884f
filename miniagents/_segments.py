"""What a message sequence consists of: the buffer of its segments, and walks over all that is nested in it.

A segment is a text, a message, a message promise, a failure, or another sequence (or the rest of one).
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import Any, cast

from miniagents._usage_values import Accounted
from miniagents.messages import Message, MessagePromise, resolved_promise, text_message
from miniagents.promising._buffer import ENDED, Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import DeadlockError
from miniagents.promising.sentinels import Sentinel

LEAST_SUSPICIOUS_DEPTH = 64


class SequenceBuffer(Buffer[Any], Accounted):
    """The segments of a message sequence: texts, messages, message promises, failures, and nested sequences."""

    __slots__ = (
        "close_later",
        "inserting",
        "is_complete",
        "is_resolved",
        "nested",
        "origin",
        "resolved_count",
        "usage",
        "version",
        "was_given",
    )

    was_given: bool
    """Whether everything in it was there when it was made; not set where it was not."""
    origin: str
    """What a journal knows the call by whose replies these are; not set where there is none."""

    def __init__(self, bound: int | None = None, name: str = "a message sequence") -> None:
        super().__init__(bound, name)
        self.version = 0
        # Whether everything, nested sequences included, is known to be there.
        self.is_complete = False
        # Whether all its messages are resolved as well, and how many segments at its beginning are known to be.
        self.is_resolved = False
        self.resolved_count = 0
        self.nested: list[SequenceBuffer] | None = None
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

    def without_itself(self, pieces: list[Any]) -> list[Any]:
        """Give new segments with an error in place of this very sequence, which must not contain itself."""
        return [circle_failure() if is_nested(piece) and piece.buffer() is self else piece for piece in pieces]

    def _link(self, nested: "SequenceBuffer") -> None:
        if self.had_reader:
            nested.mark_read()
        elif self.nested is None:
            self.nested = [nested]
        else:
            self.nested.append(nested)

    def mark_read(self) -> None:
        """Somebody of the user's has begun to read this, and with it what is nested in it."""
        pending: list[SequenceBuffer] = [self]
        while pending:
            buffer = pending.pop()
            if buffer.had_reader:
                continue
            super(SequenceBuffer, buffer).mark_read()
            nested, buffer.nested = buffer.nested, None
            pending.extend(nested or ())

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


class ShownError(MessagePromise):
    """A message that shows an error: whoever gets it has received that error."""

    __slots__ = ("failure",)

    failure: Failure
    exist = False
    """Whether there are any in this process; while there are none, nobody need look for them."""

    @classmethod
    def of(cls, failure: Failure, message: Message) -> "ShownError":
        """Give a resolved promise of `message`, which shows the error of `failure`."""
        promise = cls(prefill_message=message)
        promise.failure = failure
        cls.exist = True
        return promise

    def __await__(self) -> Generator[Any, Any, Message]:
        self.failure.received = True
        return super().__await__()

    def __aiter__(self) -> AsyncIterator[str]:
        self.failure.received = True
        return super().__aiter__()


def receive_shown_errors(buffer: Buffer[Any]) -> None:
    """Take note that somebody has got everything in `buffer`, the errors shown in it included."""
    if ShownError.exist:
        for part in flat_parts(buffer):
            if isinstance(part, ShownError):
                part.failure.received = True


class Link:
    """The rest of a nested sequence behind its first `flat_offset` messages, which stand elsewhere already."""

    __slots__ = ("_buffer", "flat_offset")

    def __init__(self, buffer: SequenceBuffer, flat_offset: int) -> None:
        self._buffer = buffer
        self.flat_offset = flat_offset

    def buffer(self) -> SequenceBuffer:
        """Give the nested sequence."""
        return self._buffer


def is_circular(path: Sequence[tuple[Any, ...]]) -> bool:
    """Whether a walk, whose stack of (buffer, ...) this is, has come to a sequence that it is in the middle of."""
    depth = len(path)
    # Looked at ever more seldom, as a walk may well be thousands of sequences deep.
    if depth < LEAST_SUSPICIOUS_DEPTH or depth & (depth - 1):
        return False
    return len({id(buffer) for buffer, *_ in path}) < depth


def circle_failure() -> Failure:
    """Give the error that stands for the rest of a sequence that contains itself."""
    return Failure(
        DeadlockError(
            "A message sequence contains itself, directly or by way of others, so it has no end. Do not reply (or "
            "send) a sequence into itself; reply its messages instead: `ctx.reply(await sequence)`."
        )
    )


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
    promise = resolved_promise(piece) if piece.__class__ is str else cast("Message", piece).as_promise
    pieces[index] = promise
    return promise


def message_at(pieces: list[Any], index: int) -> MessagePromise | Message:
    """Give the segment at `index`, which is no sequence, as a message if it is one already, else as a promise.

    For whoever wants nothing but the messages: most of them never need a promise.
    """
    piece = pieces[index]
    if piece.__class__ is str:
        piece = pieces[index] = text_message(piece)
    return piece


def announced(pieces: list[Any], index: int) -> MessagePromise:
    """Give the segment at `index` as a promise that those who listen hear of; see `materialize`."""
    if pieces[index].__class__ is str:
        pieces[index] = MessagePromise(prefill_message=text_message(pieces[index]))
    promise = materialize(pieces, index)
    context = PromisingContext.find_current()
    if context is not None and isinstance(message := promise.outcome_if_done(), Message):
        context.value_was_sent(message)
    return promise


def is_complete(buffer: SequenceBuffer) -> bool:
    """Whether every message promise of a sequence is there, those of nested ones included."""
    if not buffer.is_complete:
        buffer.is_complete = next(pending_parts(buffer, with_messages=False), None) is None
    return buffer.is_complete


def flat_parts(buffer: Buffer[Any], part_at: Callable[[list[Any], int], Any] = materialize) -> Iterator[Any]:
    """Give what is there, flat: what `part_at` makes of it, or `Failure`; the open `Buffer` last if more is to come."""
    stack: list[tuple[Buffer[Any], int]] = [(buffer, 0)]
    skip = 0
    while stack:
        current, index = stack.pop()
        while index < len(current.pieces):
            piece = current.pieces[index]
            index += 1
            if is_nested(piece):
                stack.append((current, index))
                if is_circular(stack):
                    yield circle_failure()
                    return
                skip += offset_of(piece)
                current, index = piece.buffer(), 0
            elif skip:
                skip -= 1
            else:
                yield piece if isinstance(piece, Failure) else part_at(current.pieces, index - 1)
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
    root = cast("SequenceBuffer", buffer)
    # Looked at anew each time that it matters, so that it begins where the last look found something missing.
    stack: list[tuple[SequenceBuffer, int, int]] = [(root, root.resolved_count if with_messages else 0, root.version)]
    is_all_there = True
    while stack:
        current, index, version = stack.pop()
        if current.version != version:
            index = 0
        while index < len(current.pieces):
            piece = current.pieces[index]
            index += 1
            if is_nested(piece):
                nested = piece.buffer()
                if nested.is_resolved or (nested.is_complete and not with_messages):
                    _note_resolved(current, index, with_messages=with_messages)
                    continue
                stack.append((current, index, current.version))
                if is_circular(stack):
                    return
                stack.append((nested, nested.resolved_count if with_messages else 0, nested.version))
                break
            if with_messages and isinstance(piece, MessagePromise) and not piece.done():
                is_all_there = False
                yield piece
            _note_resolved(current, index, with_messages=with_messages)
        else:
            if current.end is None:
                is_all_there = False
                yield current
                stack.append((current, index, current.version))
    if is_all_there and with_messages:
        root.is_resolved = True


def _note_resolved(buffer: SequenceBuffer, index: int, *, with_messages: bool) -> None:
    """Take note that the segment before `index` is resolved, if all before it are."""
    if with_messages and buffer.resolved_count == index - 1:
        buffer.resolved_count = index


def somebody_listens() -> bool:
    """Whether somebody wants to hear of every promise that is made here."""
    if not PromisingContext.handlers_exist:
        return False
    context = PromisingContext.find_current()
    return context is not None and context.listens()
