"""How models are asked over the network with pydantic-ai."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel


class City(BaseModel):
    name: str
    population: int


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@asynccontextmanager
async def streaming() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatModel("gpt-4o"), instructions="Be brief.")

    async def ask(prompt: str) -> AsyncIterator[str]:
        async with agent.run_stream(prompt) as result:
            # Without the debouncing of 0.1 s, so that each token arrives as it came.
            async for delta in result.stream_text(delta=True, debounce_by=None):
                yield delta

    yield ask


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatModel("gpt-4o"), instructions="Be brief.", tools=[add])

    async def ask(prompt: str) -> str:
        return (await agent.run(prompt)).output

    yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatModel("gpt-4o"), instructions="Be brief.", output_type=NativeOutput(City))

    async def ask(prompt: str) -> City:
        return (await agent.run(prompt)).output

    yield ask
