"""Rows that do not hold what was written: the error that names one, and what becomes of the others."""

from typing import Any

from miniagents.journal.errors import JournalCorruptError

CAUSES = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What reading a row may raise into which somebody has put anything at all."""


def unreadable(what: str, why: object, *, place: str, row: str) -> JournalCorruptError:
    """Give the error that says that a row, such as ``The call 'ab12'``, cannot be read."""
    reason = f"{why!r} is missing" if isinstance(why, KeyError) else why
    return JournalCorruptError(f"{what} cannot be read: {reason}", place=place, row=row)


def check_texts(row: Any, names: tuple[str, ...], first: int) -> None:
    """Refuse a row some of whose columns are no texts; `names` are those of the columns from `first` on.

    Raises:
        ValueError: the column, and what it holds.
    """
    for name, value in zip(names, list(row)[first:], strict=False):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"its `{name}` is {value!r}, which is no text")


class BadRows:
    """Keeps errors of single rows until the others have been given."""

    def __init__(self) -> None:
        self._first: JournalCorruptError | None = None
        self._others = 0

    def note(self, error: JournalCorruptError) -> None:
        """Keep an error."""
        if self._first is None:
            self._first = error
        else:
            self._others += 1

    def raise_first(self) -> None:
        """Raise the first one, with a note of how many others there are.

        Raises:
            JournalCorruptError: there was one.
        """
        if self._first is not None:
            if self._others:
                self._first.add_note(f"Beside this one, {self._others} more rows cannot be read.")
            raise self._first
