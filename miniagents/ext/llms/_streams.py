"""Care for streams of tokens, whoever produces them."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def closed_at_the_end(tokens: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close the stream, if it can be closed, when the `async with` block is left, however it is left.

    A generator that is merely dropped keeps its connection open until the garbage collector comes.
    """
    try:
        yield tokens
    finally:
        aclose: Any = getattr(tokens, "aclose", None)
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
