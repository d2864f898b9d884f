"""A program that is killed in the middle and started again: what it has been told by models is not asked again."""

import os
import subprocess
import sys

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.ext.llms import Prompt, ScriptedAgent


def answer(prompt: Prompt) -> str:
    """Stand for a model, such as `OpenAIAgent.fork(model=...)`, that is paid for."""
    print(f"  (the model works: {prompt.last_text})", flush=True)
    if prompt.last_text.startswith("sum up") and sys.argv[1] == "killed":
        # As sudden as `kill -9`: nothing is cleaned up, no `finally` is run.
        os._exit(1)
    return f"done: {prompt.last_text}"


model = ScriptedAgent.fork(script=answer)


@miniagent(durable=True)
async def mailer(ctx: InteractionContext) -> None:
    """Stand for something that acts outside. Its key is the same in each start: the service outside can tell."""
    text = await ctx.message_promises.as_single_promise()
    print(f"  (mail with a key of {len(await ctx.call_key())} characters: {text})")
    ctx.reply("the mail is out")


@miniagent
async def report(ctx: InteractionContext) -> None:
    """Say what is to be done, in any way that Python can say it: it simply runs again."""
    chapters = [model.inquire(f"chapter {number}") for number in (1, 2, 3)]  # all at the same time
    texts = [str(await chapter.as_single_promise()) for chapter in chapters]
    ctx.reply(mailer.inquire(model.inquire(f"sum up {len(texts)} chapters")))


async def main() -> None:
    print(" ", await report.inquire().as_single_promise())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        MiniAgents(journal="sqlite:///report.db", run_id="monday").run(main())
    else:
        for start in ("killed", "resumed"):
            print(start, flush=True)
            ended = subprocess.run([sys.executable, __file__, start], check=False)
            print("  exit code:", ended.returncode)
