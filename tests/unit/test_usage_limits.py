"""`UsageLimits`: what may be used, by a context, by the calls of a fork, by one call and all below it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    MiniAgents,
    RateLimit,
    TokenUsage,
    UsageLimitExceededError,
    UsageLimits,
    miniagent,
)
from miniagents.usage import count_tool_call, model_request
from tests.unit.counted_agents import model


@miniagent
async def asking(ctx: InteractionContext, times: int, agent: Any = model) -> None:
    """Ask so many times at once, and reply with how many of these were answered."""
    calls = [agent.inquire() for _ in range(times)]
    outcomes = [await outcome_of(call) for call in calls]
    ctx.reply(str(outcomes.count("answer")))


async def outcome_of(replies: Any) -> Any:
    try:
        return "".join(map(str, await replies))
    except UsageLimitExceededError as error:
        return error.limit


async def outcomes_of(*calls: Any) -> list[Any]:
    return [await outcome_of(call) for call in calls]


# ------------------------------------------------------------------------------------------------------ how many


async def test_of_a_thousand_requests_at_once_exactly_as_many_pass_as_are_allowed() -> None:
    async with MiniAgents(usage_limits=UsageLimits(requests=3)) as context:
        outcomes = await outcomes_of(*[model.inquire() for _ in range(1000)])

        assert outcomes == ["answer"] * 3 + ["requests"] * 997
        assert context.usage.total.requests == 3


async def test_of_a_thousand_tool_calls_at_once_exactly_as_many_pass_as_are_allowed() -> None:
    passed: list[int] = []

    @miniagent
    async def calling_a_tool(ctx: InteractionContext, number: int) -> None:
        await asyncio.sleep(0)
        count_tool_call(agent_alias="CALLING_A_TOOL", tool_name="search")
        passed.append(number)

    async with MiniAgents(usage_limits=UsageLimits(tool_calls=3)) as context:
        outcomes = await outcomes_of(*[calling_a_tool.inquire(number=number) for number in range(1000)])

        assert outcomes.count("tool_calls") == 997
        assert passed == [0, 1, 2]
        assert context.usage.total.tool_calls == 3


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (UsageLimits(input_tokens=25), "input_tokens"),
        (UsageLimits(total_tokens=25), "total_tokens"),
        (UsageLimits(cost=0.25), "cost"),
    ],
    ids=["input tokens", "total tokens", "cost"],
)
async def test_no_request_starts_once_a_limit_on_tokens_or_cost_is_reached(limits: UsageLimits, limit: str) -> None:
    async with MiniAgents(usage_limits=limits):
        outcomes = [await outcome_of(model.inquire(cost=0.1)) for _ in range(5)]

        # The third answer goes beyond the limit, which nobody could know before; it stays.
        assert outcomes == ["answer"] * 3 + [limit] * 2


async def test_output_tokens_are_limited_apart_from_input_tokens() -> None:
    async with MiniAgents(usage_limits=UsageLimits(output_tokens=1)):
        async with model_request(model="m", agent_alias="A") as request:
            request.known(TokenUsage(input_tokens=1000, output_tokens=1))

        assert request.over is None
        with pytest.raises(UsageLimitExceededError, match=re.escape("`output_tokens=1` of the context")):
            async with model_request(model="m", agent_alias="A"):
                pytest.fail("nothing may be sent")


async def test_a_limit_of_zero_allows_nothing() -> None:
    async with MiniAgents(usage_limits=UsageLimits(total_tokens=0)):
        assert await outcomes_of(model.inquire()) == ["total_tokens"]


# ------------------------------------------------------------------------------------------------------ for whom


async def test_a_limit_of_a_call_is_for_all_that_it_starts() -> None:
    async with MiniAgents():
        limited = asking.inquire(times=5, usage_limits=UsageLimits(requests=2))
        free = asking.inquire(times=5)

        assert await outcomes_of(limited, free) == ["2", "5"]


@pytest.mark.parametrize("way", ["inquire", "kick_off", "initiate_inquiry"])
@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "lazy"])
async def test_every_kind_of_call_takes_limits(way: str, is_eager: bool) -> None:
    answered: list[str] = []

    @miniagent
    async def counting(ctx: InteractionContext) -> None:
        answered.extend(await outcomes_of(asking.inquire(times=5)))

    async with MiniAgents(start_everything_asap_by_default=is_eager) as context:
        started = getattr(counting, way)(usage_limits=UsageLimits(requests=2))
        if way != "kick_off":
            await (started if way == "inquire" else started.reply_sequence())
        await context.aflush_tasks()

        assert answered == ["2"]


async def test_limits_of_calls_inside_each_other_hold_all_at_once() -> None:
    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        for most in (4, 2, 4):
            ctx.reply(asking.inquire(times=4, usage_limits=UsageLimits(requests=most)))
            await ctx.message_promises

    async with MiniAgents(usage_limits=UsageLimits(requests=7)) as context:
        replies = outer.inquire(usage_limits=UsageLimits(requests=8))
        assert [str(reply) for reply in await replies] == ["4", "2", "1"]
        assert context.usage.total.requests == 7


async def test_the_calls_of_a_fork_and_of_its_forks_share_its_limit() -> None:
    limited = model.fork(usage_limits=UsageLimits(requests=3))
    narrower = limited.fork(alias="NARROWER", usage_limits=UsageLimits(requests=1))

    async with MiniAgents():
        assert await outcomes_of(narrower.inquire(), narrower.inquire()) == ["answer", "requests"]
        assert await outcomes_of(*[limited.inquire() for _ in range(3)]) == ["answer", "answer", "requests"]
        assert await outcomes_of(narrower.inquire(), limited.fork().inquire()) == ["requests", "requests"]
        # The agent that it was forked from is as free as before.
        assert await outcomes_of(model.inquire()) == ["answer"]


async def test_any_agent_can_be_limited_not_only_those_that_call_models_themselves() -> None:
    limited = asking.fork(times=3, usage_limits=UsageLimits(requests=4))

    async with MiniAgents():
        first = limited.inquire()

        assert await outcomes_of(first, limited.inquire()) == ["3", "1"]


async def test_an_agent_that_calls_itself_counts_each_request_once() -> None:
    depth_first: list[int] = []

    @miniagent
    async def recursive(ctx: InteractionContext, depth: int, itself: Any) -> None:
        await model.inquire()
        depth_first.append(depth)
        if depth:
            await itself.inquire(depth=depth - 1, itself=itself)

    limited = recursive.fork(usage_limits=UsageLimits(requests=3))
    async with MiniAgents():
        assert await outcomes_of(limited.inquire(depth=5, itself=limited)) == ["requests"]

    assert depth_first == [5, 4, 3]


async def test_a_context_inside_another_one_keeps_to_the_limits_of_both() -> None:
    async with MiniAgents(usage_limits=UsageLimits(requests=2)):
        async with MiniAgents(usage_limits=UsageLimits(requests=1)):
            assert await outcomes_of(model.inquire(), model.inquire()) == ["answer", "requests"]
        async with MiniAgents():
            assert await outcomes_of(model.inquire(), model.inquire()) == ["answer", "requests"]


def test_a_context_that_is_activated_again_may_use_as_much_again() -> None:
    async def main() -> list[Any]:
        return await outcomes_of(model.inquire(), model.inquire())

    context = MiniAgents(usage_limits=UsageLimits(requests=1))

    assert context.run(main()) == context.run(main()) == ["answer", "requests"]


async def test_interceptors_keep_to_the_limits_of_the_call() -> None:
    class AskingFirst:
        async def intercept_call(self, call: Any, proceed: Any) -> AsyncIterator[Any]:
            async with model_request(model="judge", agent_alias="JUDGE"):
                pass
            async for reply in proceed():
                yield reply

    async with MiniAgents(interceptors=[AskingFirst()]) as context:
        assert await outcomes_of(model.inquire(usage_limits=UsageLimits(requests=2))) == ["answer"]
        assert await outcomes_of(model.inquire(usage_limits=UsageLimits(requests=1))) == ["requests"]
        assert context.usage.by_model["judge"].requests == 2


async def test_limits_reach_neither_the_agent_nor_its_record_nor_its_interceptors() -> None:
    seen: list[Any] = []

    @miniagent
    async def taking_anything(ctx: InteractionContext, **settings: Any) -> None:
        seen.append(settings)

    class Looking:
        async def intercept_call(self, call: Any, proceed: Any) -> AsyncIterator[Any]:
            seen.append(call.settings.as_kwargs())
            async for reply in proceed():
                yield reply

    limits: dict[str, Any] = {"usage_limits": UsageLimits(requests=1), "rate_limit": RateLimit(concurrency=1)}
    async with MiniAgents(interceptors=[Looking()]):
        await taking_anything.fork(**limits).inquire(x=1, **limits)

    assert seen == [{"x": 1}, {"x": 1}]
    assert taking_anything.fork(**limits).hash_key == taking_anything.hash_key
