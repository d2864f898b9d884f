"""What the tests of the adapters for the clouds have in common."""

import asyncio

from miniagents.testing.server import ProtocolServer

LONGEST_CLOSING_S = 0.3


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def how_the_last_request_ended(server: ProtocolServer) -> str:
    """How it ended, which has to be within the time that a cancellation may take."""
    async with asyncio.timeout(LONGEST_CLOSING_S):
        return await server.requests[-1].ended()


async def begun(server: ProtocolServer) -> None:
    """Wait until a request has arrived at the server, which another thread notes without a word to this loop."""
    async with asyncio.timeout(10):
        while not server.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
