"""The errors of `UsageLimits`: of a limit that is reached, and of one that cannot be."""

import re
from decimal import Decimal
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    MiniAgents,
    RateLimit,
    UsageLimitExceededError,
    UsageLimits,
    miniagent,
)
from miniagents.errors import LLMError, NotAnAgentError, UnknownSettingError
from miniagents.usage import model_request
from tests.unit.counted_agents import model


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
