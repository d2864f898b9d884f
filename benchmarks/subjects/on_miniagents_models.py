"""How models are asked over the network, with this package."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from miniagents import InteractionContext, Message, MessagePromise, MiniAgents, miniagent
from miniagents.ext.llms.anthropic import AnthropicAgent
from miniagents.ext.llms.openai import OpenAIAgent


class City(BaseModel):
    name: str
    population: int


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@miniagent
async def relay(ctx: InteractionContext) -> None:
    """Yields every token it gets into a message of its own."""
    async for promise in ctx.message_promises:

        async def stream(_: dict[str, Any], promise: MessagePromise = promise) -> AsyncIterator[str]:
            async for token in promise:
                yield token

        ctx.reply(Message.promise(message_token_streamer=stream))


AGENTS = {
    "openai": OpenAIAgent.fork(model="gpt-4o", system="Be brief."),
    "anthropic": AnthropicAgent.fork(model="claude-haiku-4-5", system="Be brief.", max_tokens=10000),
}


def inside_context(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Each function runs inside a context of its own; entering and leaving it is not measured."""
    return MiniAgents().arun(coroutine)


@asynccontextmanager
async def streaming(
    provider: str = "openai", relays: int = 0, history: int = 0, **settings: Any
) -> AsyncGenerator[Any]:
    agent = AGENTS[provider].fork(**settings)
    old = [Message(f"message {index}", role=("user", "assistant")[index % 2]) for index in range(history)]

    async def ask(prompt: str) -> AsyncIterator[str]:
        messages = agent.inquire([*old, prompt])
        for _ in range(relays):
            messages = relay.inquire(messages)
        async for promise in messages:
            async for token in promise:
                yield token

    yield ask


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    agent = AGENTS["openai"].fork(tools=[add], stream=False)

    async def ask(prompt: str) -> str:
        return str((await agent.inquire(prompt))[-1])

    yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    agent = AGENTS["openai"].fork(response_model=City, stream=False)

    async def ask(prompt: str) -> City:
        (message,) = await agent.inquire(prompt)
        return message.parsed

    yield ask
