"""An agent that works until it is stopped, and what happened to it."""

import asyncio

from miniagents import InteractionContext, miniagent


class Trace:
    """What became of the agents of one test."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.cleaned_up: list[str] = []


@miniagent
async def endless(ctx: InteractionContext, trace: Trace, name: str = "endless") -> None:
    trace.started.append(name)
    ctx.reply(f"{name} works")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        trace.cancelled.append(name)
        raise
    finally:
        await asyncio.sleep(0)
        trace.cleaned_up.append(name)
