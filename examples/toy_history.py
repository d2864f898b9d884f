"""A history agent of one's own. What it must remember between calls goes to `mutable_state`.

Settings of an agent are frozen. `mutable_state` is the exception: its values reach the agent as they are, and are
shared by all its calls. A history agent keeps what it is given and replies with everything that it has kept.
"""

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext import dialog_loop, user_agent


@miniagent
async def toy_history(ctx: InteractionContext, kept: list[Message]) -> None:
    kept.extend(await ctx.message_promises)
    ctx.reply(kept)


@miniagent
async def show(ctx: InteractionContext) -> None:
    async for msg_promise in ctx.message_promises:
        print(f"ASSISTANT: {await msg_promise}")


@miniagent
async def read(ctx: InteractionContext, lines: list[str]) -> None:
    if not lines:
        raise EOFError  # The end of the dialog.
    line = lines.pop(0)
    print(f"USER: {line}")
    ctx.reply(line)


@miniagent
async def assistant(ctx: InteractionContext) -> None:
    conversation = await ctx.message_promises
    ctx.reply(f"That was message {len(conversation)}; the first one was {str(conversation[0])!r}.")


async def main() -> None:
    kept: list[Message] = []
    user = user_agent.fork(
        output_agent=show,
        input_agent=read.fork(mutable_state={"lines": ["hi", "again", "bye"]}),
        history_agent=toy_history.fork(mutable_state={"kept": kept}),
    )
    await dialog_loop.inquire(user_agent=user, assistant_agent=assistant)
    print("Kept:", len(kept), "messages")


if __name__ == "__main__":
    MiniAgents().run(main())
