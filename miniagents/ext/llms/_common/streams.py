"""Care for streams of tokens, whoever produces them."""

import inspect
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

T = TypeVar("T")


def closed_at_the_end(tokens: AsyncIterator[T]) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    """Close the stream, if it can be closed, when the `async with` block is left, however it is left.

    A generator that is merely dropped keeps its connection open until the garbage collector comes.
    """
    return _ClosedAtTheEnd(tokens)


# Not made with `asynccontextmanager`: one more generator costs as much as a few tokens, and each answer needs some.
class _ClosedAtTheEnd(AbstractAsyncContextManager[AsyncIterator[T]]):
    __slots__ = ("_tokens",)

    def __init__(self, tokens: AsyncIterator[T]) -> None:
        self._tokens = tokens

    async def __aenter__(self) -> AsyncIterator[T]:
        return self._tokens

    async def __aexit__(self, *_: object) -> None:
        aclose: Any = getattr(self._tokens, "aclose", None)
        if aclose is not None:
            await aclose()


def checked_stream(tokens: Any, method: str) -> AsyncIterator[str]:
    """`tokens`, which `method` returned, if that is a stream at all.

    Raises:
        TypeError: it is none, mostly because the method has no `yield`.
    """
    if hasattr(tokens, "__aiter__"):
        return tokens
    if inspect.iscoroutine(tokens):
        # Else Python would warn as well that nobody awaited it.
        tokens.close()
    raise TypeError(
        f"`{method}()` returned {tokens!r}, which is no async iterator of tokens: write it as `async def` with at "
        "least one `yield`."
    )
