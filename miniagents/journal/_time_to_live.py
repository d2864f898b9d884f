"""How long runs are kept: what a URL says of it, and the task that removes older ones."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl

from miniagents.journal._own_tasks import OwnTask
from miniagents.journal.errors import JournalError

_NAME: Final = "time_to_live"
_AGE = re.compile(r"(\d+)([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EVERY_S: Final = 3600.0
_logger = logging.getLogger("miniagents.journal")


def split_time_to_live(url: str, time_to_live: timedelta | None) -> tuple[str, timedelta | None]:
    """Give a URL without `time_to_live=30d`, and how long that is; the argument counts more than the URL.

    Parameters of a server are left for the server to judge.

    Raises:
        JournalError: there is another parameter, or this one is no age.
        TypeError, ValueError: `time_to_live` is no `timedelta`, or not more than nothing.
    """
    address, mark, query = url.partition("?")
    kind = address.partition("://")[0]
    others: list[str] = []
    in_url: timedelta | None = None
    for part in query.split("&") if mark else ():
        (name, value), *_ = parse_qsl(part, keep_blank_values=True) or [("", "")]
        if name == _NAME:
            in_url = _age_in_url(value, kind)
        elif kind in ("postgresql", "postgres"):
            others.append(part)
        else:
            raise JournalError(
                f"{url!r} has the parameter {name!r}, which is not known. There is `?{_NAME}=30d`; a question mark in "
                "the name of a file is written `%3F`",
                place=kind,
            )
    if time_to_live is not None and not isinstance(time_to_live, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`{_NAME}` is a `timedelta`, not {time_to_live!r}.")
    if time_to_live is not None and time_to_live <= timedelta():
        raise ValueError(f"`{_NAME}` is how long runs are kept, so it is more than nothing, not {time_to_live!r}.")
    return f"{address}?{'&'.join(others)}" if others else address, time_to_live or in_url


def check_age(older_than: timedelta) -> None:
    """Refuse what is no age of runs that are to be removed.

    Raises:
        TypeError, ValueError: it is no `timedelta`, or less than nothing.
    """
    # The types do not keep a user from it.
    if not isinstance(older_than, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`older_than` is a `timedelta`, such as `timedelta(days=30)`, not {older_than!r}.")
    if older_than < timedelta():
        raise ValueError(
            f"`older_than` is for how long nothing has happened in the runs that are to be removed, so it is not less "
            f"than nothing: {older_than!r}."
        )


def parse_age(text: str) -> timedelta | None:
    """Give the time that `30d` means, or another number of s, m, h, d or w; None if it means none, or one too long."""
    found = _AGE.fullmatch(text)
    if found is None:
        return None
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except (OverflowError, ValueError):
        return None


def _age_in_url(text: str, place: str) -> timedelta:
    age = parse_age(text)
    # Nothing would be kept at all.
    if not age:
        raise JournalError(
            f"`{_NAME}={text}` is no age: use a number and s, m, h, d or w, such as {_NAME}=30d", place=place
        )
    return age


class TimeToLive:
    """Removes old runs from now on, about once an hour, until `end()`."""

    def __init__(self, time_to_live: timedelta, place: str) -> None:
        self._time_to_live = time_to_live
        self._task = OwnTask(f"time to live of {place}")

    def go_on(self, prune: Callable[[timedelta], Awaitable[object]]) -> None:
        """Remove old runs, on the running event loop; nothing if that goes on here, or after `end()`."""
        self._task.go_on(lambda: self._prune_on(prune))

    async def _prune_on(self, prune: Callable[[timedelta], Awaitable[object]]) -> None:
        while True:
            try:
                await prune(self._time_to_live)
            except Exception as error:  # noqa: BLE001 - there is nobody else to hear of it
                # The program can do without it, and the next time may be a better one.
                _logger.warning("Old runs could not be removed from the journal, which is tried again: %s", error)
            await asyncio.sleep(_EVERY_S)

    async def end(self) -> None:
        """Stop; what is half removed goes with the next time. A step that was begun is committed nevertheless."""
        await self._task.end()
