"""Agents of programs whose runs are recorded; they take note of what they do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from miniagents import InteractionContext, Message, MiniAgent, miniagent


def streamed(*tokens: str, **fields: Any) -> Any:
    """A message whose tokens come one after another."""

    async def stream(_: Mapping[str, Any]) -> AsyncIterator[str]:
        for token in tokens:
            yield token

    return Message.promise(message_token_streamer=stream, **fields)


def leaf(did: list[str], alias: str = "LEAF", **marks: Any) -> MiniAgent:
    """A durable agent that says `re: ` and what it was told, in tokens, and takes note of having worked."""

    @miniagent(alias=alias, **{"durable": True, **marks})
    async def answer(ctx: InteractionContext) -> None:
        told = " ".join([str(message) for message in await ctx.message_promises])
        did.append(told)
        ctx.reply(streamed("re", ": ", told))

    return answer


def asking(*agents: MiniAgent, alias: str = "BOSS") -> MiniAgent:
    """An agent that is no leaf, and passes what it is told on to each of these, one after another."""

    @miniagent(alias=alias)
    async def boss(ctx: InteractionContext) -> None:
        for agent in agents:
            replies = agent.inquire(ctx.message_promises)
            ctx.reply(replies)
            await replies

    return boss


async def texts(replies: Any) -> list[str]:
    return [str(message) for message in await replies]


async def tokens(replies: Any) -> list[list[str]]:
    return [[token async for token in promise] async for promise in replies]


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, as what other processes and threads do wakes nobody here."""
    while True:
        if await is_so():
            return
        await asyncio.sleep(0)
