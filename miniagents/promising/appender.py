"""`StreamAppender`: the writing end of a stream that outside code fills."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Generic, Self

from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_producer, current_task
from miniagents.promising._reading import StreamReader
from miniagents.promising._waiting import check_thread
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import AppenderClosedError, AppenderNotOpenError, DeadlockError
from miniagents.promising.promise_typing import PIECE


class StreamAppender(Generic[PIECE]):
    """Writes, piece by piece, into the promise that it is given to as its streamer.

        with StreamAppender() as appender:
            promise = StreamedPromise(streamer=appender)
            appender.append("a").append("b")

    Whoever leaves the `with` block, or calls `close()`, ends the stream. An exception that leaves the block also ends
    it; with `capture_errors` true (by default what the context says) the exception is put into the stream, at its
    place, and goes no further, else it is raised out of the block as usual and the stream just ends. A cancelled block
    ends its stream with `PromiseCancelledError`. An appender that was dropped without being closed fails its stream
    with `DeadlockError`, so that its readers do not wait for ever.

    `append` never blocks and may be called without `await`. `await appender.append(piece)` gives the readers a chance
    to run and, where the stream has a `read_ahead` bound, waits until they have come close enough.
    """

    __slots__ = ("__weakref__", "_buffer", "_capture_errors", "_was_open")

    def __init__(self, capture_errors: bool | None = None) -> None:  # noqa: FBT001 - the published signature
        if capture_errors is None:
            context = PromisingContext.find_current()
            capture_errors = context is not None and context.appenders_capture_errors_by_default
        self._capture_errors = capture_errors
        self._was_open = False
        self._buffer: Buffer[PIECE] = self._make_buffer()
        # Weakly: the stream must notice when nobody holds its writing end any more.
        self._buffer.handle = weakref.ref(self)

    def _make_buffer(self) -> Buffer[PIECE]:
        return Buffer()

    @property
    def was_open(self) -> bool:
        """Whether it was ever opened."""
        return self._was_open

    @property
    def is_open(self) -> bool:
        """Whether pieces can be appended now."""
        return self._was_open and not self._buffer.is_settled()

    def open(self) -> Self:
        """Open for writing, once; the `with` block does it.

        Raises:
            AppenderClosedError: it was open before.
        """
        if self._was_open:
            raise AppenderClosedError(type(self).__name__, "open it again", is_open=self.is_open)
        self._was_open = True
        buffer = self._buffer
        buffer.name = f"a stream that a `{type(self).__name__}` writes"
        buffer.thread_id = threading.get_ident()
        task = current_task()
        buffer.opener = None if task is None else weakref.ref(task)
        return self

    def append(self, piece: PIECE | BaseException) -> Self:
        """Add a piece; an exception object is raised to the readers at its place, and the stream goes on behind it.

        Raises:
            AppenderNotOpenError: it was not opened yet.
            AppenderClosedError: it is closed.
            WrongThreadError: this is not the thread in which it was opened.
        """
        self.check_writable("append to it")
        self._write(piece)
        return self

    def check_writable(self, action: str) -> None:
        """Raise if nothing can be written now. A stream that its reader cancelled takes everything and keeps nothing.

        Raises:
            AppenderNotOpenError, AppenderClosedError, WrongThreadError: as for `append`.
        """
        buffer = self._buffer
        if not self._was_open:
            raise AppenderNotOpenError(type(self).__name__)
        if buffer.is_settled() and not isinstance(buffer.end, Failure):
            raise AppenderClosedError(type(self).__name__, action)
        check_thread(buffer.thread_id, action)

    def _write(self, piece: Any) -> None:
        self._buffer.append(self._failure(piece) if isinstance(piece, BaseException) else piece)

    def _failure(self, error: BaseException) -> Failure:
        context = PromisingContext.find_current()
        if context is None:
            return Failure(error)
        return context.failure(error, current_producer.get(), f"Nobody received an error in {self._buffer.name}")

    def __await__(self) -> Generator[Any, Any, Self]:
        """Let the readers run, and wait for room if the stream has a `read_ahead` bound; gives the appender."""
        # A bare yield is how a task lets all others that are ready run first.
        yield
        if not self._buffer.has_room():
            context = PromisingContext.find_current()
            yield from self._buffer.wait_for_room(None if context is None else context.background).__await__()
        return self

    def close(self) -> None:
        """End the stream; does nothing if it has ended."""
        if self._was_open:
            check_thread(self._buffer.thread_id, "close it")
        self._was_open = True
        self._buffer.close()

    def fail(self, error: BaseException) -> None:
        """End the stream with `error`, raised to the readers after the pieces; does nothing if it has ended."""
        self._buffer.close(Failure(error))

    def stream(self) -> Buffer[PIECE]:
        """Give the stream that this writes, for the promise that it is handed to.

        Raises:
            AppenderNotOpenError: it was never opened, so that a reader might wait for ever.
        """
        if not self._was_open:
            raise AppenderNotOpenError(type(self).__name__)
        return self._buffer

    def __call__(self, *_: Any) -> AsyncIterator[PIECE]:
        """Give a fresh iterator over all that is written, so that it can be a streamer; the arguments are ignored.

        Raises:
            AppenderNotOpenError: it was never opened.
        """
        return StreamReader(self.stream())

    def __aiter__(self) -> AsyncIterator[PIECE]:
        return self()

    def unopened_stream(self) -> Buffer[PIECE]:
        """Give the stream that this will write, open or not (for this package)."""
        return self._buffer

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, AppenderClosedError):
            self.close()
            return False
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            # Cut off, not finished: readers must not take what is there for the whole.
            self.fail(asyncio.CancelledError(*error.args))
            return False
        if self._capture_errors or not isinstance(error, Exception):
            self._write(error)
        self.close()
        return self._capture_errors

    def __del__(self) -> None:
        buffer = getattr(self, "_buffer", None)
        if buffer is None or buffer.end is not None:
            return
        failure = Failure(
            DeadlockError(
                f"Nobody can end this stream any more: the `{type(self).__name__}` that writes it was dropped without "
                "being closed. Use it in a `with` block, or call `close()` when all is written."
            )
        )
        # A closed event loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            buffer.close(failure)
