"""An async iterable to make messages of, and what the readers of a sequence get."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from miniagents import MessagePromise


async def pieces_of(sequence: Any) -> list[Any]:
    """All that a reader gets, errors included, until the end."""
    pieces: list[Any] = []
    reader = aiter(sequence)
    while True:
        try:
            piece = await anext(reader)
        except StopAsyncIteration:
            return pieces
        except Exception as error:
            pieces.append(error)
        else:
            pieces.append(str(await piece) if isinstance(piece, MessagePromise) else piece)


async def async_iterable(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item
