"""Three ways to open a `MiniAgents` context: around a main function, around a block, and by hand."""

import asyncio

from miniagents import InteractionContext, MiniAgents, miniagent


@miniagent
async def greeter(ctx: InteractionContext) -> None:
    ctx.reply(f"Hello, {await ctx.message_promises.as_single_promise()}!")


async def greet(whom: str) -> None:
    print(await greeter.inquire(whom).as_single_promise())


async def as_context_manager() -> None:
    async with MiniAgents():
        await greet("async with")


async def by_hand() -> None:
    # For servers and the like, where no function goes around everything: `activate()` in the start-up hook is enough.
    mini_agents = MiniAgents()
    mini_agents.activate()
    try:
        await greet("activate")
    finally:
        await mini_agents.afinalize()


if __name__ == "__main__":
    MiniAgents().run(greet("run"))
    asyncio.run(as_context_manager())
    asyncio.run(by_hand())
