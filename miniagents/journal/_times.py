"""Times in the form in which they are stored: seconds since 1970."""

from datetime import UTC, datetime
from typing import Any


def as_time(stored: Any) -> datetime:
    """Give a time in UTC.

    Raises:
        ValueError: it is none.
    """
    try:
        return datetime.fromtimestamp(stored, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{stored!r} is no time") from error


def as_time_or_none(stored: Any) -> datetime | None:
    """Give a time in UTC, or None for None.

    Raises:
        ValueError: it is none.
    """
    return None if stored is None else as_time(stored)
