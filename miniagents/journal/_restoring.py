"""Making what is stored again, or an error that names the row."""

from collections.abc import Iterable, Mapping
from typing import Any

from miniagents.journal._bodies import BadRowError, Row, check_row, restore_all
from miniagents.journal._classes import SameNameError
from miniagents.journal.errors import JournalCorruptError, JournalError
from miniagents.promising.ext.frozen import Frozen


def restore_rows(rows: Iterable[Row], place: str) -> dict[str, Frozen | BadRowError]:
    """Make objects of their rows, those inside them among these; by hash, with an error where that cannot be done.

    Raises:
        JournalError: two classes have the name that is stored with one.
    """
    try:
        return restore_all(rows)
    except SameNameError as error:
        raise JournalError(str(error), place=place) from error


def usable(restored: Mapping[str, Frozen | BadRowError], message_hash: str, place: str, *, where: str = "") -> Frozen:
    """Give one of them; `where` tells in an error what refers to it, such as ``, kept in a history,``.

    Raises:
        JournalCorruptError: it is missing, does not match its hash, or cannot be made again.
    """
    value = restored.get(message_hash, BadRowError("it is missing"))
    if isinstance(value, BadRowError):
        raise corrupt(message_hash, value, place, where=where) from value
    return value


def body_of(row: Row, place: str) -> dict[str, Any]:
    """Give what is stored of one object, without making it.

    Raises:
        JournalCorruptError: it does not match its hash.
    """
    try:
        return check_row(row)
    except BadRowError as error:
        raise corrupt(row.hash, error, place) from error


def corrupt(message_hash: str, error: BadRowError, place: str, *, where: str = "") -> JournalCorruptError:
    """Give the error that says that a stored message cannot be used."""
    return JournalCorruptError(
        f"The message {message_hash}{where} cannot be used: {error}", place=place, row=f"message {message_hash}"
    )
