"""An agent, and an interceptor that passes its replies on."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from miniagents import (
    InteractionContext,
    InterceptedCall,
    MessageSequencePromise,
    miniagent,
)

Proceed = Callable[[], MessageSequencePromise]


@miniagent
async def echo(ctx: InteractionContext, k: int = 0) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


class PassingOn:
    """Changes nothing and remembers what it saw."""

    def __init__(self, name: str = "", events: list[str] | None = None) -> None:
        self.name = name
        self.calls: list[InterceptedCall] = []
        self.replies: list[str] = []
        self.events: list[str] = [] if events is None else events

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        self.calls.append(call)
        self.events.append(f"{self.name} in")
        async for reply in proceed():
            yield reply
            self.replies.append(str(await reply))
        self.events.append(f"{self.name} out")
