"""The shapes of what users hand to agents, as type aliases and protocols."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

# What a message can be made of is checked when it is handed over. A recursive alias of it would reject lists that
# are fine (`list` is invariant), so that checkers see `object`; the name tells readers what is meant.
MessageType = object
"""str, dict, pydantic model, `Message`, `MessagePromise`, exception, `None`, or any (async) iterable of these."""

MessageTokenStreamer = Callable[[dict[str, Any]], AsyncIterator[str]]
"""`streamer(metadata_so_far)`: gives the tokens of a message; what it puts into the dict becomes fields of it."""


class PersistMessageHandler(Protocol):
    """`async def handler(_, message)`: told of every message that gets resolved. The first argument is the context."""

    def __call__(self, context: Any, message: Any, /) -> Awaitable[None]:
        """Handle `message`."""
        ...
