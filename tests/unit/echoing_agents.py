"""An agent that replies with what it is sent."""

from miniagents import InteractionContext, miniagent


@miniagent
async def echo(ctx: InteractionContext) -> None:
    """Repeats   what it hears; its name is
    {AGENT_ALIAS}, and {"json": true} stays."""
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")
