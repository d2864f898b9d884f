"""One stream, three readers, one of them late: each sees every token, and the work is done once."""

import asyncio

from miniagents import Message, MessagePromise, MessageTokenAppender, MiniAgents


async def read(name: str, message: MessagePromise) -> None:
    async for token in message:
        print(f"{name} reads {token!r}")


async def main() -> None:
    with MessageTokenAppender() as tokens:
        message = Message.promise(message_token_streamer=tokens)
        async with asyncio.TaskGroup() as readers:
            readers.create_task(read("first", message))
            readers.create_task(read("second", message))
            for token in ("to ", "be ", "continued"):
                print(f"written: {token!r}")
                # Awaiting it lets the readers go first.
                await tokens.append(token)

            print("The late reader arrives, and misses nothing:")
            readers.create_task(read("late", message))
            await asyncio.sleep(0)
            tokens.append("!")
            tokens.close()

        print("The whole:", await message)


if __name__ == "__main__":
    MiniAgents().run(main())
