"""A timeout that really stops the work, with everything that it has started, and keeps what there is so far."""

import asyncio

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError


@miniagent
async def digger(ctx: InteractionContext) -> None:
    try:
        for depth in (1, 2, 3):
            ctx.reply(f"dug {depth} m")
        await asyncio.sleep(1_000_000)  # Solid rock.
        ctx.reply("found gold")
    finally:
        print("The digger puts the spade away.")


@miniagent
async def foreman(ctx: InteractionContext) -> None:
    ctx.reply(digger.inquire())
    try:
        await asyncio.sleep(1_000_000)
    finally:
        print("The foreman goes home.")


async def main() -> None:
    replies = foreman.inquire()
    try:
        # Leaving the block, in whichever way, cancels what is unfinished.
        async with asyncio.timeout(0.1), replies:
            async for msg_promise in replies:
                print(await msg_promise)
    except TimeoutError:
        print("That is enough.")
    await asyncio.sleep(0)  # What was cancelled tidies up at the next task switch.

    print("Afterwards one can still read:")
    try:
        async for msg_promise in replies:
            print(await msg_promise)
    except PromiseCancelledError:
        print("(and here it was cancelled)")


if __name__ == "__main__":
    MiniAgents().run(main())
