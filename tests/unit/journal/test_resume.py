"""The same program, started again with the same run id, goes on where it was cut off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext.llms import Script, ScriptedAgent, tool_call
from miniagents.usage import UsageLimits
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import asking, leaf, streamed, texts, tokens


class CutOff(Exception):
    """Stands for whatever ended the program."""


async def test_finished_leaves_are_not_executed_again_and_say_the_same_in_the_same_tokens(kept: Kept) -> None:
    did: list[str] = []
    boss = asking(leaf(did, "A"), leaf(did, "B"))

    async with kept.mini_agents():
        first = await tokens(boss.inquire("x"))
    async with kept.mini_agents():
        second = await tokens(boss.inquire("x"))

    assert first == second == [["re", ": ", "x"], ["re", ": ", "x"]]
    assert did == ["x", "x"]
    assert {one.agent: one.attempts for one in await kept.calls()} == {"BOSS": 2, "A": 1, "B": 1}


async def test_what_was_in_flight_and_what_had_failed_runs_again(kept: Kept) -> None:
    did: list[str] = []
    is_well = False

    @miniagent(durable=True)
    async def fragile(ctx: InteractionContext) -> None:
        did.append("fragile")
        if not is_well:
            raise ConnectionError("no network")
        ctx.reply("worked")

    @miniagent(durable=True)
    async def slow(ctx: InteractionContext) -> None:
        did.append("slow")
        ctx.reply("half")
        if not is_well:
            await asyncio.Event().wait()

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(await leaf(did).inquire("whole"))
        kept_alive = slow.inquire("x")
        await anext(aiter(kept_alive))
        ctx.reply(await fragile.inquire("x"))
        ctx.reply(kept_alive)

    with pytest.raises(ConnectionError):
        async with kept.mini_agents():
            await boss.inquire("go")
    assert (await kept.run()).state == "failed"
    before = await kept.states()
    is_well = True
    async with kept.mini_agents():
        assert await texts(boss.inquire("go")) == ["re: whole", "worked", "half"]

    assert before == {"BOSS": "failed", "LEAF": "finished", "FRAGILE": "failed", "SLOW": before["SLOW"]}
    assert before["SLOW"] != "finished"
    assert did == ["whole", "slow", "fragile", "slow", "fragile"]
    assert (await kept.run()).state == "finished"
    assert {one.agent: (one.state, one.attempts) for one in await kept.calls()} == {
        "BOSS": ("finished", 2), "LEAF": ("finished", 1), "FRAGILE": ("finished", 2), "SLOW": ("finished", 2),
    }  # fmt: skip
    assert await kept.texts((await kept.call("SLOW")).replies) == ["half"]


async def test_calls_that_went_on_together_match_in_whatever_order_they_finish(kept: Kept) -> None:
    did: list[str] = []
    order = ["b", "a"]
    other_is_done = [asyncio.Event()]

    @miniagent(durable=True)
    async def worker(ctx: InteractionContext) -> None:
        told = str(await ctx.message_promises.as_single_promise())
        did.append(told)
        if order[0] != told:
            await other_is_done[0].wait()
        ctx.reply(f"{told} done")
        other_is_done[0].set()

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        found = await asyncio.gather(worker.inquire("a"), worker.inquire("b"))
        ctx.reply([*found])

    async with kept.mini_agents():
        assert await texts(boss.inquire()) == ["a done", "b done"]
    order[:] = ["a", "b"]
    other_is_done[0] = asyncio.Event()
    async with kept.mini_agents():
        assert await texts(boss.inquire()) == ["a done", "b done"]

    assert sorted(did) == ["a", "b"]


async def test_equal_calls_are_answered_in_the_order_in_which_they_are_made(kept: Kept) -> None:
    numbers = iter(range(10))

    @miniagent(durable=True)
    async def dice(ctx: InteractionContext) -> None:
        ctx.reply(f"rolled {next(numbers)}")

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        first, second = dice.inquire("roll"), dice.inquire("roll")
        ctx.reply([await second, await first])

    async with kept.mini_agents():
        first = await texts(boss.inquire())
    async with kept.mini_agents():
        assert await texts(boss.inquire()) == first

    assert sorted(first) == ["rolled 0", "rolled 1"]
    assert next(numbers) == 2


async def test_orchestrators_that_are_called_the_other_way_round_find_their_own(kept: Kept) -> None:
    numbers = iter(range(10))

    @miniagent(durable=True)
    async def dice(ctx: InteractionContext) -> None:
        ctx.reply(f"rolled {next(numbers)}")

    boss = asking(dice)

    async with kept.mini_agents():
        left, right = await texts(boss.inquire("left")), await texts(boss.inquire("right"))
    async with kept.mini_agents():
        assert await texts(boss.inquire("right")) == right
        assert await texts(boss.inquire("left")) == left

    assert next(numbers) == 2


async def test_a_leaf_gets_its_input_whole_and_an_orchestrator_gets_it_as_it_comes(kept: Kept) -> None:
    release = asyncio.Event()
    seen: list[str] = []

    async def stream(_: Any) -> AsyncIterator[str]:
        yield "one "
        await release.wait()
        yield "two"

    @miniagent(durable=True)
    async def whole(ctx: InteractionContext) -> None:
        seen.extend([f"leaf: {token}" async for token in ctx.message_promises.as_single_promise()])
        ctx.reply("ok")

    @miniagent
    async def live(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            async for token in promise:
                seen.append(f"live: {token}")
                release.set()
        ctx.reply(whole.inquire(ctx.message_promises))

    for _ in range(2):
        release.clear()
        async with kept.mini_agents():
            assert await texts(live.inquire(Message.promise(message_token_streamer=stream))) == ["ok"]

    assert [one for one in seen if one.startswith("live")] == ["live: one ", "live: two"] * 2
    assert [one for one in seen if one.startswith("leaf")] != []
    assert (await kept.call("WHOLE")).attempts == 1


async def test_leaves_below_an_orchestrator_that_was_called_before_its_input_was_there_are_found(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did)
    boss = asking(agent)

    async def program() -> list[str]:
        calls = [boss.initiate_inquiry(), boss.initiate_inquiry()]
        await asyncio.sleep(0)
        for call, text in zip(calls, ["a", "b"], strict=True):
            call.send_message(text)
        return [text for call in calls for text in await texts(call.reply_sequence())]

    for _ in range(2):
        async with kept.mini_agents():
            assert await program() == ["re: a", "re: b"]

    assert sorted(did) == ["a", "b"]


async def test_a_tool_that_had_finished_is_not_run_again_for_a_model_that_was_cut_off(kept: Kept) -> None:
    paid: list[str] = []

    async def pay(whom: str) -> str:
        """Pay somebody."""
        paid.append(whom)
        return f"{whom} is paid"

    def model(*replies: Any) -> Any:
        return ScriptedAgent.fork(alias="MODEL", script=Script(*replies), tools=[pay], max_retries=0)

    with pytest.raises(CutOff):
        async with kept.mini_agents():
            await model([tool_call("pay", {"whom": "Ann"}, "call-1")], CutOff("killed")).inquire("Pay Ann.")
    async with kept.mini_agents():
        replies = await texts(model("Done.").inquire("Pay Ann."))

    assert replies[-1] == "Done."
    assert paid == ["Ann"]


class Sum(BaseModel):
    total: int


async def test_an_answer_from_the_journal_is_parsed_like_one_from_the_model(kept: Kept) -> None:
    model = ScriptedAgent.fork(script=Script('{"total": 4}'), response_model=Sum)

    for _ in range(2):
        async with kept.mini_agents():
            (answer,) = await model.inquire("2 + 2?")
            assert answer.parsed == Sum(total=4)


async def test_an_answer_from_the_journal_counts_nothing_towards_the_limits(kept: Kept) -> None:
    model = ScriptedAgent.fork(script=Script("a b c"))
    boss = asking(model)

    async with kept.mini_agents():
        await boss.inquire("q")
    async with kept.mini_agents(usage_limits=UsageLimits(requests=1)) as context:
        await boss.inquire("q")
        assert context.usage.total.requests == 0

    assert (await kept.run()).usage.requests == 1


async def test_the_program_goes_on_with_what_is_new_behind_what_it_finds(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did)

    async with kept.mini_agents():
        await agent.inquire("a")
    async with kept.mini_agents() as context:
        assert await texts(agent.inquire("a")) == ["re: a"]
        assert await texts(agent.inquire(["b", streamed("c")])) == ["re: b c"]
        assert context.is_active

    assert did == ["a", "b c"]
    assert (await kept.run()).calls == 2


async def test_a_run_without_a_name_has_a_new_one_each_time(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did)

    for _ in range(2):
        async with MiniAgents(journal=kept.setting):
            await agent.inquire("a")

    assert did == ["a", "a"]
    assert len({run.run_id async for run in kept.journal.runs()}) == 2


async def test_a_fork_is_another_agent_only_where_its_settings_are(kept: Kept) -> None:
    did: list[str] = []

    @miniagent(durable=True)
    async def worker(ctx: InteractionContext, size: int = 1) -> None:
        did.append(f"size {size}")
        ctx.reply("ok")

    async with kept.mini_agents():
        await worker.fork(size=2).inquire("x")
    async with kept.mini_agents():
        await worker.inquire("x", size=2)
        await worker.inquire("x", size=3)

    assert did == ["size 2", "size 3"]
