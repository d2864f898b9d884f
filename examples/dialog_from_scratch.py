"""A dialog between a user and an agent, both made by hand; `agent_loop` lets them take turns.

`AWAIT` is what makes it a dialog: without it, agents start on the first token of the one before them, so the assistant
would be asked, and then the user again, and so on for ever, before the user has typed anything.
"""

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.ext import AWAIT, agent_loop


@miniagent
async def user_agent(ctx: InteractionContext) -> None:
    async for msg_promise in ctx.message_promises:
        print("ASSISTANT: ", end="", flush=True)
        async for token in msg_promise:
            print(token, end="", flush=True)
        print()
    # Nothing else runs while `input()` waits; the ready-made `console_input_agent` lets the other agents go on.
    ctx.reply(input("USER: "))  # noqa: ASYNC250


@miniagent
async def assistant_agent(ctx: InteractionContext) -> None:
    # One message promise for the whole sequence; were there several messages, empty lines would separate them.
    aggregated_message = await ctx.message_promises.as_single_promise()
    ctx.reply(f'You said "{aggregated_message}"')


async def main() -> None:
    agent_loop.kick_off(agents=[user_agent, AWAIT, assistant_agent])


if __name__ == "__main__":
    MiniAgents().run(main())
