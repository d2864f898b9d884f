"""Which of several equal calls of a resumed run gets which answer, where some of them were cut off."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from miniagents import InteractionContext, MiniAgent, miniagent
from miniagents.journal import UncertainCallError
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import texts

Inputs = Callable[[], Any]
OnUncertain = Literal["retry", "ask", "fail"]


@miniagent
async def source(ctx: InteractionContext) -> None:
    ctx.reply("10 EUR")


def several() -> Any:
    return ["EUR", "10"]


def nested() -> Any:
    return [["EUR"], "10"]


def replies_of_another_call() -> Any:
    return source.inquire("how much?")


class TwoOrders:
    """Two callers pay the same; in the first attempt `a` comes first, in the second `b`, and `b` is cut off."""

    def __init__(self, inputs: Inputs, *, same_parent: bool = False, on_uncertain: OnUncertain = "retry") -> None:
        self.attempt = 0
        self.paid: list[str] = []
        self.told: dict[str, str] = {}
        self._inputs = inputs
        self._same_parent = same_parent
        self._on_uncertain: OnUncertain = on_uncertain

    async def run(self, kept: Kept) -> dict[str, Any]:
        self.attempt += 1
        first_is_over, second_has_begun = asyncio.Event(), asyncio.Event()
        calls: dict[str, Any] = {}

        @miniagent(alias="PAY", durable=True, on_uncertain=self._on_uncertain)
        async def pay(ctx: InteractionContext) -> None:
            self.paid.append(f"attempt {self.attempt}")
            if self.attempt == 1 and first_is_over.is_set():
                second_has_begun.set()
                await asyncio.Event().wait()
            ctx.reply(f"receipt {len(self.paid)}")

        async def one(name: str, inputs: Any) -> str:
            if (name == "a") == (self.attempt > 1):
                await first_is_over.wait()
            calls[name] = pay.inquire(inputs)
            try:
                (receipt,) = await texts(calls[name])
            finally:
                first_is_over.set()
            return receipt

        @miniagent(alias="ORDER")
        async def order(ctx: InteractionContext, name: str) -> None:
            ctx.reply(await one(name, self._inputs()))

        async with kept.mini_agents():
            if self._same_parent:
                # Called in the same order each time; what comes of it does not come in the same order.
                tasks = {name: asyncio.ensure_future(one(name, source.inquire(f"for {name}"))) for name in "ab"}
            else:
                tasks = {name: asyncio.ensure_future(self._first_text(order.inquire(name=name))) for name in "ab"}
            if self.attempt == 1:
                await second_has_begun.wait()
                calls["b"].cancel()
            outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        return dict(zip(tasks, outcomes, strict=True))

    @staticmethod
    async def _first_text(replies: Any) -> str:
        (text,) = await texts(replies)
        return text


@pytest.mark.parametrize("inputs", [several, nested, replies_of_another_call])
async def test_a_caller_gets_its_own_answer_though_an_equal_call_of_another_one_comes_first(
    kept: Kept, inputs: Inputs
) -> None:
    program = TwoOrders(inputs)

    first = await program.run(kept)
    second = await program.run(kept)

    assert first["a"] == second["a"] == "receipt 1"
    assert second["b"] == "receipt 3"
    assert program.paid == ["attempt 1", "attempt 1", "attempt 2"]


@pytest.mark.parametrize("inputs", [several, replies_of_another_call])
async def test_what_must_not_happen_twice_fails_for_the_one_that_was_cut_off_and_for_no_other(
    kept: Kept, inputs: Inputs
) -> None:
    program = TwoOrders(inputs, on_uncertain="fail")

    await program.run(kept)
    second = await program.run(kept)

    assert second["a"] == "receipt 1"
    assert isinstance(second["b"], UncertainCallError)
    assert program.paid == ["attempt 1", "attempt 1"]


async def test_below_one_caller_too_each_call_gets_its_own_answer(kept: Kept) -> None:
    program = TwoOrders(several, same_parent=True)

    first = await program.run(kept)
    second = await program.run(kept)

    assert first["a"] == second["a"] == "receipt 1"
    assert program.paid == ["attempt 1", "attempt 1", "attempt 2"]


def renamed(alias: str) -> MiniAgent:
    @miniagent(alias=alias)
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("10 EUR")

    return agent


async def test_the_answer_to_replies_of_another_agent_is_found_when_that_was_renamed(kept: Kept) -> None:
    paid: list[str] = []

    @miniagent(durable=True)
    async def pay(ctx: InteractionContext) -> None:
        paid.append(str(await ctx.message_promises.as_single_promise()))
        ctx.reply(f"receipt {len(paid)}")

    for name in ("OLD", "NEW", "NEW"):
        async with kept.mini_agents():
            assert await texts(pay.inquire(renamed(name).inquire("how much?"))) == ["receipt 1"]
    assert paid == ["10 EUR"]


async def test_what_another_agent_said_before_is_another_question_and_its_answer_is_kept(kept: Kept) -> None:
    paid: list[str] = []

    @miniagent(alias="PAY", durable=True)
    async def pay(ctx: InteractionContext) -> None:
        paid.append(str(await ctx.message_promises.as_single_promise()))
        ctx.reply(f"receipt {len(paid)}")

    receipts: list[list[str]] = []
    for said in ("10 EUR", "12 EUR", "10 EUR"):

        @miniagent(alias="PRICE")
        async def price(ctx: InteractionContext, said: str = said) -> None:
            ctx.reply(said)

        async with kept.mini_agents():
            receipts.append(await texts(pay.inquire(price.inquire("how much?"))))

    assert receipts == [["receipt 1"], ["receipt 2"], ["receipt 1"]]
    assert paid == ["10 EUR", "12 EUR"]


async def test_after_an_edit_everybody_keeps_what_he_was_told_first(kept: Kept) -> None:
    """A new agent asks what an old one asks; which of both gets the old answer is told apart once and for all."""
    rolled: list[int] = []

    @miniagent(durable=True)
    async def dice(ctx: InteractionContext) -> None:
        rolled.append(len(rolled))
        ctx.reply(f"rolled {rolled[-1]}")

    def asking_dice(alias: str) -> MiniAgent:
        @miniagent(alias=alias)
        async def ask(ctx: InteractionContext) -> None:
            ctx.reply(dice.inquire("roll"))

        return ask

    seen: list[list[list[str]]] = []
    for names in (["OLD"], ["NEW", "OLD"], ["NEW", "OLD"], ["OLD", "NEW"]):
        async with kept.mini_agents():
            agents = [asking_dice(name) for name in names]
            found = await asyncio.gather(*[texts(agent.inquire("x")) for agent in agents])
            seen.append([found for _, found in sorted(zip(names, found, strict=True))])

    assert seen[0] == [["rolled 0"]]
    assert sorted(seen[1]) == [["rolled 0"], ["rolled 1"]]
    assert seen[1] == seen[2] == seen[3]
    assert rolled == [0, 1]


async def test_the_same_call_of_another_run_has_another_key(kept: Kept) -> None:
    """A service that knows idempotency keys must not take February's charge for January's."""
    keys: list[str] = []

    @miniagent
    async def charge(ctx: InteractionContext) -> None:
        keys.append(await ctx.call_key())

    for run_id in ("january", "february", "january"):
        async with kept.mini_agents(run_id):
            await charge.inquire("10 EUR")

    assert keys[0] == keys[2] != keys[1]
