"""An agent that takes long, and one that fails."""

import asyncio
from collections.abc import Callable

from miniagents import (
    InteractionContext,
    miniagent,
)


@miniagent
async def slow(ctx: InteractionContext, seconds: float = 10, notice: Callable[[int], None] | None = None) -> None:
    """Works for a while, in ten steps."""
    for number in range(10):
        await asyncio.sleep(seconds / 10)
        if notice is not None:
            notice(number)
    ctx.reply("done")


@miniagent
async def failing(ctx: InteractionContext) -> None:
    raise ValueError("broken")
