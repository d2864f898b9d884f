"""What `agent_loop` does, in five lines: `chain_forever` below."""

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent


@miniagent
async def chain_forever(ctx: InteractionContext, user: MiniAgent, assistant: MiniAgent) -> None:
    messages = ctx.message_promises
    while True:
        messages = user.inquire(messages)
        # Here `agent_loop` needs its `AWAIT`. `inquire()` returns at once, with promises; without waiting for the user
        # the loop would call both agents for ever, and none of them would ever get to run.
        if not await messages:
            break
        messages = assistant.inquire(messages)


@miniagent
async def user_agent(ctx: InteractionContext, lines: list[str]) -> None:
    async for msg_promise in ctx.message_promises:
        print("ASSISTANT:", await msg_promise)
    if lines:
        print("USER:", lines[0])
        ctx.reply(lines.pop(0))


@miniagent
async def assistant_agent(ctx: InteractionContext) -> None:
    ctx.reply(f'You said "{await ctx.message_promises.as_single_promise()}"')


async def main() -> None:
    user = user_agent.fork(mutable_state={"lines": ["hi", "nice!", "bye"]})
    await chain_forever.inquire(user=user, assistant=assistant_agent)


if __name__ == "__main__":
    MiniAgents().run(main())
