"""The live demonstrations of the guide agent: real agents at work, whose tokens are shown in the moment they arrive.

The models in them are scripted, so that they need no key; the rest is what a program with real models consists of. The
code that a demonstration shows is the code that it runs.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from miniagents.ext._guide_columns import Columns
from miniagents.ext.llms.scripted import Script, ScriptedAgent
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise, MessageTokenAppender
from miniagents.miniagents import MiniAgent, miniagent

Show = Callable[[str], Awaitable[None]]
"""Shows a piece of text to the user, at once."""


@dataclass(frozen=True, slots=True)
class Demo:
    """A demonstration: one line about it, and the coroutine function that runs it."""

    about: str
    run: Callable[[Show], Awaitable[None]]


# ------------------------------------------------------------------------------------------------------- stream


async def watch(poet: MiniAgent, show: Show) -> MessageSequencePromise:
    replies = poet.inquire("What do you do while I wait?")
    async for message in replies:
        async for token in message:
            await show(token)
    return replies


async def _stream(show: Show) -> None:
    await show(f"An agent answers token by token:\n\n{await _source(watch)}\n\n")
    poet = _speaker("POET", "You do not wait: you read. Every word is yours in the moment I find it.", 0.12)
    began_at = _now()
    replies = await watch(poet, show)
    ended_at = _now()
    tokens = [token async for message in replies async for token in message]
    await show(
        f"\n\n{len(tokens)} tokens came within {ended_at - began_at:.1f} s. I have just read all of them again,\n"
        f"in {(_now() - ended_at) * 1000:.1f} ms: what was streamed is kept for whoever comes later."
    )


# ----------------------------------------------------------------------------------------------------- parallel


def ask_all(agents: Sequence[MiniAgent]) -> list[MessageSequencePromise]:
    return [agent.inquire("How do you work?") for agent in agents]


async def _parallel(show: Show) -> None:
    await show(
        "Three agents at the same time, each at its own pace.\n`inquire()` returns at once, so none waits for another:"
        f"\n\n{await _source(ask_all)}\n\n"
    )
    agents = [
        _speaker("POET", "Three rivers run at once, and none of them asks the others for the way.", 0.09),
        _speaker("ENGINEER", "Each of us is one task. My reply is a promise that you read while I keep it.", 0.07),
        _speaker("CRITIC", "I was called last, and began with the first.", 0.16),
    ]
    columns = Columns([agent.alias for agent in agents], now=_now)
    await show(f"```text\n{columns.head()}")
    began_at = _now()
    took_s: list[float] = []

    async def read(column: int, replies: MessageSequencePromise) -> None:
        async for message in replies:
            async for token in message:
                await show(columns.add(column, token))
        took_s.append(_now() - began_at)

    async with asyncio.TaskGroup() as readers:
        for column, replies in enumerate(ask_all(agents)):
            readers.create_task(read(column, replies))
    each = " + ".join(f"{seconds:.1f}" for seconds in took_s)
    await show(
        f"\n```\n\nAll three were done after {_now() - began_at:.1f} s. One after another they would\n"
        f"have taken {sum(took_s):.1f} s ({each})."
    )


# ----------------------------------------------------------------------------------------------------- pipeline


async def shouter(ctx: InteractionContext) -> None:
    async for message in ctx.message_promises:
        with MessageTokenAppender() as tokens:
            ctx.reply(Message.promise(message_token_streamer=tokens))
            async for token in message:
                await tokens.append(token.upper())


shouting_agent = miniagent(shouter)


async def _pipeline(show: Show) -> None:
    await show(
        "One agent works on what another one is still writing.\nThis one shouts, from the writer's first token on:"
        f"\n\n{await _source(shouter, decorator='@miniagent')}\n\nCalled as `shouter.inquire(writer.inquire(...))`:\n\n"
    )
    writer = _speaker("WRITER", "A pipeline of agents is as late as its first token, not as its last one.", 0.13)
    columns = Columns([writer.alias, shouting_agent.alias], now=_now)
    await show(f"```text\n{columns.head()}")
    written: list[str] = []
    written_before_shout: list[int] = []

    async def read_writer(replies: MessageSequencePromise) -> None:
        async for message in replies:
            async for token in message:
                written.append(token)
                await show(columns.add(0, token))

    async def read_shouter(replies: MessageSequencePromise) -> None:
        async for message in replies:
            async for token in message:
                written_before_shout.append(len(written))
                await show(columns.add(1, token))

    text = writer.inquire("What is a pipeline?")
    async with asyncio.TaskGroup() as readers:
        readers.create_task(read_writer(text))
        readers.create_task(read_shouter(shouting_agent.inquire(text)))
    await show(
        f"\n```\n\nWhen the shouter's first token was there, the writer had written\n"
        f"{written_before_shout[0]} of its {len(written)} tokens."
    )


# ------------------------------------------------------------------------------------------------------- replay


async def read(message: MessagePromise, show_token: Show) -> None:
    async for token in message:
        await show_token(token)


async def _replay(show: Show) -> None:
    await show(
        "One stream, three readers. The third comes late, gets at once\nwhat it has missed, and goes on live with the "
        f"others:\n\n{await _source(read)}\n\n"
    )
    script = Script(
        "Whatever was streamed once can be read again, by anybody, from its very first token.", token_delay_s=0.14
    )
    writer = ScriptedAgent.fork(alias="WRITER", script=script)
    columns = Columns(["FIRST READER", "SECOND READER", "LATE READER"], now=_now)
    await show(f"```text\n{columns.head()}")
    half_is_there = asyncio.Event()
    shown = [0, 0, 0]

    async def show_token(column: int, token: str) -> None:
        await show(columns.add(column, token))
        shown[column] += 1
        if shown[0] == 7:
            half_is_there.set()

    async def read_late(message: MessagePromise) -> None:
        await half_is_there.wait()
        await read(message, partial(show_token, 2))

    async for message in writer.inquire("Can I read that again?"):
        async with asyncio.TaskGroup() as readers:
            readers.create_task(read(message, partial(show_token, 0)))
            readers.create_task(read(message, partial(show_token, 1)))
            readers.create_task(read_late(message))
    await show(
        f"\n```\n\nThe readers got {shown[0]}, {shown[1]} and {shown[2]} tokens. The writer was asked "
        f"{_times(len(script.prompts))}."
    )


DEMOS: Final[Mapping[str, Demo]] = {
    "stream": Demo("an agent answers token by token, and its answer is kept", _stream),
    "parallel": Demo("three agents stream side by side", _parallel),
    "pipeline": Demo("an agent starts on another one's first token", _pipeline),
    "replay": Demo("one stream, three readers, one of them late", _replay),
}
"""What `/demo NAME` can run."""


def _speaker(alias: str, text: str, token_delay_s: float) -> MiniAgent:
    return ScriptedAgent.fork(alias=alias, script=Script(text, token_delay_s=token_delay_s))


async def _source(function: Callable[..., Any], *, decorator: str = "") -> str:
    """The source of a function as a Markdown block; empty where Python runs without its sources."""
    try:
        # In a thread, as it reads a file.
        source = (await asyncio.to_thread(inspect.getsource, function)).rstrip()
    except OSError:
        return ""
    return f"```python\n{decorator}\n{source}\n```" if decorator else f"```python\n{source}\n```"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
