"""An agent that tells which settings it got."""

from typing import Any

from miniagents import InteractionContext, Message, miniagent


@miniagent
async def tell(ctx: InteractionContext, k: Any = "signature", other: Any = None) -> None:
    """Replies with its settings."""
    ctx.reply(Message(k=k, other=other))
