"""What the caller of a recorded agent gets, and when: what he would get without a journal."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import texts, tokens

pytestmark = pytest.mark.parametrize("marks", [{"durable": True}, {"memoize": True}], ids=["durable", "memoised"])


@pytest.fixture
def url(sqlite_url: str) -> str:
    return sqlite_url


async def test_a_reply_is_there_while_the_agent_goes_on(sqlite_url: str, marks: Any) -> None:
    may_end = asyncio.Event()

    @miniagent(**marks)
    async def slow(ctx: InteractionContext) -> None:
        ctx.reply("soon")
        await may_end.wait()
        ctx.reply("late")

    async with MiniAgents(journal=sqlite_url):
        replies = aiter(slow.inquire("x"))
        assert str(await (await anext(replies))) == "soon"
        may_end.set()
        assert str(await (await anext(replies))) == "late"


async def test_replies_of_others_stand_where_they_were_handed_on_and_come_as_they_come(kept: Kept, marks: Any) -> None:
    may_go_on = asyncio.Event()

    @miniagent
    async def helper(ctx: InteractionContext, name: str) -> None:
        ctx.reply(f"{name} 1")
        await may_go_on.wait()
        ctx.reply(f"{name} 2")

    @miniagent(**marks)
    async def asking(ctx: InteractionContext) -> None:
        ctx.reply("first")
        ctx.reply(helper.inquire("y", name="a"))
        ctx.reply(["between", helper.inquire("y", name="b")])
        ctx.reply("last")

    async with kept.mini_agents():
        promise = asking.inquire("x")
        replies = aiter(promise)
        seen = [str(await (await anext(replies))) for _ in range(2)]
        may_go_on.set()
        seen += [str(await reply) async for reply in replies]

    assert seen == ["first", "a 1", "a 2", "between", "b 1", "b 2", "last"]
    assert await kept.texts((await kept.call("ASKING")).replies) == seen
    async with kept.mini_agents():
        assert await texts(asking.inquire("x")) == seen


async def test_what_subtasks_reply_with_after_the_function_has_returned_counts(kept: Kept, marks: Any) -> None:
    async def reply_later(ctx: InteractionContext) -> None:
        await asyncio.sleep(0)
        ctx.reply("of a subtask")

    @miniagent(**marks)
    async def dividing(ctx: InteractionContext) -> None:
        ctx.wait_for(reply_later(ctx))
        ctx.reply("of the agent")

    async with kept.mini_agents():
        assert await texts(dividing.inquire("x")) == ["of the agent", "of a subtask"]
    assert await kept.texts((await kept.call("DIVIDING")).replies) == ["of the agent", "of a subtask"]


async def test_what_is_sent_out_of_order_gets_ahead_of_what_is_not_there_yet(kept: Kept, marks: Any) -> None:
    may_go_on = asyncio.Event()

    @miniagent
    async def helper(ctx: InteractionContext) -> None:
        await may_go_on.wait()
        ctx.reply("slow")

    @miniagent
    async def quick(ctx: InteractionContext) -> None:
        ctx.reply("quick")

    @miniagent(**marks)
    async def asking(ctx: InteractionContext) -> None:
        ctx.reply("first")
        ctx.reply(helper.inquire("y"))
        ctx.reply_out_of_order(quick.inquire("y"))

    async with kept.mini_agents():
        replies = aiter(asking.inquire("x"))
        seen = [str(await (await anext(replies))) for _ in range(2)]
        may_go_on.set()
        seen += [str(await reply) async for reply in replies]
    assert seen == ["first", "quick", "slow"]
    assert await kept.texts((await kept.call("ASKING")).replies) == seen


async def test_a_cancelled_call_cleans_up_undisturbed_and_takes_what_it_started_with_it(kept: Kept, marks: Any) -> None:
    ended: list[str] = []
    is_asked = asyncio.Event()

    async def until_cancelled(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            # A second cancellation would be raised here.
            await asyncio.sleep(0)
            ended.append(name)

    @miniagent
    async def helper(ctx: InteractionContext) -> None:
        is_asked.set()
        await until_cancelled("helper")

    @miniagent(**marks)
    async def asking(ctx: InteractionContext) -> None:
        helper.inquire("y")
        await until_cancelled("asking")

    async with kept.mini_agents():
        replies = asking.inquire("x")
        await is_asked.wait()
        assert replies.cancel()
        with pytest.raises(PromiseCancelledError):
            await replies

    assert sorted(ended) == ["asking", "helper"]
    assert (await kept.call("ASKING")).state == "started"


async def test_a_cancellation_that_is_none_of_the_call_is_its_error(kept: Kept, marks: Any) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    @miniagent(**marks)
    async def trusting(ctx: InteractionContext) -> None:
        task = asyncio.create_task(never())
        task.cancel()
        await task

    async with kept.mini_agents():
        with pytest.raises(PromiseCancelledError):
            await trusting.inquire("x")
    assert (await kept.call("TRUSTING")).state == "failed"


async def test_an_agent_may_time_out_what_it_waits_for(kept: Kept, marks: Any) -> None:
    @miniagent(**marks)
    async def patient(ctx: InteractionContext) -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            ctx.reply("it took too long")

    async with kept.mini_agents():
        assert await texts(patient.inquire("x")) == ["it took too long"]
    assert (await kept.call("PATIENT")).state == "finished"


async def test_the_replies_may_be_closed_before_the_agent_ends(kept: Kept, marks: Any) -> None:
    ended: list[str] = []

    @miniagent(**marks)
    async def tidy(ctx: InteractionContext) -> None:
        ctx.reply("all")
        await ctx.afinish_early()
        await asyncio.sleep(0)
        ended.append("tidy")

    async with kept.mini_agents():
        assert await texts(tidy.inquire("x")) == ["all"]
    assert ended == ["tidy"]
    assert (await kept.call("TIDY")).state == "finished"


async def test_tokens_of_an_async_iterable_come_one_by_one(kept: Kept, marks: Any) -> None:
    async def messages() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0)
        yield "b"

    @miniagent(**marks)
    async def generous(ctx: InteractionContext) -> None:
        ctx.reply(messages())
        ctx.reply("c")

    async with kept.mini_agents():
        assert await tokens(generous.inquire("x")) == [["a"], ["b"], ["c"]]
    assert await kept.texts((await kept.call("GENEROUS")).replies) == ["a", "b", "c"]
