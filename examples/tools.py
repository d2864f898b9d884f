"""A model that calls tools: a function, an agent, and one that somebody has to approve.

With OPENAI_API_KEY in the environment (and `pip install miniagents[openai]`) a real model calls them, else a scripted
one.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.ext.llms import OpenAIAgent, Script, ScriptedAgent, tool_call
from miniagents.ext.llms.tools import ApprovalMessage, tool


async def forecast(city: str) -> AsyncIterator[str]:
    """Tell the weather in a city."""
    for word in ("sunny ", "in ", city):
        await asyncio.sleep(0.1)
        yield word  # What a tool yields streams.


@miniagent
async def travel_guide(ctx: InteractionContext) -> None:
    """Recommend what to see."""
    ctx.reply(ScriptedAgent.inquire(ctx.message_promises, script="Climb the minster."))


@tool(requires_approval=lambda call: call.arguments.euros > 50)
def buy_ticket(train: str, euros: int) -> str:
    """Buy a ticket for a train."""
    return f"A ticket for {train}, {euros} euros."


@miniagent
async def thrifty_friend(ctx: InteractionContext) -> None:
    ctx.reply(ApprovalMessage(approved=False, reason="take the slow train"))


question = "I am going to Ulm. Look into it, and buy me a ticket."
first_turn = [tool_call("forecast", {"city": "Ulm"}), tool_call("travel_guide", {"request": "Ulm"})]
second_turn = ["Now the ticket. ", tool_call("buy_ticket", {"train": "ICE 596", "euros": 80})]
scripted = ScriptedAgent.fork(script=Script(first_turn, second_turn, "I would rather ask you about the ticket."))
model = OpenAIAgent.fork(model="gpt-4o") if os.environ.get("OPENAI_API_KEY") else scripted


async def main() -> None:
    tools = [forecast, travel_guide, buy_ticket]
    async for msg_promise in model.inquire(question, tools=tools, approval_agent=thrifty_friend):
        print(f"{msg_promise.message_class.__name__}: ", end="")
        async for token in msg_promise:
            print(token, end="", flush=True)
        print()


if __name__ == "__main__":
    MiniAgents().run(main())
