"""Which values options may have, and in which words others are refused."""

from typing import Any

from miniagents.events.errors import RegistrationError
from miniagents.promising._wording import shown


def whole_number(value: Any, option: str, name: str, *, at_least: int) -> int:
    """Give `value` if it is a whole number that is large enough.

    Raises:
        RegistrationError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise RegistrationError(f"`{option}` of `{name}` is a whole number, at least {at_least}, not {shown(value)}.")
    return value


def check_choice(value: Any, option: str, name: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        RegistrationError: it is not.
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise RegistrationError(f"`{option}` of `{name}` is {', '.join(others)} or {last}, not {shown(value)}.")


def check_class(value: Any, option: str, name: str, classes: tuple[type[Any], ...], what: str) -> None:
    """Refuse what is of none of these classes; `what` is what they are.

    Raises:
        RegistrationError: it is not.
    """
    if not isinstance(value, classes):
        raise RegistrationError(f"`{option}` of `{name}` is {what}, not {shown(value)}.")


def seconds(value: Any, option: str, name: str, *, zero_is_fine: bool = False) -> float:
    """Give `value` if it is a number of seconds.

    Raises:
        RegistrationError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (value >= 0 if zero_is_fine else value > 0) or value == float("inf"):
        least = "zero or more" if zero_is_fine else "more than zero"
        raise RegistrationError(f"`{option}` of `{name}` is a number of seconds, {least}, not {shown(value)}.")
    return float(value)


__all__ = ["check_choice", "check_class", "seconds", "whole_number"]
