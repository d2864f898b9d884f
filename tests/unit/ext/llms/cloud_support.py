"""What the tests of the adapters for the clouds have in common."""

import asyncio
import time

from miniagents.testing.server import ProtocolServer
from tests.support.delays import Delays

LONGEST_CLOSING_S = 0.3


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def how_the_last_request_ended(server: ProtocolServer) -> str:
    """How it ended, which has to be within the time that a cancellation may take."""
    delays, began = Delays(), time.monotonic()
    delays.start()
    async with asyncio.timeout(5):
        how = await server.requests[-1].ended()
    assert time.monotonic() - began - delays.stop() < LONGEST_CLOSING_S
    return how


async def begun(server: ProtocolServer) -> None:
    """Wait until a request has arrived at the server, which another thread notes without a word to this loop."""
    async with asyncio.timeout(10):
        while not server.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
