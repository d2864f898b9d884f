"""Any agent within limits: how long a call takes, how often it is asked again."""

import asyncio
import re
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import MiniAgentsError, PromiseCancelledError, UsageLimitExceededError
from miniagents.ext import Retry, limited
from miniagents.ext.limited import AgentTimeoutError
from miniagents.ext.llms import Script, ScriptedAgent
from miniagents.ext.llms.errors import BadRequestError, ConnectionLostError, OverloadedError, RateLimitedError
from tests.unit.ext.controlled_agents import Doors, model_of, now, settle, texts

AT_ONCE = Retry(wait_s=0)


# --------------------------------------------------------------------------------------------------------- timeout_s


@pytest.mark.virtual_clock
async def test_a_call_that_takes_too_long_is_cancelled_with_an_error_that_names_it(mini_agents: MiniAgents) -> None:
    doors = Doors()

    with pytest.raises(AgentTimeoutError, match=r"`DOORS` took longer than 2.5 seconds and was cancelled.") as caught:
        await limited(doors.agent, timeout_s=2.5).inquire("a")

    assert now() == 2.5
    assert doors.inside == []
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, MiniAgentsError)
    assert caught.value.timeout_s == 2.5


@pytest.mark.virtual_clock
async def test_what_came_in_time_stays_and_the_error_stands_behind_it(mini_agents: MiniAgents) -> None:
    model = ScriptedAgent.fork(script=Script(["one ", 1.0, "two ", 5.0, "three"]))

    promise = await anext(aiter(limited(model, timeout_s=3).inquire("Hi")))
    tokens = aiter(promise)

    assert [await anext(tokens), await anext(tokens)] == ["one ", "two "]
    with pytest.raises(AgentTimeoutError):
        await anext(tokens)
    assert now() == 3


@pytest.mark.virtual_clock
async def test_a_call_that_ends_in_time_is_left_alone(mini_agents: MiniAgents) -> None:
    model = ScriptedAgent.fork(script=Script(["one ", 1.0, "two"]))

    assert await texts(limited(model, timeout_s=3).inquire("Hi")) == ["one two"]
    await asyncio.sleep(10)


@pytest.mark.virtual_clock
async def test_time_runs_while_a_call_waits_for_its_turn(mini_agents: MiniAgents) -> None:
    doors = Doors()
    agent = limited(doors.agent, max_concurrency=1, timeout_s=2)
    first = agent.inquire("a")
    await asyncio.sleep(1)
    second = agent.inquire("b")

    with pytest.raises(AgentTimeoutError):
        await first
    assert now() == 2
    with pytest.raises(AgentTimeoutError):
        await second
    assert now() == 3
    assert doors.begun == ["a", "b"]


@pytest.mark.virtual_clock
async def test_all_attempts_together_have_that_time(mini_agents: MiniAgents) -> None:
    model = model_of(OverloadedError("busy"), OverloadedError("busy"), "late")

    with pytest.raises(AgentTimeoutError):
        await limited(model, timeout_s=5, retry=Retry(wait_s=3, jitter=0)).inquire("Hi")
    assert now() == 5


@pytest.mark.virtual_clock
async def test_a_timeout_of_the_agents_own_stays_its_own(mini_agents: MiniAgents) -> None:
    @miniagent
    async def impatient(ctx: InteractionContext) -> None:
        raise TimeoutError("mine")

    for retry in (None, Retry(attempts=1)):
        with pytest.raises(TimeoutError, match="mine"):
            await limited(impatient, timeout_s=5, retry=retry).inquire()


async def test_errors_among_the_replies_keep_their_places_with_a_timeout(mini_agents: MiniAgents) -> None:
    error = ValueError("in the middle")

    @miniagent
    async def goes_on(ctx: InteractionContext) -> None:
        ctx.reply(["before", error, "after"])

    replies = aiter(limited(goes_on, timeout_s=60).inquire())

    assert str(await (await anext(replies))) == "before"
    with pytest.raises(ValueError) as caught:
        await anext(replies)
    assert caught.value is error
    assert str(await (await anext(replies))) == "after"


async def test_a_cancelled_call_is_cancelled_inside_though_a_clock_runs(mini_agents: MiniAgents) -> None:
    doors = Doors()

    async with limited(doors.agent, timeout_s=60).inquire("a") as replies:
        assert await anext(aiter(await anext(aiter(replies)))) == "in "
    await settle()

    assert doors.inside == []
    with pytest.raises(PromiseCancelledError):
        await replies


# ------------------------------------------------------------------------------------------------------------- retry


@pytest.mark.virtual_clock
async def test_it_is_asked_again_with_the_same_messages_and_ever_longer_waits(mini_agents: MiniAgents) -> None:
    asked_at: list[float] = []
    heard: list[str] = []

    @miniagent
    async def fails_at_first(ctx: InteractionContext) -> None:
        asked_at.append(now())
        heard.append(str(await ctx.message_promises.as_single_promise()))
        if len(asked_at) < 5:
            raise ConnectionLostError("gone")
        ctx.reply("at last")

    retry = Retry(attempts=5, wait_s=1, max_wait_s=3, jitter=0)

    assert await texts(limited(fails_at_first, retry=retry).inquire("Hi")) == ["at last"]
    assert asked_at == [0, 1, 3, 6, 9]
    assert heard == ["Hi"] * 5


@pytest.mark.virtual_clock
async def test_jitter_takes_a_random_part_off_the_wait(mini_agents: MiniAgents) -> None:
    waits = {Retry(wait_s=8, jitter=0.25).wait_after(1, OverloadedError("busy")) for _ in range(200)}

    assert len(waits) > 100
    assert 6 <= min(waits) < 6.5
    assert 7.5 < max(waits) <= 8


async def test_after_the_last_attempt_its_error_is_raised(mini_agents: MiniAgents) -> None:
    last = OverloadedError("still busy")

    with pytest.raises(OverloadedError) as caught:
        await limited(model_of(OverloadedError("busy"), last), retry=Retry(attempts=2, wait_s=0)).inquire("Hi")

    assert caught.value is last
    assert last.__notes__ == ["`MODEL` was asked 2 times."]


@pytest.mark.virtual_clock
async def test_the_wait_is_as_long_as_the_server_wants(mini_agents: MiniAgents) -> None:
    model = limited(model_of(RateLimitedError("slow down", retry_after_s=7), "Hello!"), retry=Retry(wait_s=1))

    assert await texts(model.inquire("Hi")) == ["Hello!"]
    assert now() == 7


@pytest.mark.virtual_clock
async def test_a_server_that_wants_too_long_a_wait_is_not_waited_for(mini_agents: MiniAgents) -> None:
    model = limited(model_of(RateLimitedError("tomorrow", retry_after_s=86_400)), retry=Retry(max_wait_s=60))

    with pytest.raises(RateLimitedError):
        await model.inquire("Hi")
    assert now() == 0


async def test_once_something_was_visible_it_is_not_asked_again(mini_agents: MiniAgents) -> None:
    script = Script(["one ", ConnectionLostError("cut")], "no")
    model = limited(ScriptedAgent.fork(script=script), retry=AT_ONCE)

    promise = await anext(aiter(model.inquire("Hi")))

    assert await anext(aiter(promise)) == "one "
    with pytest.raises(ConnectionLostError):
        await promise
    assert len(script.prompts) == 1


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (BadRequestError("no"), Retry(wait_s=0)),
        (ConnectionLostError("gone"), Retry(wait_s=0, on=OverloadedError)),
        (
            UsageLimitExceededError("requests", 1, 1, whose="the context", raised_with="MiniAgents({})"),
            Retry(wait_s=0, on=Exception),
        ),
        (PromiseCancelledError("stop"), Retry(wait_s=0, on=Exception)),
    ],
    ids=["bad request", "not in `on`", "usage limit", "cancellation"],
)
async def test_what_is_not_worth_it_is_not_tried_again(mini_agents: MiniAgents, error: Exception, retry: Retry) -> None:
    asked: list[int] = []

    @miniagent
    async def fails(ctx: InteractionContext) -> None:
        asked.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        await limited(fails, retry=retry).inquire()
    assert caught.value is error
    assert len(asked) == 1


async def test_any_agents_error_can_be_a_reason(mini_agents: MiniAgents) -> None:
    asked: list[int] = []

    @miniagent
    async def clumsy(ctx: InteractionContext) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise ZeroDivisionError
        ctx.reply("done")

    agent = limited(clumsy, retry=Retry(on=(ZeroDivisionError, KeyError), wait_s=0))

    assert await texts(agent.inquire()) == ["done"]


async def test_tokens_come_through_as_they_are_made(mini_agents: MiniAgents) -> None:
    doors = Doors()

    promise = await anext(aiter(limited(doors.agent, max_concurrency=1, timeout_s=60, retry=Retry()).inquire("a")))
    tokens = aiter(promise)

    assert await anext(tokens) == "in "
    doors.doors["a"].set()
    assert await anext(tokens) == "out"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attempts": 0}, "`attempts=0` makes no sense; it is 1 or more."),
        ({"wait_s": -1}, "`wait_s=-1` makes no sense; it is 0 or more seconds."),
        ({"max_wait_s": -1}, "`max_wait_s=-1` makes no sense"),
        ({"jitter": 2}, "`jitter=2` makes no sense; it is a share, from 0 to 1."),
    ],
    ids=str,
)
def test_a_retry_out_of_its_range_is_refused(settings: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Retry(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attempts": 2.5}, "`attempts=2.5` is not a whole number; it is 1 or more."),
        ({"attempts": "3"}, "`attempts='3'` is not a whole number; it is 1 or more."),
        ({"wait_s": "1"}, "`wait_s='1'` is not a number; it is 0 or more seconds."),
        ({"jitter": None}, "`jitter=None` is not a number; it is a share, from 0 to 1."),
        (
            {"on": [ValueError, KeyError]},
            "`Retry` takes as `on` a class of errors, or a tuple of them, not [<class 'ValueError'>, "
            "<class 'KeyError'>]: write `on=(ValueError, KeyError,)`.",
        ),
        ({"on": "ValueError"}, "not 'ValueError': write `on=ValueError`."),
        ({"on": ValueError("x")}, "not ValueError('x'): write `on=ValueError`."),
        ({"on": (ValueError, "x")}, "a class of errors, or a tuple of them, not (<class 'ValueError'>, 'x')"),
        ({"on": int}, "not <class 'int'>: write `on=ValueError`."),
    ],
    ids=str,
)
def test_a_retry_of_the_wrong_type_is_refused_before_an_error_can_be_lost(settings: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        Retry(**settings)


@pytest.mark.allow_errors_in_log("that it is logged is what is wanted")
async def test_an_error_that_nobody_reads_is_not_swallowed() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            limited(model_of(["one ", ConnectionLostError("cut")]), retry=AT_ONCE, timeout_s=60).kick_off("Hi")

    assert isinstance(caught.value.exceptions[0], ConnectionLostError)
