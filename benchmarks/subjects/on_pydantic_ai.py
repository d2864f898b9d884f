"""The end-to-end cases, written with pydantic-ai."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel


def agent_of(tokens: int, *, burst: int) -> Agent[None, str]:
    async def reply(messages: Any, info: Any) -> ModelResponse:
        if burst:
            await asyncio.sleep(0)
        return ModelResponse(parts=[TextPart("t" * tokens)])

    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        for index in range(tokens):
            yield "t"
            if burst and index % burst == burst - 1:
                await asyncio.sleep(0)

    return Agent(FunctionModel(reply, stream_function=stream), instructions="Be brief.")


async def agent_run(runs: int) -> None:
    agent = agent_of(1, burst=0)
    for _ in range(runs):
        assert (await agent.run("hi")).output == "t"


async def agents_at_once(runs: int) -> None:
    agent = agent_of(1, burst=1)
    assert len(await asyncio.gather(*[agent.run("hi") for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    count = 0
    async with agent_of(tokens, burst=1).run_stream("hi") as result:
        # Without the debouncing of 0.1 s, so that each token arrives as it came.
        async for delta in result.stream_text(delta=True, debounce_by=None):
            count += len(delta)
    assert count == tokens
