"""An agent that counts as requests to a model what it is told to count."""

import asyncio

from miniagents import (
    InteractionContext,
    TokenUsage,
    miniagent,
)
from miniagents.usage import model_request


@miniagent
async def model(ctx: InteractionContext, tokens: int = 10, cost: float = 0, pauses: int = 1) -> None:
    async with model_request(model="m", agent_alias=ctx.this_agent.alias, provider="p") as request:
        for _ in range(pauses):
            await asyncio.sleep(0)
        request.known(TokenUsage(input_tokens=tokens, output_tokens=0), cost=cost)
    ctx.reply("answer")
