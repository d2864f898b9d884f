"""How errors that nobody received are told: one line, or a traceback without the frames of this package."""

import contextlib
import functools
import itertools
import logging
import traceback
import weakref
from pathlib import Path
from typing import Literal, Protocol

from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer
from miniagents.promising._wording import class_and_text, shortened

_PACKAGE_FOLDER = str(Path(__file__).parent.parent)
MAX_ERRORS_KEPT = 1_000
"""A server that runs for months must not keep every error of its life."""


_numbers = itertools.count()


class ReportingContext(Protocol):
    """What reporting needs of a context; see `PromisingContext`."""

    logger: logging.Logger
    log_level_for_errors: int

    @property
    def background_errors(self) -> Literal["raise", "log"]:
        """What becomes of an error in an agent call whose replies nobody read."""
        ...

    def reduces_tracebacks(self) -> bool:
        """Whether logged tracebacks leave out the frames of this package."""
        ...


class BackgroundErrors:
    """The errors of one context that nobody has received: told on the log, and some of them raised when it ends."""

    def __init__(self, context: ReportingContext) -> None:
        self._context = context
        self._number = next(_numbers)
        self._failures: weakref.WeakSet[Failure] = weakref.WeakSet()
        self._errors: dict[int, BaseException] = {}
        self._more = 0

    def is_new(self, error: BaseException) -> bool:
        """Whether this very exception object comes for the first time."""
        if getattr(error, "_miniagents_told_by", None) == self._number:
            return False
        # Noted on the exception itself: to keep every one that was told would keep all that its frames hold.
        with contextlib.suppress(AttributeError):
            error._miniagents_told_by = self._number  # pyright: ignore[reportAttributeAccessIssue]
        return True

    @property
    def has_any(self) -> bool:
        """Whether there is something to be raised at the end."""
        return bool(self._errors)

    def add(self, error: BaseException) -> None:
        """Keep `error` for the end."""
        if id(error) in self._errors:
            return
        if len(self._errors) >= MAX_ERRORS_KEPT:
            self._more += 1
            return
        self._errors[id(error)] = error

    def failure(self, error: BaseException, producer: Producer | None, what: str | None) -> Failure:
        """Keep `error`, to be reported if nobody receives it; `what` failed, if not `producer` as a whole."""
        line = what or (producer.failure_line() if producer is not None else "A promise could not get its value")
        failure = Failure(error, functools.partial(self._report, producer, line))
        self._failures.add(failure)
        if what is None and producer is not None and producer.is_fired():
            failure.report_if_unreceived()
        return failure

    def report_the_rest(self) -> None:
        """Report what is certain now not to be received, in the order in which it happened."""
        for failure in sorted(self._failures, key=lambda failure: failure.number):
            failure.report_if_unreceived()

    def _report(self, producer: Producer | None, what: str, failure: Failure) -> None:
        error = failure.error
        is_unread_call = producer is not None and not failure.had_reader and producer.is_unread_call()
        # Asking for the end of the program is no failure: it is raised as it is when the program ends.
        is_told = not self.is_new(error) or isinstance(error, KeyboardInterrupt | SystemExit)
        # First kept, then told: a log handler that fails must not lose it.
        if not isinstance(error, Exception) or (is_unread_call and self._context.background_errors == "raise"):
            self.add(error)
        if not is_told:
            self.log(error, what)

    def log(self, error: BaseException, what: str) -> None:
        """Tell of `error` on the log; the line starts with `what`."""
        context = self._context
        with_traceback = context.background_errors == "log"
        text = error_report(error, what, with_traceback=with_traceback, reduced=context.reduces_tracebacks())
        context.logger.log(context.log_level_for_errors, "%s", text)

    def raise_or_note(self, main_error: BaseException | None) -> None:
        """Raise what was kept, or, where the program fails anyway, put it into the notes of its error."""
        errors, self._errors = list(self._errors.values()), {}
        if not errors:
            return
        if main_error is not None:
            add_notes(main_error, [error for error in errors if error is not main_error])
            return
        # Exits are raised bare, so that the process gets the exit code they carry.
        exits = [error for error in errors if not isinstance(error, Exception)]
        if exits:
            add_notes(exits[0], [error for error in errors if error is not exits[0]])
            raise exits[0]
        more = f" (and {self._more} more)" if self._more else ""
        raise ExceptionGroup(
            f"{len(errors)} background error(s){more}: agents failed and nobody read their replies",
            [error for error in errors if isinstance(error, Exception)],
        )


def add_notes(error: BaseException, others: list[BaseException]) -> None:
    """Name `others` in the notes of `error`, which show below its traceback."""
    for other in others[:20]:
        error.add_note(f"Besides, in the background: {one_line(other)}")
    if len(others) > 20:
        error.add_note(f"... and {len(others) - 20} more errors in the background.")


def one_line(error: BaseException) -> str:
    """Give class and text of `error`, shortened."""
    return shortened(class_and_text(error))


def error_report(error: BaseException, what: str, *, with_traceback: bool, reduced: bool) -> str:
    """Tell of `error` in one line that starts with `what`, or in several that end with its traceback.

    `reduced` leaves out the frames of this package, which tell a user nothing.
    """
    line = f"{what}: {one_line(error)}"
    if not with_traceback:
        return line
    summary = traceback.TracebackException.from_exception(error)
    if reduced:
        reduce_frames(summary)
    return line + "\n" + "".join(summary.format()).rstrip()


def reduce_frames(summary: traceback.TracebackException | None) -> None:
    """Leave out the frames of this package, in the causes of the error too, unless nothing would remain."""
    while summary is not None:
        kept = [frame for frame in summary.stack if not frame.filename.startswith(_PACKAGE_FOLDER)]
        if kept:
            summary.stack[:] = kept
        for nested in summary.exceptions or ():
            reduce_frames(nested)
        summary = summary.__cause__ or (None if summary.__suppress_context__ else summary.__context__)
