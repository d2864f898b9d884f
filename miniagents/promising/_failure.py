"""An error at its place in a stream, or in the place of a value.

Every reader gets the very same exception object. Raising one object many times would make its traceback longer each
time (and keep the frames of all those readers alive), so it is reset before each raise to the one it was born with.

A failure also knows whether somebody received it. One that nobody ever received is reported: by the context when it
ends, or here, when the last reference to the failed promise goes.
"""

import asyncio
import itertools
from collections.abc import Callable

from miniagents.promising._wording import shown
from miniagents.promising.errors import PromiseCancelledError

_numbers = itertools.count()


class Failure:
    """An exception kept for readers, together with the traceback that it was born with."""

    __slots__ = ("__weakref__", "error", "had_reader", "number", "received", "report", "reported", "traceback")

    def __init__(self, error: BaseException, report: "Callable[[Failure], None] | None" = None) -> None:
        """Keep `error`; `report` is called if nobody has received it by the time the failure is dropped."""
        self.error = storable(error)
        # Errors are told in the order in which they happened.
        self.number = next(_numbers)
        self.traceback = self.error.__traceback__
        self.received = False
        self.reported = False
        self.had_reader = False
        """Whether the stream that the error is in was read at all, be it not up to here."""
        self.report = report

    def receive(self) -> BaseException:
        """Give the exception to a reader, who raises it: `raise failure.receive()`."""
        self.received = True
        return self.error.with_traceback(self.traceback)

    def report_if_unreceived(self) -> None:
        """Report the error, at most once, unless somebody received it."""
        if self.reported or self.received or self.report is None:
            return
        self.reported = True
        self.report(self)

    def __del__(self) -> None:
        self.report_if_unreceived()


def storable(error: BaseException) -> BaseException:
    """Give what may stand in for `error` as a stored result.

    Stop signals of iterators would silently end the reader's own loop, and a stored `CancelledError` would look to
    every later reader as if he had been cancelled himself.
    """
    if isinstance(error, asyncio.CancelledError):
        stored: BaseException = PromiseCancelledError("The work behind this promise was cancelled before it was done.")
    elif isinstance(error, StopIteration | StopAsyncIteration):
        stored = RuntimeError(f"{type(error).__name__} was raised where a promise is made: {shown(error)}")
    else:
        return error
    stored.__cause__ = error
    return stored.with_traceback(error.__traceback__)
