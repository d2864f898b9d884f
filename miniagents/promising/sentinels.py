"""Markers for "not given" and "not there yet", which no ordinary value can be mistaken for."""

from typing import Final, NoReturn, final


@final
class Sentinel:
    """A named marker that prints its name and refuses to be used as a truth value.

    A marker in a boolean context is nearly always a forgotten `is`, so `if marker:` raises instead of being true.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        # Copies and pickles give the very same marker, so that `is` goes on to work.
        return self._name

    def __copy__(self) -> "Sentinel":
        return self

    def __deepcopy__(self, memo: object) -> "Sentinel":
        return self

    def __bool__(self) -> NoReturn:
        raise TypeError(f"`{self._name}` has no truth value. Compare with `is`, for example `value is {self._name}`.")


NO_VALUE: Final = Sentinel("NO_VALUE")
"""No value was given, or there is none yet; `None` remains an ordinary value."""
