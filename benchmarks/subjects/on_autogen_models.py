"""How models are asked over the network with autogen. Its agents keep what was said: each run has a new one."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@asynccontextmanager
async def streaming() -> AsyncGenerator[Any]:
    model = OpenAIChatCompletionClient(model="gpt-4o")

    async def ask(prompt: str) -> AsyncIterator[str]:
        agent = AssistantAgent("assistant", model, system_message="Be brief.", model_client_stream=True)
        async for event in agent.run_stream(task=prompt):
            if isinstance(event, ModelClientStreamingChunkEvent):
                yield event.content

    yield ask
    await model.close()


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    model = OpenAIChatCompletionClient(model="gpt-4o")

    async def ask(prompt: str) -> str:
        agent = AssistantAgent("assistant", model, system_message="Be brief.", tools=[add], reflect_on_tool_use=True)
        return (await agent.run(task=prompt)).messages[-1].content  # type: ignore[union-attr]

    yield ask
    await model.close()


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    model = OpenAIChatCompletionClient(model="gpt-4o")

    async def ask(prompt: str) -> City:
        agent = AssistantAgent("assistant", model, system_message="Be brief.", output_content_type=City)
        return (await agent.run(task=prompt)).messages[-1].content  # type: ignore[union-attr]

    yield ask
    await model.close()
