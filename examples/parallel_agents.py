"""Three models are asked at the same time, and their tokens arrive together, each in its own line.

`inquire()` returns at once, so asking three models takes as long as the slowest, and nothing has to be gathered.
"""

import asyncio

from miniagents import MessageSequencePromise, MiniAgents
from miniagents.ext.llms import Script, ScriptedAgent

STEP_S = 0.05
ANSWERS = {
    "hare": [STEP_S, "I ", STEP_S, "am ", STEP_S, "done!"],
    "tortoise": [STEP_S * 1.5, "Slow ", STEP_S * 2, "and ", STEP_S * 2, "steady."],
    "snail": [STEP_S * 2.3, "Wait ", STEP_S * 4, "for ", STEP_S * 4, "me!"],
}


async def show(name: str, replies: MessageSequencePromise) -> None:
    async for msg_promise in replies:
        async for token in msg_promise:
            print(f"{name:>8}: {token}")


async def main() -> None:
    replies = {
        name: ScriptedAgent.fork(script=Script(steps)).inquire("How is the race?") for name, steps in ANSWERS.items()
    }
    async with asyncio.TaskGroup() as readers:
        for name, sequence in replies.items():
            readers.create_task(show(name, sequence))

    # All is still there, to be read again, in any order.
    print("\nIn the order of asking:")
    for name, sequence in replies.items():
        print(f"{name:>8}: {await sequence.as_single_promise()}")


if __name__ == "__main__":
    MiniAgents().run(main())
