"""`UsageLimits`: what may be used, by a context, by the calls of a fork, by one call and all below it."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MiniAgent,
    MiniAgents,
    RateLimit,
    TokenUsage,
    UsageLimitExceededError,
    UsageLimits,
    miniagent,
)
from miniagents.errors import LLMError, NotAnAgentError, UnknownSettingError
from miniagents.usage import count_tool_call, model_request


@miniagent
async def model(ctx: InteractionContext, tokens: int = 10, cost: float = 0, pauses: int = 1) -> None:
    async with model_request(model="m", agent_alias=ctx.this_agent.alias, provider="p") as request:
        for _ in range(pauses):
            await asyncio.sleep(0)
        request.known(TokenUsage(input_tokens=tokens, output_tokens=0), cost=cost)
    ctx.reply("answer")


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


# ------------------------------------------------------------------------------------------------------ in flight


class Answers:
    """Requests that are answered when the test says so."""

    def __init__(self) -> None:
        self.under_way = asyncio.Semaphore(0)
        self.proceed = [asyncio.Event() for _ in range(10)]

    def agent(self) -> MiniAgent:
        @miniagent
        async def answering(ctx: InteractionContext, number: int, tokens: int = 10) -> None:
            async with model_request(model="m", agent_alias="ANSWERING", provider="p") as request:
                self.under_way.release()
                ctx.reply(f"{number} begins")
                await self.proceed[number].wait()
                request.known(TokenUsage(output_tokens=tokens))
                ctx.reply("over" if request.over else "in time")

        return answering

    async def wait_for(self, count: int) -> None:
        for _ in range(count):
            await self.under_way.acquire()


async def read(replies: Any) -> list[str]:
    """Give the texts, and in place of an error its class."""
    texts: list[str] = []
    try:
        async for promise in replies:
            texts.append(str(await promise))
    except (UsageLimitExceededError, asyncio.CancelledError) as error:
        texts.append(type(error).__name__)
    return texts


async def test_crossing_a_limit_stops_what_else_is_under_way_and_keeps_what_was_answered() -> None:
    answers = Answers()
    agent = answers.agent()

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=15)) as context:
        calls = [agent.inquire(number=number) for number in range(4)]
        await answers.wait_for(4)
        answers.proceed[1].set()
        assert await read(calls[1]) == ["1 begins", "in time"]
        answers.proceed[2].set()

        assert await read(calls[2]) == ["2 begins", "over"]
        assert await read(calls[0]) == ["0 begins", "UsageLimitExceededError"]
        assert await read(calls[3]) == ["3 begins", "UsageLimitExceededError"]
        assert context.usage.total.requests == 4
        assert context.usage.total.unknown == 2


async def test_a_limit_that_is_reached_but_not_crossed_stops_nothing_that_is_under_way() -> None:
    answers = Answers()
    agent = answers.agent()

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=10)):
        calls = [agent.inquire(number=0), agent.inquire(number=1, tokens=0)]
        await answers.wait_for(2)
        answers.proceed[0].set()
        assert await read(calls[0]) == ["0 begins", "in time"]
        answers.proceed[1].set()

        assert await read(calls[1]) == ["1 begins", "in time"]


async def test_crossing_the_limit_of_one_call_stops_nothing_outside_of_it() -> None:
    answers = Answers()
    agent = answers.agent()

    @miniagent
    async def passing_on(ctx: InteractionContext, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            ctx.reply(agent.inquire(number=number))

    async with MiniAgents():
        limited = passing_on.inquire(numbers=[0, 1], usage_limits=UsageLimits(output_tokens=5))
        free = agent.inquire(number=2)
        await answers.wait_for(3)
        answers.proceed[1].set()
        assert await read(limited) == ["0 begins", "UsageLimitExceededError"]
        answers.proceed[2].set()

        assert await read(free) == ["2 begins", "in time"]


async def test_a_stopped_request_leaves_its_task_able_to_go_on() -> None:
    answers = Answers()
    agent = answers.agent()

    @miniagent
    async def falling_back(ctx: InteractionContext) -> None:
        try:
            async with model_request(model="m", agent_alias="FALLING_BACK"):
                answers.under_way.release()
                await asyncio.Event().wait()
        except UsageLimitExceededError:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)
            ctx.reply("the cheap answer")

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=5)):
        replies = falling_back.inquire()
        crossing = agent.inquire(number=0)
        await answers.wait_for(2)
        answers.proceed[0].set()
        await crossing

        assert await read(replies) == ["the cheap answer"]


async def test_a_cancellation_of_somebody_else_is_not_taken_for_the_limit() -> None:
    answers = Answers()

    async def asking_for_ever() -> None:
        async with model_request(model="m", agent_alias="A"):
            answers.under_way.release()
            await asyncio.Event().wait()

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=5)):
        task = asyncio.create_task(asking_for_ever())
        await answers.wait_for(1)
        async with model_request(model="m", agent_alias="A") as request:
            task.cancel()
            request.known(TokenUsage(input_tokens=6))
        with pytest.raises(asyncio.CancelledError):
            await task

        assert task.cancelled()


async def test_a_timeout_around_a_request_stays_a_timeout() -> None:
    async with MiniAgents(usage_limits=UsageLimits(requests=5)) as context:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                async with model_request(model="m", agent_alias="A"):
                    await asyncio.Event().wait()

        assert context.usage.total.unknown == 1


@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "lazy"])
async def test_a_stream_whose_reader_is_slow_ends_with_the_limit_too(is_eager: bool) -> None:
    closed: list[str] = []

    @miniagent
    async def streaming(ctx: InteractionContext) -> None:
        async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
            try:
                async with model_request(model="m", agent_alias="STREAMING"):
                    while True:
                        yield "token "
            finally:
                closed.append("closed")

        ctx.reply(Message.promise(message_token_streamer=tokens, read_ahead=2, start_asap=is_eager))

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=5)) as context:
        promise = await anext(aiter(streaming.inquire()))
        reader = aiter(promise)
        assert await anext(reader) == "token "
        async with model_request(model="m", agent_alias="A") as request:
            request.known(TokenUsage(input_tokens=6))

        with pytest.raises(UsageLimitExceededError):
            while True:
                assert await anext(reader) == "token "
        await context.aflush_tasks()

    assert closed == ["closed"]


async def test_a_request_inside_of_another_one_of_the_same_task_marks_the_outer_one() -> None:
    async with MiniAgents(usage_limits=UsageLimits(total_tokens=5)):
        async with model_request(model="m", agent_alias="A") as outer:
            async with model_request(model="m", agent_alias="A") as inner:
                inner.known(TokenUsage(input_tokens=6))
            await asyncio.sleep(0)

        assert inner.over is not None
        assert outer.over is not None


# ------------------------------------------------------------------------------------------------------ the errors


@pytest.mark.parametrize(
    ("whose", "sentence"),
    [
        (
            "context",
            "The limit `requests=0` of the context is reached: 0 used. To allow more, write "
            "`MiniAgents(usage_limits=UsageLimits(requests=...))` with a larger number.",
        ),
        (
            "fork",
            "The limit `requests=0` of the agent `CHEAP` is reached: 0 used. To allow more, write "
            "`fork(usage_limits=UsageLimits(requests=...))` with a larger number.",
        ),
        (
            "call",
            "The limit `requests=0` of this call of `MODEL` is reached: 0 used. To allow more, write "
            "`inquire(..., usage_limits=UsageLimits(requests=...))` with a larger number.",
        ),
    ],
)
async def test_the_error_says_which_limit_whose_it_is_and_how_to_raise_it(whose: str, sentence: str) -> None:
    none = UsageLimits(requests=0)
    async with MiniAgents(usage_limits=none if whose == "context" else None):
        agent = model.fork(alias="CHEAP", usage_limits=none) if whose == "fork" else model

        with pytest.raises(UsageLimitExceededError) as raised:
            await (agent.inquire(usage_limits=none) if whose == "call" else agent.inquire())

    assert str(raised.value) == sentence
    assert (raised.value.limit, raised.value.allowed, raised.value.used) == ("requests", 0, 0)
    assert (raised.value.provider, raised.value.model) == ("p", "m")
    assert isinstance(raised.value, LLMError)


async def test_the_error_of_a_limit_that_was_crossed_says_by_how_much() -> None:
    async with MiniAgents(usage_limits=UsageLimits(cost=Decimal("0.1"))):
        async with model_request(model="m", agent_alias="A") as request:
            request.known(None, cost=0.3)

    assert str(request.over).startswith("The limit `cost=0.1` of the context is exceeded: 0.3 used.")


def test_an_error_of_a_model_keeps_what_is_known_about_it() -> None:
    error = LLMError("No.", provider="p", model="m", status_code=429, code="slow", retry_after_s=1.5)

    assert str(error) == "No."
    assert (error.provider, error.model, error.status_code, error.code) == ("p", "m", 429, "slow")
    assert (error.retry_after_s, error.request_id, error.partial_text, error.raw_text) == (1.5, None, None, None)


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda: UsageLimits(requests=-1), ValueError, "`requests` of `UsageLimits` is 0 or more, or `None` for no limit; not -1."),
        (lambda: UsageLimits(tool_calls=1.5), TypeError, "`tool_calls` of `UsageLimits` is a whole number, or `None` for no limit; not 1.5."),
        (lambda: UsageLimits(requests=True), TypeError, "`requests` of `UsageLimits` is a whole number"),
        (lambda: UsageLimits(cost="5"), TypeError, "`cost` of `UsageLimits` is a number, or `None` for no limit; not '5'."),
        (lambda: UsageLimits(cost=float("nan")), ValueError, "`cost` of `UsageLimits` is 0 or more"),
        (lambda: UsageLimits(request=3), TypeError, "request"),
        (lambda: RateLimit(requests_per_minute=0), ValueError, "To allow nothing at all, write `UsageLimits(requests=0)`."),
        (lambda: RateLimit(tokens_per_minute="many"), TypeError, "`tokens_per_minute` of `RateLimit` is a number"),
        (lambda: RateLimit(concurrency=0), ValueError, "`concurrency` of `RateLimit` is 1 or more"),
        (lambda: RateLimit(concurrency=2.5), TypeError, "`concurrency` of `RateLimit` is a whole number"),
        (lambda: MiniAgents(usage_limits=5), TypeError, "`usage_limits` is a `UsageLimits`, not 5. Write `usage_limits=UsageLimits(requests=5)`"),
        (lambda: MiniAgents(rate_limit=60), TypeError, "`rate_limit` is a `RateLimit`, not 60. Write `rate_limit=RateLimit(requests_per_minute=60)`"),
        (lambda: model.fork(usage_limits={"requests": 5}), TypeError, "`usage_limits` is a `UsageLimits`, not {'requests': 5}."),
        (lambda: model.fork(rate_limit=RateLimit), TypeError, "`rate_limit` is a `RateLimit`, not <class"),
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_where_it_is_given(make: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        make()


async def test_a_call_refuses_a_limit_that_is_none() -> None:
    async with MiniAgents():
        for call in (model.inquire, model.kick_off, model.initiate_inquiry):
            with pytest.raises(TypeError, match="`usage_limits` is a `UsageLimits`, not 5"):
                call(usage_limits=5)


def test_an_agent_cannot_have_a_setting_of_that_name() -> None:
    with pytest.raises(NotAnAgentError, match="`rate_limit`, which `inquire\\(\\)` takes for itself"):

        @miniagent
        async def limited(ctx: InteractionContext, rate_limit: int) -> None: ...

    with pytest.raises(UnknownSettingError, match="`usage_limits`"):

        @miniagent(usage_limits=UsageLimits(requests=5))
        async def also_limited(ctx: InteractionContext) -> None: ...


def test_limits_are_values_like_other_frozen_ones() -> None:
    limits = UsageLimits(requests=5, cost=0.1)

    assert limits == UsageLimits(requests=5, cost=Decimal("0.1"))
    assert limits.model_copy(update={"requests": 6}).requests == 6


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: UsageLimits(5),
            "`UsageLimits` does not know what 5 is a limit of: write `UsageLimits(requests=5)`, or",
        ),
        (lambda: RateLimit(5), "does not know what 5 is a limit of: write `RateLimit(requests_per_minute=5)`, or"),
        (lambda: UsageLimits("5"), "what '5' is a limit of: write `UsageLimits(requests=100)`, or"),
        (
            lambda: UsageLimits(tokens=5),
            "`UsageLimits` has no limit `tokens`. It has `requests`, `input_tokens`, `output_tokens`, `total_tokens`, "
            "`cost`, `tool_calls`. Did you mean `total_tokens`?",
        ),
        (
            lambda: RateLimit(request_per_minute=5),
            "`RateLimit` has no limit `request_per_minute`. It has `requests_per_minute`, `tokens_per_minute`, "
            "`concurrency`. Did you mean `requests_per_minute`?",
        ),
        (lambda: RateLimit(x=5), "`RateLimit` has no limit `x`. It has"),
    ],
    ids=["usage by place", "rate by place", "a text", "tokens", "request_per_minute", "x"],
)
def test_a_limit_must_be_named_by_a_name_that_there_is(make: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        make()
