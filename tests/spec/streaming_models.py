"""A program that reads from models until it is interrupted; run by `test_connections_close.py`, as a process of its own.

    python streaming_models.py SERVER_URL

It asks every provider for a text, for a thought and for the arguments of a tool call at once, says `reading` when
something of each has been read, and `cleaned up` when its `finally` block has run.
"""

import asyncio
import sys

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from tests.spec.providers import AGENTS, agent_of

QUESTIONS = ("text", "thinking", "arguments")


@miniagent
async def reader(ctx: InteractionContext, model: MiniAgent, question: str, ready: asyncio.Semaphore) -> None:
    is_first = True
    async for message in model.inquire(question):
        async for _ in message:
            if is_first:
                ready.release()
            is_first = False


async def main() -> None:
    ready = asyncio.Semaphore(0)
    calls = [
        reader.inquire(model=agent_of(provider, sys.argv[1], max_retries=0), question=question, ready=ready)
        for provider in AGENTS
        for question in QUESTIONS
    ]
    try:
        for _ in calls:
            await ready.acquire()
        print("reading", flush=True)
        for call in calls:
            await call
    finally:
        print("cleaned up", flush=True)


if __name__ == "__main__":
    MiniAgents().run(main())
