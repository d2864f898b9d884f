"""`StreamedPromise`: a promise whose value comes in pieces, replayed to every reader from the first one.

The pieces are in one `Buffer` that all readers share; a reader is an index into it (see `_buffer.py` for the states). A
streamer is pumped by one task of its own, which is all that stands between it and the buffer; an appender writes into
the buffer directly. The whole is put together from the pieces when somebody awaits it, in the awaiter's own task, as
no work is left to do then; only a `resolver` of the user's gets a task.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

from miniagents.promising._buffer import UNBOUNDED_DEMAND, Buffer, prefilled_buffer
from miniagents.promising._checked import count_or_none
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_producer, current_task
from miniagents.promising._pumping import as_async_iterator, pump
from miniagents.promising._reading import StreamReader
from miniagents.promising._waiting import AnyTask, check_thread
from miniagents.promising.appender import StreamAppender
from miniagents.promising.errors import FunctionNotProvidedError, PromiseCancelledError
from miniagents.promising.promise import Promise, overrides, require_callable
from miniagents.promising.promise_typing import PromiseResolver, PromiseStreamer
from miniagents.promising.sentinels import NO_VALUE

PIECE_co = TypeVar("PIECE_co", covariant=True)
WHOLE_co = TypeVar("WHOLE_co", covariant=True)


class StreamedPromise(Promise[WHOLE_co], Generic[PIECE_co, WHOLE_co]):
    """A value that arrives piece by piece.

    - `async for piece in promise` replays the stream from its first piece and then follows it live. Any number of
      readers may do so, at any time; the streamer runs once for all of them.
    - `await promise` gives the whole: what `resolver(promise)` makes of the pieces, by default a tuple of them.
    - `promise(...)` gives a fresh iterator, so that one promise can be the streamer of another.

    `streamer(promise)` returns an async iterator of pieces (or is a `StreamAppender` that outside code writes to). An
    error that it raises ends the stream: every reader gets the pieces before it, then the very same exception, then
    `StopAsyncIteration`. An exception object that was appended, or that the streamer yields, is a piece: it is raised
    at its place, and a reader that asks for more goes on behind it.

    With `start_asap` true (by default what the context says) the streamer starts at the next task switch. False: it
    starts when somebody first asks, and makes a piece only when a reader waits for one. `read_ahead` is how many pieces
    it may be ahead of its furthest reader (`None`: what the context says, by default without bound).

    Raises:
        FunctionNotProvidedError: no pieces, no streamer and no override of `_streamer`, or two sources of either kind.
        AppenderNotOpenError: the streamer is an appender that was never opened.
        NoActiveContextError: no context is active (one that is prefilled needs none).
    """

    __slots__ = ("_buffer", "_streamer_function")

    def __init__(
        self,
        streamer: "PromiseStreamer[PIECE_co] | StreamAppender[PIECE_co] | None" = None,
        prefill_pieces: "Iterable[PIECE_co] | Any" = NO_VALUE,
        resolver: PromiseResolver[WHOLE_co] | None = None,
        prefill_result: "WHOLE_co | Any" = NO_VALUE,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        read_ahead: int | None = None,
    ) -> None:
        has_own_streamer = overrides(self, StreamedPromise, "_streamer")
        if streamer is not None and prefill_pieces is not NO_VALUE:
            raise FunctionNotProvidedError(
                f"Give `{type(self).__name__}` either a `streamer` or `prefill_pieces`, not both."
            )
        if streamer is None and prefill_pieces is NO_VALUE and not has_own_streamer:
            raise FunctionNotProvidedError(
                f"`{type(self).__name__}` has no way to get its pieces. Give it `streamer=` (a function that is called "
                "with the promise and returns an async iterator) or `prefill_pieces=`, or override "
                "`def _streamer(self)` in a subclass."
            )
        if resolver is not None and prefill_result is not NO_VALUE:
            raise FunctionNotProvidedError(
                f"Give `{type(self).__name__}` either a `resolver` or a `prefill_result`, not both."
            )
        count_or_none(read_ahead, "read_ahead")
        require_callable(resolver, "resolver", "an async function that is called with the promise")
        require_callable(streamer, "streamer", "a function that is called with the promise and gives an async iterator")
        self._start_stream(streamer, prefill_pieces, resolver, prefill_result, start_asap, read_ahead)

    def _start_stream(
        self,
        streamer: Any,
        prefill_pieces: Any,
        resolver: PromiseResolver[Any] | None,
        prefill_result: Any,
        start_asap: bool | None,  # noqa: FBT001
        read_ahead: int | None,
    ) -> None:
        # Taken before anything else, so that an appender that is not open is refused before anything exists.
        appender = cast("StreamAppender[Any]", streamer) if isinstance(streamer, StreamAppender) else None
        appended = None if appender is None else appender.stream()
        function = cast("Callable[[Any], AsyncIterator[Any]] | None", streamer)
        self._streamer_function = function if appender is None else None
        is_resolved_by_user = resolver is not None or overrides(self, StreamedPromise, "_resolver")
        is_pumped = appended is None and prefill_pieces is NO_VALUE
        needs_work = is_pumped or (is_resolved_by_user and prefill_result is NO_VALUE)
        self._set_up(resolver, prefill_result, needs_context=needs_work)
        context = self._context
        if appended is not None:
            self._buffer: Buffer[Any] = appended
            appended.bound = read_ahead if read_ahead is not None or context is None else context.read_ahead_by_default
        elif is_pumped:
            self._pump_into_buffer(start_asap, read_ahead)
        else:
            self._buffer = prefilled_buffer(prefill_pieces)
        if needs_work and is_resolved_by_user:
            self._prepare(start_asap)
        elif context is not None:
            context.promise_was_made(self)

    def _pump_into_buffer(self, start_asap: bool | None, read_ahead: int | None) -> None:  # noqa: FBT001
        context = self._needed_context()
        eager = context.start_everything_asap_by_default if start_asap is None else start_asap
        bound = context.read_ahead_by_default if read_ahead is None else read_ahead
        # A lazy stream makes a piece when somebody waits for it, unless it was told how far ahead it may be.
        self._buffer = Buffer(bound if eager else bound or 0)
        pump = _Pump(context, self._buffer, is_lazy=not eager)
        pump.promise = self
        self._buffer.producer = pump
        if eager:
            pump.launch()

    # -- what users call -----------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[PIECE_co]:
        buffer = self._buffer
        if not buffer.had_reader:
            buffer.mark_read()
        return StreamReader(buffer)

    def __call__(self, *_: Any, **__: Any) -> AsyncIterator[PIECE_co]:
        """Give a fresh iterator over the pieces; the arguments, if any, are ignored."""
        return self.__aiter__()

    def __await__(self) -> Generator[Any, Any, WHOLE_co]:
        value = self.outcome_if_done()
        if value is NO_VALUE:
            buffer = self._buffer
            if not buffer.had_reader:
                buffer.mark_read()
            value = yield from self._outcome().__await__()
        if value.__class__ is Failure:
            raise value.receive()
        return value

    def done(self) -> bool:
        """Whether `await promise` would give its result, or its error, without waiting."""
        return self.outcome_if_done() is not NO_VALUE

    def cancel(self, msg: str | None = None) -> bool:
        """Stop what makes the pieces; `True` unless all was finished already.

        The promise is done at once: readers get the pieces so far and then `PromiseCancelledError` (with `msg`). The
        task behind it is cancelled at its next step and runs its `finally` blocks; the calls that it made are cancelled
        with it, recursively, but for those that somebody outside is reading and those that were kicked off.
        """
        check_thread(self._thread_id, "cancel a promise")
        # Not `done()`: after an error the value is known, while the work may still go on.
        if self._producer is None and self._is_all_there():
            return False
        self._before_cancelling()
        message = msg or "The promise was cancelled."
        buffer = self._buffer
        producers = [producer for producer in (self._producer, buffer.producer) if producer is not None]
        failure = Failure(PromiseCancelledError(message))
        buffer.replace_end(failure)
        self._settle(failure)
        for producer in producers:
            producer.cancel(message)
        return True

    is_part_of_its_maker = False
    """Whether it goes when the work that made it is cancelled, even if somebody else is reading it."""

    def _is_all_there(self) -> bool:
        """Whether nothing more will come; for subclasses."""
        return self._buffer.end is not None

    def _before_cancelling(self) -> None:
        """Prepare the stream for its end; for subclasses."""

    async def _resolver(self) -> WHOLE_co:
        """Make the whole of the pieces; for subclasses that override it instead of being given a `resolver`."""
        if self._resolver_function is not None:
            return await self._resolver_function(self)
        outcome = await self._outcome()
        if isinstance(outcome, Failure):
            raise outcome.receive()
        return cast("WHOLE_co", outcome)

    def _streamer(self) -> AsyncIterator[PIECE_co]:
        """Give the pieces; for subclasses that override it instead of being given a `streamer`."""
        if self._streamer_function is None:
            raise FunctionNotProvidedError(f"`{type(self).__name__}` has no streamer.")
        return self._streamer_function(self)

    # -- for the package -----------------------------------------------------------------------------------------

    def _package(self, pieces: list[Any]) -> Any:
        """Make the whole of all pieces, none of which is an error. Takes no time and waits for nothing."""
        return tuple(pieces)

    def outcome_if_done(self) -> Any:
        """Give the value, the `Failure`, or `NO_VALUE`, without waiting and without counting as a reader."""
        if self._value is NO_VALUE and self._buffer.end is not None and not self._has_resolver():
            self._settle(self._packaged())
        return self._value

    def _packaged(self) -> Any:
        buffer = self._buffer
        for piece in buffer.pieces:
            if piece.__class__ is Failure:
                return piece
        if isinstance(buffer.end, Failure):
            return buffer.end
        try:
            return self._package(buffer.pieces)
        except Exception as error:  # noqa: BLE001 - what is wrong with the pieces is for those who want the whole
            return Failure(error) if self._context is None else self._context.failure(error, None)

    def _has_resolver(self) -> bool:
        return self._producer is not None or self._resolver_function is not None

    async def _outcome(self) -> Any:
        if self._has_resolver():
            return await super()._outcome()
        buffer = self._buffer
        reading = _ReadingOfWhole()
        buffer.add_reader(reading)
        buffer.begin()
        buffer.demand(UNBOUNDED_DEMAND)
        try:
            while buffer.end is None:
                await buffer.add_end_waiter()
        finally:
            # A traceback may keep this alive; the reading is over all the same.
            reading.reading_task = None
        return self.outcome_if_done()

    def when_done(self, callback: Any) -> None:
        """Call `callback` when the promise is done, at once if it is; never makes anything start."""
        if self._has_resolver():
            super().when_done(callback)
        else:
            self._buffer.when_ended(callback)

    def buffer(self) -> Buffer[Any]:
        """Give the stream behind this promise, for readers of this package that do not count as readers."""
        return self._buffer


class _ReadingOfWhole:
    """Stands for a task that awaits the whole of a stream."""

    __slots__ = ("__weakref__", "reading_task")

    def __init__(self) -> None:
        self.reading_task: AnyTask | None = current_task()


class _Pump(Producer):
    """Moves the pieces of a streamer into the buffer."""

    __slots__ = ("promise",)

    promise: "StreamedPromise[Any, Any]"

    async def main(self) -> None:
        current_producer.set(self)
        buffer = cast("Buffer[Any]", self.target)
        iterator: Any = None
        try:
            iterator = as_async_iterator(self.promise._streamer())
            await pump(iterator, buffer, self.context.background)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            buffer.close(self.context.failure(error, self))
        else:
            buffer.close()
        # Ended in the middle, the generator is still open, with `finally` blocks to run.
        if hasattr(iterator, "aclose"):
            try:
                await iterator.aclose()
            except BaseException as error:  # noqa: BLE001 - the stream has ended; this comes in addition
                self.context.failure(error, self)
        self.retire()

    def goes_with_owner(self) -> bool:
        """Whether these are the tokens of a message, which is part of the work of whoever started it."""
        return self.promise.is_part_of_its_maker

    def describe(self) -> str:
        function = self.promise._streamer_function
        name = getattr(function, "__qualname__", type(self.promise).__name__)
        return f"a stream of `{name}`"
