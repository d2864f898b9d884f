"""What crossing one of the `UsageLimits` does to the requests that are under way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    Message,
    MiniAgent,
    MiniAgents,
    TokenUsage,
    UsageLimitExceededError,
    UsageLimits,
    miniagent,
)
from miniagents.usage import model_request


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
