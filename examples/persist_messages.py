"""Every message can be stored under the hash of its content, as in git; equal content has an equal hash."""

from miniagents import InteractionContext, Message, MiniAgents, miniagent

mini_agents = MiniAgents()


@mini_agents.on_persist_message
async def persist_message(_: object, message: Message) -> None:
    # Here you could save it to a database. The record of each call, and of its replies, comes by as well.
    print(f"Persisting {message.class_} with hash key: {message.hash_key}")


@miniagent
async def polite_agent(ctx: InteractionContext) -> None:
    ctx.reply("You are welcome.")


async def main() -> None:
    await polite_agent.inquire("Thank you!")


if __name__ == "__main__":
    mini_agents.run(main())
