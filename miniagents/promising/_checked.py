"""Checks of what a context is given, so that a mistake is told where it is made and not when something fails."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any


def log_level(value: object, name: str) -> int:
    """Give a level of `logging`, of which the name is fine too.

    Raises:
        ValueError, TypeError: it is none.
    """
    levels = logging.getLevelNamesMapping()
    if isinstance(value, str) and value.upper() in levels:
        return levels[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"`{name}` is a level of `logging`, such as `logging.ERROR` or 'ERROR', not {value!r}.")


def logger(value: object, name: str) -> logging.Logger:
    """Give a logger; `None` stands for the package's own.

    Raises:
        TypeError: it is none.
    """
    if value is None:
        return logging.getLogger("miniagents")
    if not isinstance(value, logging.Logger):
        raise TypeError(f"`{name}` is a `logging.Logger`, not {value!r}. Write `logging.getLogger({value!r})`.")
    return value


def seconds(value: Any, name: str) -> float:
    """Give a duration in seconds, 0 or more (`math.inf` for any time).

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` is a number of seconds, not {value!r}. Write `math.inf` for any time.")
    if math.isnan(value) or value < 0:
        raise ValueError(f"`{name}` is a number of seconds, 0 or more, not {value!r}.")
    return value


def count_or_none(value: Any, name: str) -> int | None:
    """Give a number of pieces, 0 or more, or `None` for no bound.

    Raises:
        TypeError, ValueError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` is a number of pieces, or `None` for no bound; not {value!r}.")
    if value < 0:
        raise ValueError(f"`{name}` is a number of pieces, 0 or more, or `None` for no bound; not {value!r}.")
    return value


def handlers(value: Any, name: str, register: Callable[[Any], object]) -> None:
    """Register one handler or several.

    Raises:
        TypeError: it is neither.
    """
    if callable(value):
        register(value)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for handler in value:  # pyright: ignore[reportUnknownVariableType] - `register` looks at it
            register(handler)
    else:
        raise TypeError(f"`{name}` is an async function, or a list of them, not {value!r}.")
