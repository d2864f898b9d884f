"""A program asks a person, is killed, and finds the answers when it is started again, whoever gave them meanwhile."""

import asyncio
import subprocess
import sys

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.ext.llms import ScriptedAgent

JOURNAL, RUN = "sqlite:///release.db", "release-2"


@miniagent
async def release(ctx: InteractionContext) -> None:
    [notes] = await ScriptedAgent.inquire("What is new?", script="Everything is faster.")
    # Both are asked at once; only this agent waits, for as long as it takes.
    approval, title = await asyncio.gather(
        ctx.ask(f"Publish {str(notes)!r}?", key="approve"),
        ctx.ask("Which title?", key="title"),
    )
    ctx.reply(f"{title}: {notes}" if approval == "yes" else "It is not published.")


async def main() -> None:
    print(await release.inquire().as_single_promise())


def person(*answer: str) -> None:
    """Type `miniagents ask RUN KEY ANSWER` at a terminal."""
    subprocess.run([sys.executable, "-m", "miniagents", "ask", "--journal", JOURNAL, *answer], check=True)


if __name__ == "__main__":
    program = [sys.executable, __file__, "start"]
    if sys.argv[1:] == ["start"]:
        MiniAgents(journal=JOURNAL, run_id=RUN).run(main())
    else:
        with subprocess.Popen(program, stderr=subprocess.PIPE, encoding="utf-8") as first:
            assert first.stderr is not None
            for _ in range(2):
                print(first.stderr.readline(), end="", flush=True)
            first.kill()
        # In any order, and on any day.
        person(RUN, "title", "Version 2 is here")
        person(RUN, "approve", "yes")
        subprocess.run(program, check=True)
