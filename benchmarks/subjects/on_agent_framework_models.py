"""How models are asked over the network with agent-framework, through chat completions."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent_framework import Agent, tool
from agent_framework.openai import OpenAIChatCompletionClient
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


@tool(approval_mode="never_require")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@asynccontextmanager
async def streaming() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatCompletionClient(model="gpt-4o"), "Be brief.")

    async def ask(prompt: str) -> AsyncIterator[str]:
        async for update in agent.run(prompt, stream=True):
            yield update.text

    yield ask


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatCompletionClient(model="gpt-4o"), "Be brief.", tools=[add])

    async def ask(prompt: str) -> str:
        return (await agent.run(prompt)).text

    yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    agent = Agent(OpenAIChatCompletionClient(model="gpt-4o"), "Be brief.")

    async def ask(prompt: str) -> Any:
        return (await agent.run(prompt, options={"response_format": City})).value

    yield ask
