"""A program that runs for long holds no more memory than one that has just begun."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from tests.endurance.tools import A_MINUTE, AN_HOUR, Watched, allocated_blocks, outcome_of, times

DIALOGS = 5
HISTORY = 6
# Caches of the interpreter and of the package fill meanwhile; a leak of one block a turn would be thousands.
SLACK_BLOCKS = 1500


class AnswerError(Exception):
    pass


@miniagent
async def assistant(ctx: InteractionContext, dice: Any) -> None:
    history = [str(message) for message in await ctx.message_promises]

    async def tokens(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        metadata_so_far["heard"] = len(history)
        for word in ("You", " said: ", history[-1]):
            await asyncio.sleep(dice.uniform(0, 0.5))
            yield word
        if dice.random() < 0.05:
            raise AnswerError("in the middle of an answer")

    ctx.reply(Message.promise(message_token_streamer=tokens))


@miniagent
async def moderator(ctx: InteractionContext, dice: Any) -> None:
    """Passes on; sometimes it fails, sometimes it also asks an assistant whose answer nobody reads."""
    answering = assistant.fork(mutable_state={"dice": dice})
    ctx.reply(answering.inquire(ctx.message_promises, start_asap=dice.random() < 0.5))
    if dice.random() < 0.05:
        answering.kick_off("never mind")
    if dice.random() < 0.05:
        raise AnswerError("a moderator's")


async def dialog(number: int, until: float) -> int:
    dice = random.Random(number)
    loop = asyncio.get_running_loop()
    history: list[Any] = []
    turns = 0
    while loop.time() < until:
        turns += 1
        history.append(f"turn {turns}")
        replies = moderator.fork(mutable_state={"dice": dice}).inquire(
            history, errors_to_messages=dice.random() < 0.1 or None
        )
        match dice.choice(["stream", "await", "leave", "cancel"]):
            case "stream":
                await outcome_of(read_tokens(replies))
            case "await":
                await outcome_of(replies)
            case "leave":
                await outcome_of(asyncio.wait_for(anext(aiter(replies)), 0.2))
            case "cancel":
                async with replies:
                    await asyncio.sleep(0.5)
        history = [*history, f"answer {turns}"][-HISTORY:]
        await asyncio.sleep(dice.uniform(0, 5))
    return turns


async def read_tokens(replies: Any) -> None:
    async for message in replies:
        async for _ in message:
            pass


def grown_too_much(samples: list[int]) -> bool:
    """Whether the second half of the time holds more than the first, beyond what caches explain."""
    half = len(samples) // 2
    return min(samples[half:]) > max(samples[1 : half + 1]) + SLACK_BLOCKS


@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "with a listener"])
def test_an_hour_of_dialogs_does_not_grow(listens: bool) -> None:
    watched = Watched()
    samples: list[int] = []
    context = MiniAgents(background_errors="log", log_level_for_errors=10)
    heard = 0
    # What a listener needs is in proportion to the histories, so fewer show as much.
    dialog_count = 2 if listens else DIALOGS

    if listens:

        @context.on_persist_message
        async def hear(_: object, message: Message) -> None:
            nonlocal heard
            heard += 1

    async def main() -> int:
        until = times(AN_HOUR)
        dialogs = [asyncio.create_task(dialog(number, until)) for number in range(dialog_count)]
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(6 * A_MINUTE * times(1))
            samples.append(allocated_blocks())
        return sum(await asyncio.gather(*dialogs))

    turns, error = watched.run(context, main())

    assert error is None
    assert not watched.complaints
    assert turns > times(dialog_count * 600)
    assert heard > turns if listens else heard == 0
    assert not grown_too_much(samples), samples


def test_one_growing_dialog_holds_a_bounded_amount_for_each_turn() -> None:
    """The history is resent with each turn; what a turn costs in memory does not depend on how many came before."""
    watched = Watched()
    turns = times(300)
    samples: list[int] = []

    @miniagent
    async def counting(ctx: InteractionContext) -> None:
        ctx.reply(f"{len(await ctx.message_promises)} messages")

    async def main() -> None:
        history: list[Any] = []
        for turn in range(turns):
            if turn % (turns // 6) == 0:
                samples.append(allocated_blocks())
            history.append(f"turn {turn}")
            history.append(counting.inquire(history))
            assert str((await history[-1])[0]) == f"{len(history) - 1} messages"

    _, error = watched.run(MiniAgents(), main())

    assert error is None
    growth = [after - before for before, after in itertools.pairwise(samples[1:])]
    assert max(growth) < 1.5 * min(growth) + 200, growth


@pytest.mark.parametrize("how", ["read", "failed", "cancelled", "kicked off", "never read"])
def test_ended_calls_leave_nothing_behind(how: str) -> None:
    watched = Watched()
    samples: list[int] = []

    @miniagent
    async def answering(ctx: InteractionContext) -> None:
        ctx.reply(["a", "b"])
        if how == "failed":
            raise AnswerError("as planned")
        if how == "cancelled":
            await asyncio.sleep(A_MINUTE)

    async def one_call() -> None:
        if how == "kicked off":
            answering.kick_off("hi")
            return
        replies = answering.inquire("hi", start_asap=how != "never read")
        if how == "cancelled":
            await anext(aiter(replies))
            replies.cancel()
        if how != "never read":
            await outcome_of(replies)

    async def main() -> None:
        for _ in range(5):
            for _ in range(times(400)):
                await one_call()
            await MiniAgents.get_current().aflush_tasks()
            # asyncio keeps up to a hundred timers that were cancelled until their time has come.
            await asyncio.sleep(2 * A_MINUTE)
            samples.append(allocated_blocks())

    _, error = watched.run(MiniAgents(), main())

    assert error is None
    assert not watched.complaints
    assert samples[-1] - samples[1] < times(300), samples
