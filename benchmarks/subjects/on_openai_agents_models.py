"""How models are asked over the network with openai-agents, through chat completions."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    name: str
    population: int


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_of(client: AsyncOpenAI, **more: Any) -> Agent[None]:
    return Agent(name="assistant", instructions="Be brief.", model=OpenAIChatCompletionsModel("gpt-4o", client), **more)


@asynccontextmanager
async def streaming() -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:
        agent = agent_of(client)

        async def ask(prompt: str) -> AsyncIterator[str]:
            async for event in Runner.run_streamed(agent, prompt).stream_events():
                if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                    yield event.data.delta

        yield ask


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:
        agent = agent_of(client, tools=[add])

        async def ask(prompt: str) -> str:
            return (await Runner.run(agent, prompt)).final_output

        yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:
        agent = agent_of(client, output_type=City)

        async def ask(prompt: str) -> City:
            return (await Runner.run(agent, prompt)).final_output

        yield ask
