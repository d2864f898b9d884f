"""The shapes of the functions that a user hands to promises, as type aliases and protocols."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
PIECE = TypeVar("PIECE")
WHOLE = TypeVar("WHOLE")
IN = TypeVar("IN")
OUT = TypeVar("OUT")

T_co = TypeVar("T_co", covariant=True)
PIECE_co = TypeVar("PIECE_co", covariant=True)
WHOLE_co = TypeVar("WHOLE_co", covariant=True)
PIECE_contra = TypeVar("PIECE_contra", contravariant=True)

# The promise comes in as `Any`: a resolver for a subclass wants the subclass, and Python has no way to say so.
PromiseResolver = Callable[[Any], Awaitable[T]]
"""`async def resolver(promise) -> T`: computes what the promise stands for."""

PromiseStreamer = Callable[[Any], AsyncIterator[PIECE]]
"""`streamer(promise)`: gives the async iterator whose items become the pieces of the promise."""

SequenceFlattener = Callable[[Any, IN], AsyncIterator[OUT]]
"""`flattener(sequence, item)`: an async generator that turns one incoming item into any number of outgoing ones."""


class PromiseResolvedHandler(Protocol):
    """`async def handler(promise, result)`: told in the background of every promise that got its value."""

    def __call__(self, promise: Any, result: Any, /) -> Awaitable[None]:
        """Handle `result`."""
        ...
