"""Agents that do what a test wants, when it wants it."""

import asyncio
from typing import Any

from miniagents import InteractionContext, Message, MiniAgent, miniagent
from miniagents.ext.llms import AssistantMessage, Script, ScriptedAgent
from miniagents.messages import MessageTokenAppender


def model(name: str, *steps: Any, **settings: Any) -> MiniAgent:
    """A model that replies once, with these steps; it does not ask again by itself."""
    return ScriptedAgent.fork(alias=name, script=Script(list(steps)), max_retries=0, **settings)


def model_of(*replies: Any) -> MiniAgent:
    """A model with these replies, one for each call; it does not ask again by itself."""
    return ScriptedAgent.fork(alias="MODEL", script=Script(*replies), max_retries=0)


class Stubborn:
    """An agent that says its tokens and then never ends; it takes note of being cancelled."""

    def __init__(self, *tokens: str) -> None:
        self.has_begun = asyncio.Event()
        self.was_cancelled = asyncio.Event()

        @miniagent(alias="STUBBORN")
        async def stubborn(ctx: InteractionContext) -> None:
            self.has_begun.set()
            try:
                with MessageTokenAppender() as appender:
                    if tokens:
                        ctx.reply(AssistantMessage.promise(message_token_streamer=appender))
                    for token in tokens:
                        appender.append(token)
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.was_cancelled.set()
                raise

        self.agent = stubborn


class Doors:
    """An agent that says "in", waits for its door to be opened, and says "out"; takes note of who is inside."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.begun: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}

        @miniagent(alias="DOORS")
        async def doors(ctx: InteractionContext) -> None:
            name = str(await ctx.message_promises.as_single_promise())
            self.inside.append(name)
            self.begun.append(name)
            door = self.doors[name] = asyncio.Event()
            try:
                with MessageTokenAppender() as appender:
                    ctx.reply(Message.promise(message_token_streamer=appender))
                    appender.append("in ")
                    await door.wait()
                    appender.append("out")
            finally:
                self.inside.remove(name)

        self.agent = doors


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)


def now() -> float:
    """The time of the loop, in seconds."""
    return asyncio.get_running_loop().time()


async def texts(replies: Any) -> list[str]:
    return [str(message) for message in await replies]


async def next_token(promise: Any) -> str:
    """The first token of a message."""
    return await anext(aiter(promise))
