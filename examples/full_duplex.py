"""A call in both directions at once: each message that is sent depends on the reply to the one before it."""

from miniagents import InteractionContext, MiniAgents, miniagent

SECRET = 37


@miniagent
async def oracle(ctx: InteractionContext) -> None:
    async for msg_promise in ctx.message_promises:
        guess = int(str(await msg_promise))
        ctx.reply("right" if guess == SECRET else "higher" if guess < SECRET else "lower")


async def main() -> None:
    low, high = 1, 100
    call = oracle.initiate_inquiry()
    # The replies can be read while the call is still open for messages.
    replies = aiter(call.reply_sequence(close_request_sequence=False))
    while True:
        guess = (low + high) // 2
        call.send_message(str(guess))
        answer = str(await (await anext(replies)))  # The next message promise, and then its message.
        print(f"{guess}? {answer}")
        if answer == "right":
            break
        low, high = (guess + 1, high) if answer == "higher" else (low, guess - 1)
    call.finish()


if __name__ == "__main__":
    MiniAgents().run(main())
