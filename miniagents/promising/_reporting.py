"""How errors that nobody received are told: one line, or a traceback without the frames of this package."""

import traceback
from pathlib import Path

_PACKAGE_FOLDER = str(Path(__file__).parent.parent)
MAX_ERRORS_KEPT = 10_000
"""A server that runs for months must not keep every error of its life."""


class BackgroundErrors:
    """The errors that a context raises when it ends."""

    def __init__(self) -> None:
        self._seen: dict[int, BaseException] = {}
        self._errors: list[BaseException] = []
        self._more = 0

    def is_new(self, error: BaseException) -> bool:
        """Whether this very exception object comes for the first time."""
        if id(error) in self._seen:
            return False
        if len(self._seen) < MAX_ERRORS_KEPT:
            # Kept, as the id of an object that is gone may be given to another one.
            self._seen[id(error)] = error
        return True

    def add(self, error: BaseException) -> None:
        """Keep `error` for the end."""
        if any(kept is error for kept in self._errors):
            return
        if len(self._errors) < MAX_ERRORS_KEPT:
            self._errors.append(error)
        else:
            self._more += 1

    def raise_or_note(self, main_error: BaseException | None) -> None:
        """Raise what was kept, or, where the program fails anyway, put it into the notes of its error."""
        errors, self._errors = self._errors, []
        self._seen = {}
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
    """Give class and text of `error`."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
