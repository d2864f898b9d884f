"""An agent that starts on another's first token: both work at the same time, though one feeds the other."""

from collections.abc import AsyncIterator
from typing import Any

from miniagents import InteractionContext, Message, MessagePromise, MiniAgents, miniagent
from miniagents.ext import agent_chain
from miniagents.ext.llms import Script, ScriptedAgent

storyteller = ScriptedAgent.fork(script=Script(["Once ", 0.05, "upon ", 0.05, "a ", 0.05, "time."]))


def in_capitals(heard: MessagePromise) -> MessagePromise:
    async def tokens(_metadata: dict[str, Any]) -> AsyncIterator[str]:
        async for token in heard:
            print(f"  heard {token!r}")
            yield token.upper()

    return Message.promise(message_token_streamer=tokens)


@miniagent
async def shouter(ctx: InteractionContext) -> None:
    async for msg_promise in ctx.message_promises:
        ctx.reply(in_capitals(msg_promise))


async def main() -> None:
    async for msg_promise in agent_chain.inquire("Tell me a story", agents=[storyteller, shouter]):
        async for token in msg_promise:
            print(f"shouted {token!r}")


if __name__ == "__main__":
    MiniAgents().run(main())
