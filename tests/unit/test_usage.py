"""What is counted, and where it can be read: by context, model, agent and call."""

import asyncio
import copy
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MiniAgent,
    MiniAgents,
    TokenUsage,
    UsageTotals,
    miniagent,
)
from miniagents.usage import count_tool_call, model_request

TEN_AND_FIVE = TokenUsage(input_tokens=10, output_tokens=5)


@miniagent
async def model(ctx: InteractionContext, name: str = "m-1", usage: TokenUsage | None = TEN_AND_FIVE) -> None:
    """Ask a model, as model agents do it: in the streamer of the message that they reply with."""

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        async with model_request(model=name, agent_alias=ctx.this_agent.alias, provider="p") as request:
            yield "answer"
            request.known(usage)

    ctx.reply(Message.promise(message_token_streamer=tokens))


@miniagent
async def boss(ctx: InteractionContext, workers: int = 2) -> None:
    for _ in range(workers):
        ctx.reply(model.inquire())


async def test_who_calls_no_model_has_used_nothing() -> None:
    @miniagent
    async def idle(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    async with MiniAgents() as context:
        replies = idle.inquire()
        await replies

        assert replies.usage == UsageTotals()
        assert context.usage.total == UsageTotals()
        assert context.usage.by_model == context.usage.by_agent == {}


async def test_a_call_shows_what_it_and_everything_below_it_used() -> None:
    async with MiniAgents():
        of_two, of_three = boss.inquire(), boss.inquire(workers=3)
        await of_two
        await of_three

        assert of_two.usage == UsageTotals(requests=2, input_tokens=20, output_tokens=10)
        assert of_three.usage == UsageTotals(requests=3, input_tokens=30, output_tokens=15)
        assert of_three.usage.total_tokens == 45


async def test_the_context_shows_all_and_each_model_and_each_agent() -> None:
    async with MiniAgents() as context:
        await boss.inquire()
        await model.fork(alias="OTHER").inquire(name="m-2")

    usage = context.usage
    assert usage.total.requests == 3
    assert {name: totals.input_tokens for name, totals in usage.by_model.items()} == {"m-1": 20, "m-2": 10}
    assert {alias: totals.output_tokens for alias, totals in usage.by_agent.items()} == {"MODEL": 10, "OTHER": 5}


async def test_totals_can_be_read_while_the_work_goes_on() -> None:
    half_way, go_on = asyncio.Event(), asyncio.Event()

    @miniagent
    async def slow(ctx: InteractionContext) -> None:
        async with model_request(model="m", agent_alias="SLOW") as request:
            request.known(TokenUsage(input_tokens=7))
            half_way.set()
            await go_on.wait()
            request.known(TokenUsage(input_tokens=7, output_tokens=3), cost=0.25)

    async with MiniAgents():
        replies = slow.inquire()
        await half_way.wait()
        then = copy.copy(replies.usage)
        go_on.set()
        await replies

        assert then == UsageTotals(requests=1, input_tokens=7)
        assert replies.usage == UsageTotals(requests=1, input_tokens=7, output_tokens=3, cost=Decimal("0.25"))


async def test_totals_that_were_taken_before_the_first_request_grow_with_it() -> None:
    async with MiniAgents():
        replies = model.inquire()
        totals = replies.usage
        await replies

        assert totals.requests == 1


async def test_later_numbers_stand_in_place_of_earlier_ones_and_none_says_nothing() -> None:
    async with MiniAgents() as context:
        async with model_request(model="m", agent_alias="A") as request:
            request.known(TokenUsage(input_tokens=5, output_tokens=1, cache_read_tokens=4, reasoning_tokens=1))
            request.known(TokenUsage(output_tokens=9, cache_write_tokens=2))

        assert context.usage.total == UsageTotals(
            requests=1,
            input_tokens=5,
            output_tokens=9,
            cache_read_tokens=4,
            cache_write_tokens=2,
            reasoning_tokens=1,
        )


async def test_a_price_that_is_found_after_the_answer_is_counted() -> None:
    async with MiniAgents() as context:
        async with model_request(model="m", agent_alias="A") as request:
            pass
        assert context.usage.total.unknown == 1
        request.known(TEN_AND_FIVE, cost=Decimal("0.1"))

        assert context.usage.total == UsageTotals(requests=1, input_tokens=10, output_tokens=5, cost=Decimal("0.1"))


@pytest.mark.parametrize("usage", [None, TokenUsage()], ids=["no report", "an empty report"])
async def test_a_request_whose_usage_nobody_reports_counts_as_unknown(usage: TokenUsage | None) -> None:
    async with MiniAgents() as context:
        replies = model.inquire(usage=usage)
        await replies

        assert replies.usage == context.usage.by_model["m-1"] == UsageTotals(requests=1, unknown=1)


async def test_a_request_that_fails_in_the_middle_counts_as_unknown() -> None:
    async with MiniAgents() as context:
        with pytest.raises(ConnectionError):
            async with model_request(model="m", agent_alias="A"):
                raise ConnectionError

        assert context.usage.total == UsageTotals(requests=1, unknown=1)


async def test_a_request_that_is_cancelled_counts_as_unknown() -> None:
    is_asking = asyncio.Event()

    @miniagent
    async def stuck(ctx: InteractionContext) -> None:
        async with model_request(model="m", agent_alias="STUCK"):
            is_asking.set()
            await asyncio.Event().wait()

    async with MiniAgents() as context:
        async with stuck.inquire() as replies:
            await is_asking.wait()
        await context.aflush_tasks()

        assert replies.usage == UsageTotals(requests=1, unknown=1)


async def test_tool_calls_are_counted_by_call_and_agent() -> None:
    @miniagent
    async def with_tools(ctx: InteractionContext) -> None:
        for _ in range(3):
            count_tool_call(agent_alias="WITH_TOOLS", tool_name="search")

    async with MiniAgents() as context:
        replies = with_tools.inquire()
        await replies

        assert replies.usage == context.usage.by_agent["WITH_TOOLS"] == UsageTotals(tool_calls=3)
        assert context.usage.by_model == {}


async def test_replies_whose_errors_are_shown_as_messages_show_the_usage_of_the_call() -> None:
    async with MiniAgents():
        replies = boss.inquire(errors_to_messages=True)
        await replies

        assert replies.usage.requests == 2


@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "lazy"])
async def test_replies_that_went_through_an_interceptor_show_the_usage_of_the_call(is_eager: bool) -> None:
    class PassingOn:
        async def intercept_call(self, call: Any, proceed: Any) -> AsyncIterator[Any]:
            async for reply in proceed():
                yield reply

    async with MiniAgents(interceptors=[PassingOn(), PassingOn()], start_everything_asap_by_default=is_eager):
        replies = boss.inquire(errors_to_messages=True)
        await replies

        assert replies.usage.requests == 2


async def test_what_a_call_kicked_off_counts_for_it_though_it_has_ended() -> None:
    go_on = asyncio.Event()

    @miniagent
    async def later(ctx: InteractionContext) -> None:
        await go_on.wait()
        await model.inquire()

    @miniagent
    async def firing(ctx: InteractionContext) -> None:
        later.kick_off()

    async with MiniAgents() as context:
        replies = firing.inquire()
        await replies
        assert replies.usage.requests == 0
        go_on.set()
        await context.aflush_tasks()

        assert replies.usage.requests == 1


async def test_a_context_counts_what_is_used_in_contexts_inside_it() -> None:
    async with MiniAgents() as outer:
        await model.inquire()
        async with MiniAgents() as inner:
            await model.inquire()

    assert inner.usage.total.requests == 1
    assert outer.usage.total.requests == outer.usage.by_agent["MODEL"].requests == 2


def test_the_usage_of_a_context_stays_readable_until_it_is_activated_again() -> None:
    async def asking(agent: MiniAgent, times: int) -> None:
        for _ in range(times):
            await agent.inquire()

    context = MiniAgents()
    context.run(asking(model, 2))
    assert context.usage.total.requests == 2

    context.run(asking(model, 1))

    assert context.usage.total.requests == 1


@pytest.mark.parametrize("way", ["interceptor", "errors as messages"])
async def test_what_a_call_kicked_off_counts_for_what_the_caller_holds(way: str) -> None:
    go_on = asyncio.Event()

    class PassingOn:
        async def intercept_call(self, call: Any, proceed: Any) -> AsyncIterator[Any]:
            async for reply in proceed():
                yield reply

    @miniagent
    async def later(ctx: InteractionContext) -> None:
        await go_on.wait()
        await model.inquire()

    @miniagent
    async def firing(ctx: InteractionContext) -> None:
        later.kick_off()

    async with MiniAgents(
        interceptors=[PassingOn()] if way == "interceptor" else [], errors_to_messages=way != "interceptor"
    ) as context:
        replies = firing.inquire()
        await replies
        go_on.set()
        await context.aflush_tasks()

        assert replies.usage.requests == 1
