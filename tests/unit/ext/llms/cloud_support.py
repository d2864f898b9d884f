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


async def given_a_moment() -> None:
    """Let the loop turn, and other threads of this process work."""
    await asyncio.sleep(0.001)
