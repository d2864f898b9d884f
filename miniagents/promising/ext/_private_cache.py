"""`cached_privately`: results of methods, kept on the object, beside its content."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Caching(Protocol):
    """What keeps results; see `Frozen`."""

    def cached(self, name: str, make: Callable[[], Any]) -> Any:
        """Give what `make()` gave at the first call with this `name`."""
        ...


S = TypeVar("S", bound=Caching)


def cached_privately(method: Callable[[S], T]) -> Callable[[S], T]:
    """Make a method of a `Frozen` without arguments compute its result once per object.

    The result is no field: it changes neither equality nor the hash key. Put it below `@property` for a property.
    """

    @wraps(method)
    def cached(self: S) -> T:
        return self.cached(f"method {method.__qualname__}", lambda: method(self))

    return cached


__all__ = ["cached_privately"]
