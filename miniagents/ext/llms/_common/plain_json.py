"""JSON as its standard has it: without the numbers that many parsers take and nothing else can hold."""

import math
import re
from typing import Any, Final, cast

from pydantic_core import from_json

_MAY_HAVE_ODD_NUMBERS: Final = re.compile(r"NaN|Infinity|[eE]\+?\d{3}|\d{309}")


def from_plain_json(text: str) -> Any:
    """Give the value of a JSON text.

    Raises:
        ValueError: it is no JSON; NaN and infinities are none, and numbers too large for a float are taken for these.
    """
    found: Any = from_json(text, allow_inf_nan=False)
    if _MAY_HAVE_ODD_NUMBERS.search(text) is not None:
        _check_numbers(found)
    return found


def check_numbers_in(text: str) -> None:
    """Refuse a JSON text with numbers that `from_plain_json` does not take; cheap where there is none.

    Raises:
        ValueError: there is one.
    """
    if _MAY_HAVE_ODD_NUMBERS.search(text) is not None:
        from_plain_json(text)


def _check_numbers(value: Any) -> None:
    # Not nested deeper than the parser has allowed.
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            _check_numbers(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            _check_numbers(item)
