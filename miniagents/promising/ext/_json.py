"""Frozen values in the form in which JSON can hold them."""

import base64
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

# Exact classes are looked up first: nearly every value is one of these.
PLAIN_CLASSES = frozenset({str, int, float, bool, type(None), bytes})
AS_IN_JSON = PLAIN_CLASSES - {bytes}
"""Classes of values that JSON holds as they are."""


_encoders: dict[bool, Callable[[Any], str]] = {}


def json_text(value: Any, *, sort_keys: bool = False) -> str:
    """Give `value` as JSON text, characters beyond ASCII as they are.

    Raises:
        ValueError: a number in it has more digits than Python writes; where it is, is told.
    """
    encode = _encoders.get(sort_keys)
    if encode is None:
        # Loaded when used: not every program asks for JSON.
        import json

        # Kept, as `json.dumps` makes a new one each time. What is frozen cannot contain itself.
        encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=sort_keys, allow_nan=False, check_circular=False)
        encode = _encoders[sort_keys] = encoder.encode
    try:
        return encode(value)
    except ValueError as error:
        found = next(_too_long(value, ""), None)
        if found is None:
            raise
        raise ValueError(f"`{found}` is a number of too many digits: {error}") from error


def _too_long(value: Any, path: str) -> Iterator[str]:
    """Give where numbers stand that cannot be written."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _too_long(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("list[Any] | tuple[Any, ...]", value)):
            yield from _too_long(item, f"{path}[{index}]")
    elif isinstance(value, int) and is_too_long(value):
        yield path


def is_too_long(number: int) -> bool:
    """Whether it has more digits than Python writes; see `sys.set_int_max_str_digits`."""
    # No limit is below 640 digits.
    if number.bit_length() < 2000:
        return False
    try:
        str(number)
    except ValueError:
        return True
    return False


def to_json(value: Any, field: str, nested: Callable[[Any], Any]) -> Any:
    """Give a frozen value in a form that JSON can hold; `nested` turns nested `Frozen` objects into theirs."""
    kind = cast("type[Any]", type(value))
    if kind in AS_IN_JSON:
        return value
    if hasattr(kind, "serialize"):
        return nested(value)
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        return tuple([to_json(item, f"{field}[{index}]", nested) for index, item in enumerate(items)])
    if isinstance(value, Enum):
        return to_json(_without_lists(value.value), field, nested)
    if isinstance(value, frozenset):
        members = [to_json(member, field, nested) for member in cast("frozenset[Any]", value)]
        return tuple(sorted(members, key=lambda member: json_text(member, sort_keys=True)))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _iso_duration(value)
    if isinstance(value, bool | int | float | str):
        # A subclass, such as an `IntFlag` or a `str` of a library: its plain value.
        return kind.__mro__[kind.__mro__.index(_plain_base(kind))](value)
    raise ValueError(f"`{field}`: {value!r} has no form in JSON, as it is a `{kind.__name__}`.")


def _iso_duration(duration: timedelta) -> str:
    """Give a duration as ISO 8601 has it: days, hours, minutes and seconds, with a sign in front."""
    sign = "-" if duration < timedelta(0) else ""
    duration = abs(duration)
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    exact = f"{seconds}.{duration.microseconds:06d}".rstrip("0").rstrip(".")
    parts = ((str(hours), "H"), (str(minutes), "M"), (exact, "S"))
    of_day = "".join(number + unit for number, unit in parts if number != "0")
    days = f"{duration.days}D" if duration.days else ""
    return f"{sign}P{days}" + (f"T{of_day}" if of_day else "" if days else "T0S")


def _without_lists(value: Any) -> Any:
    """Give the value of an enum member with its lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(_without_lists(item) for item in cast("list[Any] | tuple[Any, ...]", value))
    return value


def _plain_base(kind: type[Any]) -> type[Any]:
    return next(base for base in (bool, int, float, str) if issubclass(kind, base))
