"""`RateLimit`: how fast requests may be sent. All on a virtual clock."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MiniAgents,
    RateLimit,
    TokenUsage,
    UsageLimitExceededError,
    UsageLimits,
    miniagent,
)
from miniagents.testing import run_with_virtual_clock
from miniagents.usage import model_request

pytestmark = pytest.mark.virtual_clock


def now() -> float:
    return asyncio.get_running_loop().time()


@miniagent
async def model(
    ctx: InteractionContext, name: str = "m", took_s: float = 0, tokens: int = 0, estimated: int | None = None
) -> None:
    """Reply with the moment at which the request was sent."""
    async with model_request(
        model=name, agent_alias="MODEL", provider="p", estimated_tokens=lambda: estimated or 0
    ) as request:
        ctx.reply(f"{now():.3f}")
        await asyncio.sleep(took_s)
        if tokens:
            request.known(TokenUsage(input_tokens=tokens))


async def moments(*calls: Any) -> list[float]:
    return [float(str(reply)) for call in calls for reply in await call]


async def test_requests_pass_at_once_until_the_minute_is_used_up_then_evenly_in_their_order() -> None:
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=6)):
        sent = await moments(*[model.inquire() for _ in range(9)])

    assert sent == [0, 0, 0, 0, 0, 0, 10, 20, 30]


async def test_a_pause_fills_the_minute_up_but_no_more() -> None:
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=2)):
        await moments(*[model.inquire() for _ in range(2)])
        await asyncio.sleep(1000)

        assert await moments(*[model.inquire() for _ in range(4)]) == [1000, 1000, 1030, 1060]


async def test_less_than_one_request_a_minute_is_possible() -> None:
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=0.5)):
        assert await moments(*[model.inquire() for _ in range(3)]) == [0, 120, 240]


async def test_only_so_many_requests_are_under_way_at_a_time() -> None:
    async with MiniAgents(rate_limit=RateLimit(concurrency=2)):
        sent = await moments(*[model.inquire(took_s=took_s) for took_s in (5, 3, 1, 1, 1)])

    assert sent == [0, 0, 3, 4, 5]


async def test_a_request_is_sent_while_tokens_are_left_and_pays_when_its_usage_is_known() -> None:
    async with MiniAgents(rate_limit=RateLimit(tokens_per_minute=60)):
        # 180 tokens where 60 were allowed: two minutes of waiting until one token is there again.
        assert await moments(model.inquire(tokens=180)) == [0]

        assert await moments(model.inquire()) == [121]


async def test_an_estimate_is_charged_at_once_and_corrected_when_the_usage_is_known() -> None:
    async with MiniAgents(rate_limit=RateLimit(tokens_per_minute=60)):
        first = model.inquire(estimated=120, tokens=30, took_s=5)
        second = model.inquire()

        # 90 of the 120 come back after five seconds, so that the second need not wait a minute.
        assert await moments(first, second) == [0, 5]


async def test_each_model_has_a_rate_of_its_own() -> None:
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=1)):
        calls = [model.inquire(name=name) for name in ("a", "b", "a", "b")]

        assert await moments(*calls) == [0, 0, 60, 60]


async def test_a_fork_and_a_call_have_rates_too_and_all_hold() -> None:
    @miniagent
    async def passing_on(ctx: InteractionContext, agent: Any) -> None:
        for _ in range(3):
            ctx.reply(agent.inquire())

    slow = model.fork(rate_limit=RateLimit(requests_per_minute=4))
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=60)):
        of_fork = passing_on.inquire(agent=slow)
        of_call = passing_on.inquire(agent=slow, rate_limit=RateLimit(concurrency=1))

        assert await moments(of_fork, of_call) == [0, 0, 0, 0, 15, 30]


async def test_a_request_that_a_narrow_limit_holds_back_keeps_no_place_from_others() -> None:
    narrow = model.fork(rate_limit=RateLimit(concurrency=1))

    async with MiniAgents(rate_limit=RateLimit(concurrency=2)):
        held_back = [narrow.inquire(took_s=10) for _ in range(3)]
        others = [model.inquire(took_s=1) for _ in range(3)]

        assert await moments(*held_back, *others) == [0, 10, 20, 0, 1, 2]


async def test_limits_that_are_met_in_opposite_orders_do_not_wait_for_each_other() -> None:
    @miniagent
    async def through(ctx: InteractionContext, agents: tuple[Any, ...] = ()) -> None:
        if agents:
            ctx.reply(agents[0].inquire(agents=agents[1:]))
        else:
            ctx.reply(model.inquire(took_s=1))

    a = through.fork(rate_limit=RateLimit(concurrency=1))
    b = through.fork(rate_limit=RateLimit(concurrency=1))
    async with MiniAgents():
        calls = [through.inquire(agents=[a, b] if number % 2 else [b, a]) for number in range(4)]

        assert await moments(*calls) == [0, 1, 2, 3]


async def test_whoever_gives_up_waiting_leaves_no_hole() -> None:
    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=1)) as context:
        first, second, third = (model.inquire() for _ in range(3))
        await asyncio.sleep(1)
        second.cancel()

        assert await moments(first, third) == [0, 60]
        assert context.usage.total.requests == 2


@pytest.mark.parametrize(
    "rate_limit", [RateLimit(concurrency=1), RateLimit(requests_per_minute=1)], ids=["place", "rate"]
)
async def test_whoever_is_cancelled_in_the_moment_of_its_turn_leaves_no_hole(rate_limit: RateLimit) -> None:
    turns: list[str] = []

    async def waiting() -> None:
        async with model_request(model="m", agent_alias="WAITING", provider="p"):
            turns.append("second")

    async with MiniAgents(rate_limit=rate_limit) as context:
        async with model_request(model="m", agent_alias="A", provider="p"):
            second = asyncio.create_task(waiting())
            await asyncio.sleep(0)
            third = model.inquire(took_s=1)
            # In the same step of the loop as the timer of the rate limit, right behind it.
            asyncio.get_running_loop().call_at(60 + 1e-10, second.cancel)
            await asyncio.sleep(60 if rate_limit.concurrency else 1)
        if rate_limit.concurrency:
            second.cancel()

        assert await moments(third) == [60]
        assert second.cancelled()
        assert turns == []
        assert context.usage.total.requests == 2


async def test_many_that_give_up_at_once_leave_no_hole() -> None:
    async with MiniAgents(rate_limit=RateLimit(concurrency=1)):
        first = model.inquire(took_s=5)
        waiting = [model.inquire() for _ in range(1000)]
        last = model.inquire()
        await asyncio.sleep(1)
        for call in waiting:
            call.cancel()

        assert await moments(first, last) == [0, 5]


async def test_a_request_that_fails_gives_its_place_back() -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        async with model_request(model="m", agent_alias="FAILING", provider="p"):
            raise ConnectionError

    async with MiniAgents(rate_limit=RateLimit(concurrency=1)):
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await failing.inquire()

        assert await moments(model.inquire()) == [0]


async def test_a_request_that_waits_is_refused_as_soon_as_a_limit_is_crossed() -> None:
    async with MiniAgents(rate_limit=RateLimit(concurrency=1), usage_limits=UsageLimits(total_tokens=5)) as context:
        first, waiting = model.inquire(took_s=5, tokens=6), model.inquire()
        await first

        with pytest.raises(UsageLimitExceededError):
            await waiting
        assert now() == 5
        assert context.usage.total.requests == 1


async def test_a_request_that_was_never_sent_does_not_count_against_the_limit() -> None:
    async with MiniAgents(rate_limit=RateLimit(concurrency=1), usage_limits=UsageLimits(requests=2)):
        first, waiting = model.inquire(took_s=5), model.inquire()
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(1)

        assert await moments(first, model.inquire()) == [0, 5]


async def test_a_request_without_a_rate_limit_waits_for_nothing() -> None:
    async with MiniAgents():
        assert set(await moments(*[model.inquire(took_s=1) for _ in range(100)])) == {0}


async def test_waiting_for_a_rate_limit_is_no_stall_and_who_waits_names_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with MiniAgents(rate_limit=RateLimit(requests_per_minute=0.1), stall_report_s=5) as context:
            calls = [model.inquire(), model.inquire()]
            await asyncio.sleep(100)
            assert "waits for the rate limit of `m`" in await who_waits_while_reading(context, calls[1])

            assert await moments(*calls) == [0, 600]

    assert "No progress" not in caplog.text


async def who_waits_while_reading(context: MiniAgents, call: Any) -> str:
    async def read() -> None:
        await call

    task = context.start_asap(read())
    for _ in range(20):
        # Until nothing is left to do but to wait.
        await asyncio.sleep(0)
    assert not task.done()
    return context.who_waits()


async def test_a_lazy_stream_waits_for_its_turn_only_when_it_is_read() -> None:
    async def tokens(_: Any) -> AsyncIterator[str]:
        async with model_request(model="m", agent_alias="LAZY", provider="p"):
            yield f"{now():.3f}"

    @miniagent
    async def lazy(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens, start_asap=False))

    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=1)) as context:
        unread = lazy.inquire()
        await asyncio.sleep(1)
        assert context.usage.total.requests == 0

        assert await moments(model.inquire(), unread) == [1, 61]


def test_a_fork_keeps_its_rate_from_loop_to_loop_without_waiting_for_a_loop_that_is_gone() -> None:
    limited = model.fork(rate_limit=RateLimit(requests_per_minute=1))

    async def main() -> list[float]:
        return await moments(limited.inquire(), limited.inquire())

    assert run_with_virtual_clock(MiniAgents().arun(main())) == [0, 60]
    assert run_with_virtual_clock(MiniAgents().arun(main())) == [0, 60]


@pytest.mark.parametrize(
    "rate_limit",
    [RateLimit(concurrency=1), RateLimit(requests_per_minute=1), RateLimit(tokens_per_minute=1)],
    ids=["concurrency", "requests", "tokens"],
)
@pytest.mark.parametrize("limits", [UsageLimits(total_tokens=30), UsageLimits(input_tokens=30)], ids=["total", "input"])
async def test_what_waits_for_its_turn_is_not_sent_once_a_limit_on_tokens_is_reached(
    rate_limit: RateLimit, limits: UsageLimits
) -> None:
    async with MiniAgents(usage_limits=limits, rate_limit=rate_limit) as context:
        calls = [model.inquire(took_s=1, tokens=15, estimated=15) for _ in range(6)]
        outcomes = await asyncio.gather(*[call.aresolve() for call in calls], return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [tuple, tuple, *[UsageLimitExceededError] * 4]
    assert (context.usage.total.requests, context.usage.total.total_tokens) == (2, 30)


async def test_a_request_that_is_refused_after_its_wait_takes_nothing_from_the_rate() -> None:
    refused = model.fork(usage_limits=UsageLimits(total_tokens=10))

    async with MiniAgents(rate_limit=RateLimit(requests_per_minute=1)) as context:
        first, second = refused.inquire(tokens=10), refused.inquire(tokens=10)
        third = model.inquire()

        assert await moments(first) == [0]
        with pytest.raises(UsageLimitExceededError, match="total_tokens"):
            await second
        assert await moments(third, model.inquire()) == [60, 120]
        assert context.usage.total.requests == 3
