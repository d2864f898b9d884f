"""Where a message comes from, also through messages that were put together."""

import pytest

from miniagents import InteractionContext, Message, miniagent
from miniagents.journal import Journal
from tests.unit.journal.conftest import Kept, call, collected, record


@miniagent(durable=True)
async def source(ctx: InteractionContext, name: str) -> None:
    ctx.reply([f"{name} one", f"{name} two"])


@miniagent(durable=True)
async def summary(ctx: InteractionContext) -> None:
    await ctx.message_promises
    ctx.reply("the end")


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["put together", "put together and wrapped"])
async def test_the_calls_that_made_what_was_put_into_one_message_are_told(kept: Kept, is_wrapped: bool) -> None:
    async with kept.mini_agents():
        together = await source.inquire(name="a").as_single_promise()
        (end,) = await summary.inquire(Message("wrapped", within=together) if is_wrapped else together)

    told = await collected(kept.journal.why(end.hash_key))

    assert [one.agent for one in told] == ["SUMMARY", "SOURCE"]


async def test_a_message_that_nobody_replied_with_comes_from_those_who_made_what_is_inside_it(journal: Journal) -> None:
    run = await journal.begin_run("r")
    inner = Message("inner")
    outer = Message("outer", within=Message("between", within=inner))
    await record(run, call("maker", "question", agent="maker"), inner)
    await record(run, call("user", outer, agent="user"), "done")

    assert [one.agent async for one in journal.why(outer.hash_key)] == ["maker"]
    assert [one.agent async for one in journal.why(Message("done").hash_key)] == ["user", "maker"]
