"""Values of once-functions and answers: JSON, and frozen objects anywhere in it."""

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from miniagents.journal._bodies import Row, rows_of
from miniagents.journal.errors import UnstorableValueError
from miniagents.promising.ext._json import is_too_long
from miniagents.promising.ext.frozen import Frozen

_MARK = "$frozen"
_MOST_SHOWN = 80
"""So many characters of a bad value are shown."""
_LEAVES = (str, int, float, bool, type(None))


class BadValueError(Exception):
    """A value that JSON cannot hold, and where it is."""

    def __init__(self, field: str, why: str) -> None:
        self.field = field
        self.why = why
        super().__init__(f"`{field}`: {why}")


def encode_value(value: Any, field: str) -> tuple[str, list[Row]]:
    """Give `value` as JSON, and the rows of the frozen objects in it.

    Raises:
        BadValueError: something in it is neither JSON nor a `Frozen`.
        SameNameError: two classes have the name of one in it.
    """
    rows: list[Row] = []
    try:
        text = json.dumps(_encode(value, field, rows), ensure_ascii=False, allow_nan=False)
        text.encode()
    except RecursionError:
        raise BadValueError(field, "it contains itself, or is nested too deep") from None
    except UnicodeEncodeError:
        raise BadValueError(field, "it has a lone surrogate, which is no character") from None
    return text, rows


def decode_value(stored: str, frozen: Mapping[str, Frozen]) -> Any:
    """Give the value of which `encode_value` made `stored`; `frozen` has the objects by their hashes.

    Raises:
        ValueError: it is none.
    """
    return _decode(_loaded(stored), frozen)


def _loaded(stored: str) -> Any:
    try:
        return json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{stored[:_MOST_SHOWN]!r} is no JSON: {error}") from error


def hashes_in(stored: str) -> list[str]:
    """Give the hashes of the frozen objects in a stored value.

    Raises:
        ValueError: it is none.
    """
    # A column of texts holds bytes where somebody has put some there.
    if not isinstance(stored, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{stored!r} is no JSON")  # noqa: TRY004 - it is the value of a row that is wrong
    if _MARK not in stored:
        return []
    found: list[str] = []
    pending: list[Any] = [_loaded(stored)]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(cast("list[Any]", value))
        elif isinstance(value, dict):
            entries = cast("dict[str, Any]", value)
            if _MARK in entries:
                if not isinstance(entries[_MARK], str):
                    raise ValueError(f"{entries[_MARK]!r} is no hash")
                found.append(entries[_MARK])
            else:
                pending.extend(entries.values())
    return found


def _encode(value: Any, field: str, rows: list[Row]) -> Any:
    if isinstance(value, Frozen):
        try:
            rows.extend(rows_of(value))
        except ValueError as error:
            raise BadValueError(field, str(error)) from error
        return {_MARK: value.hash_key}
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValueError(field, f"JSON has no such number as {value!r}")
    if type(value) in _LEAVES:
        if type(value) is int and is_too_long(value):
            raise BadValueError(field, "it is a number of more digits than Python writes")
        return value
    if isinstance(value, list | tuple):
        items = cast("list[Any] | tuple[Any, ...]", value)
        return [_encode(item, f"{field}[{index}]", rows) for index, item in enumerate(items)]
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        for key in entries:
            if not isinstance(key, str) or key == _MARK:
                raise BadValueError(field, f"{key!r} cannot be a key: keys are strings, and not {_MARK!r}")
        return {key: _encode(item, f"{field}.{key}", rows) for key, item in entries.items()}
    raise BadValueError(
        field,
        f"{value!r} is of type `{type(value).__name__}`. Allowed are None, strings, numbers, booleans, lists, dicts "
        "and `Frozen` objects such as messages",
    )


def _decode(value: Any, frozen: Mapping[str, Frozen]) -> Any:
    if isinstance(value, list):
        return [_decode(item, frozen) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if _MARK in entries:
            return frozen[entries[_MARK]]
        return {key: _decode(item, frozen) for key, item in entries.items()}
    return value


def check_text(text: str, field: str, place: str, *, may_be_empty: bool = False) -> None:
    """Refuse a name, or a text, that a database cannot hold.

    Raises:
        TypeError: it is no text at all.
        UnstorableValueError: it has a NUL or a lone surrogate, or is empty and may not be.
    """
    # The types do not keep a user from it.
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`{field}` is a text, not {text!r}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnstorableValueError("it has a lone surrogate, which is no character", place=place, field=field) from None
    if "\x00" in text:
        raise UnstorableValueError(f"{text!r} has a NUL in it", place=place, field=field)
    if not text and not may_be_empty:
        raise UnstorableValueError("it is empty", place=place, field=field)
