"""The one shared list behind a stream.

    open --close()--> ended          (`end` is ENDED)
      |---close(failure)--> failed   (`end` is the Failure, raised to every reader at the end of the pieces)

- Writers append to `pieces` and wake whoever waits, if anybody does. Readers are indexes into `pieces`; they take what
  is there without suspending and wait only at the end of it. No lock, no queue, no second task.
- A `Failure` among the pieces is an error at its place: it is raised there, and the stream goes on behind it.
- The end never changes once it is set, but for one case: cancelling a sequence whose nested parts are still open.
- `bound` says how many pieces a producer may be ahead of its furthest reader (`None`: any number; 0: a piece is made
  only when somebody waits for it). A producer with no room waits in `wait_for_room`.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol

from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, TaskKeeper
from miniagents.promising._waiting import AnyTask, Source, Waiter, check_thread, new_waiter
from miniagents.promising.promise_typing import PIECE
from miniagents.promising.sentinels import Sentinel

ENDED = Sentinel("ENDED")
UNBOUNDED_DEMAND = 1 << 62


class ReadingSide(Protocol):
    """What reads a buffer now: an iteration, or somebody who awaits the whole."""

    reading_task: AnyTask | None


Park = TaskKeeper
"""Who is told that a task waits with nobody waiting for it."""


class Room(Source):
    """The wait of a producer for its readers to come closer."""

    __slots__ = ()

    def describe(self) -> str:
        """Name what is waited for."""
        return "room in a stream that is at its `read_ahead` bound"


class Buffer(Source, Generic[PIECE]):
    """The pieces of a stream, how it ended, and who is interested."""

    __slots__ = (
        "bound",
        "end",
        "end_callbacks",
        "end_waiters",
        "furthest",
        "had_reader",
        "handle",
        "has_failures",
        "name",
        "opener",
        "pieces",
        "producer",
        "readers",
        "room",
        "thread_id",
    )

    def __init__(self, bound: int | None = None, name: str = "a stream") -> None:
        self.waiters = None
        # A piece is a `PIECE`, or the `Failure` of an error that stands at this place.
        self.pieces: list[Any] = []
        self.end: Sentinel | Failure | None = None
        self.end_waiters: list[Waiter] | None = None
        self.end_callbacks: list[Callable[[], None]] | None = None
        self.bound = bound
        self.furthest = 0
        self.room: Room | None = None
        self.producer: Producer | None = None
        self.readers: list[weakref.ref[ReadingSide]] | None = None
        self.had_reader = False
        self.has_failures = False
        """Whether a `Failure` is, or was, among the pieces."""
        # For a stream that is written from outside: the object through which, and the task that opened it.
        self.handle: weakref.ref[Any] | None = None
        self.opener: weakref.ref[AnyTask] | None = None
        self.thread_id = threading.get_ident()
        self.name = name

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, piece: Any) -> None:
        """Add a piece and let the readers know. Nothing is added to a stream that was cancelled meanwhile."""
        if self.end is not None:
            return
        if piece.__class__ is Failure:
            self.has_failures = True
        self.pieces.append(piece)
        if self.waiters is not None:
            self.wake()

    def close(self, failure: Failure | None = None) -> None:
        """End the stream, once; with an error if there is one."""
        if self.end is None:
            self.replace_end(ENDED if failure is None else failure)

    def replace_end(self, end: Sentinel | Failure) -> None:
        """Set the end, be there one already or not, and let everybody know."""
        if isinstance(end, Failure):
            end.had_reader = self.had_reader
        # Set before waking: a reader woken first would see an open stream and wait for ever.
        self.end = end
        self.wake()
        waiters, self.end_waiters = self.end_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        if self.room is not None:
            self.room.wake()
        callbacks, self.end_callbacks = self.end_callbacks, None
        for callback in callbacks or ():
            callback()

    def is_settled(self) -> bool:
        """Whether the end is set."""
        return self.end is not None

    def fail(self, failure: Failure) -> None:
        """End with an error (as a producer's target)."""
        self.close(failure)

    def forget_producer(self) -> None:
        """Drop the producer, which has nothing more to do."""
        self.producer = None

    # -- reading -------------------------------------------------------------------------------------------------

    def mark_read(self) -> None:
        """Somebody of the user's has begun to read."""
        self.had_reader = True
        if isinstance(self.end, Failure):
            self.end.had_reader = True

    def add_reader(self, reader: ReadingSide) -> None:
        """Remember, weakly, that `reader` reads here.

        Raises:
            WrongThreadError: this is not the thread of the stream.
        """
        check_thread(self.thread_id, "wait for a stream")
        reference = self._reference_to(reader)
        readers = self.readers
        if readers is None:
            self.readers = [reference]
        else:
            readers.append(reference)
            if not len(readers) & 31:
                self.readers = [kept for kept in readers if (alive := kept()) is not None and alive.reading_task]

    def _reference_to(self, reader: ReadingSide) -> "weakref.ref[ReadingSide]":
        if self.bound is None:
            return weakref.ref(reader)
        # A producer that waits for this reader must look again when it has gone.
        room = self.room = self.room or Room()
        return weakref.ref(reader, lambda _: room.wake())

    def is_waited_for(self) -> bool:
        """Whether somebody waits for more, or for the end."""
        return any(
            not waiter.done()
            for waiters in (self.waiters, self.end_waiters)
            for waiter in (waiters if isinstance(waiters, list) else () if waiters is None else (waiters,))
        )

    def is_being_read(self) -> bool:
        """Whether somebody is in the middle of reading."""
        return any((reader := kept()) is not None and reader.reading_task for kept in self.readers or ())

    def reading_tasks(self) -> Iterable[AnyTask]:
        """Give the tasks that are in the middle of reading."""
        for reference in self.readers or ():
            reader = reference()
            task = None if reader is None else reader.reading_task
            if task is not None and not task.done():
                yield task

    def add_end_waiter(self) -> Waiter:
        """Give a future to await that is done when the stream has ended."""
        waiter = new_waiter(self)
        waiters = self.end_waiters
        if waiters is None:
            self.end_waiters = [waiter]
        else:
            waiters.append(waiter)
            if not len(waiters) & 31:
                self.end_waiters = [waiter for waiter in waiters if not waiter.done()]
        return waiter

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the stream has ended; at once if it has."""
        if self.end is not None:
            callback()
        elif self.end_callbacks is None:
            self.end_callbacks = [callback]
        else:
            self.end_callbacks.append(callback)

    def begin(self) -> None:
        """Launch a producer that was waiting for somebody to ask."""
        producer = self.producer
        if producer is not None and producer.task is None:
            producer.launch()

    def demand(self, count: int) -> None:
        """A reader wants the first `count` pieces: let the producer come as far as it may."""
        if count > self.furthest:
            self.furthest = count
            if self.room is not None and self.room.waiters is not None:
                self.room.wake()

    def demand_next(self, index: int) -> None:
        """A reader waits for the piece at `index`."""
        # With a bound of 0 the waiting itself is the order for one piece.
        self.demand(index if self.bound else index + 1)
        if self.room is not None and self.room.waiters is not None:
            # Whoever fills this may be waiting for readers of something else, and must learn of this one.
            self.room.wake()

    # -- bounds --------------------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether the producer may add a piece now."""
        return self.bound is None or len(self.pieces) < self.furthest + self.bound

    def share_room(self, other: "Buffer[Any]") -> None:
        """Let a producer that fills both be woken by the readers of either."""
        other.room = self.room = self.room or other.room or Room()

    async def wait_for_room(self, park: Park | None, unless: Callable[[], bool] | None = None) -> None:
        """Wait until the producer may add a piece, or until nobody wants one any more, or `unless` is true.

        `park` is told when the task begins and ends to wait with nobody waiting for it.
        """
        while self.end is None and not self.has_room() and not (unless is not None and unless()):
            if self.room is None:
                self.room = Room()
            waiter = self.room.add_waiter()
            task = asyncio.current_task()
            if park is None or task is None:
                await waiter
                continue
            park.park(task)
            try:
                await waiter
            finally:
                park.unpark(task)

    # -- for those who look for deadlocks --------------------------------------------------------------------------

    def writers(self) -> Iterable[AnyTask] | None:
        """Give the tasks that can add a piece, as far as that is known."""
        if self.handle is not None:
            handle = self.handle()
            opener = None if self.opener is None else self.opener()
            if handle is not None and (opener is None or opener.done()):
                return None
            return [opener] if opener is not None else []
        producer = self.producer
        if producer is None:
            return None if self.end is not None else []
        return None if producer.task is None else [producer.task, *producer.helpers()]

    def sole_holder_is_needed(self) -> object | None:
        """Give the writing end, if this stream is written from outside."""
        return None if self.handle is None else self.handle()

    def describe(self) -> str:
        """Name what is waited for."""
        return self.name if self.producer is None else self.producer.describe_product()

    def advice(self) -> str:
        """Say what mends a wait for this stream that cannot end."""
        if self.handle is not None:
            return (
                "Close what writes the stream before waiting for it: use the appender in a `with` block, call `close()`"
                " on it, or `finish()` on the agent call."
            )
        return "Read the replies from outside of the agent that makes them, or pass them on with `ctx.reply(...)`."


def prefilled_buffer(pieces: Iterable[Any]) -> Buffer[Any]:
    """Give a stream that has ended and holds `pieces`."""
    buffer: Buffer[Any] = Buffer()
    buffer.pieces = [Failure(piece) if isinstance(piece, BaseException) else piece for piece in pieces]
    buffer.has_failures = any(piece.__class__ is Failure for piece in buffer.pieces)
    buffer.end = ENDED
    return buffer
