"""What a call keeps when it goes through a `CallInterceptor`: errors, laziness, cancellation, context variables, trace."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from miniagents import (
    InteractionContext,
    InterceptedCall,
    MiniAgents,
    miniagent,
)
from tests.unit.interceptors import PassingOn, Proceed, echo


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def test_an_error_of_the_agent_reaches_the_reader_at_its_place() -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise ValueError("broken")

    async with MiniAgents(interceptors=[PassingOn(), PassingOn()]):
        reader = aiter(failing.inquire())
        assert str(await (await anext(reader))) == "before"
        with pytest.raises(ValueError, match="broken"):
            await anext(reader)


async def test_an_error_of_the_interceptor_is_an_error_of_the_call() -> None:
    class Broken:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            async for reply in proceed():
                yield reply
            raise ValueError("interceptor")

    async with MiniAgents(interceptors=[Broken()]):
        reader = aiter(echo.inquire("a"))
        assert str(await (await anext(reader))) == "Echo: a"
        with pytest.raises(ValueError, match="interceptor"):
            await anext(reader)


@pytest.mark.parametrize("is_fired", [True, False], ids=["kicked off", "unread"])
async def test_an_error_that_nobody_received_is_raised_and_logged_once(
    is_fired: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents(interceptors=[PassingOn(), PassingOn()]):
            _ = failing.kick_off() if is_fired else failing.inquire()

    assert [str(error) for error in caught.value.exceptions] == ["broken"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_a_call_stays_lazy() -> None:
    interceptor = PassingOn()
    async with MiniAgents(interceptors=[interceptor]) as mini_agents:
        replies = echo.inquire("a", start_asap=False)
        await mini_agents.aflush_tasks()
        assert interceptor.calls == []

        assert await texts(replies) == ["Echo: a"]


async def test_nothing_of_it_runs_inside_of_the_call() -> None:
    interceptor = PassingOn()
    async with MiniAgents(interceptors=[interceptor]):
        replies = echo.inquire("a")
        assert interceptor.calls == []
        await replies


async def test_cancelling_the_call_stops_interceptor_and_agent() -> None:
    stopped: list[str] = []

    class Noticing:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            try:
                async for reply in proceed():
                    yield reply
            finally:
                stopped.append("interceptor")

    @miniagent
    async def endless(ctx: InteractionContext) -> None:
        try:
            ctx.reply("there")
            await asyncio.Event().wait()
        finally:
            stopped.append("agent")

    async with MiniAgents(interceptors=[Noticing()]) as mini_agents:
        async with endless.inquire() as replies:
            assert str(await (await anext(aiter(replies)))) == "there"
        await mini_agents.aflush_tasks()

    assert sorted(stopped) == ["agent", "interceptor"]


async def test_an_early_end_is_visible_while_the_agent_goes_on() -> None:
    release = asyncio.Event()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("early")
        await ctx.afinish_early()
        await release.wait()

    async with MiniAgents(interceptors=[PassingOn()]):
        assert await texts(agent.inquire()) == ["early"]
        release.set()


user = ContextVar("user", default="nobody")


async def test_the_agent_sees_the_context_variables_of_the_place_of_the_call() -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(user.get())

    async with MiniAgents(interceptors=[PassingOn()]):
        user.set("caller")
        replies = agent.inquire()
        user.set("later")
        assert await texts(replies) == ["caller"]


async def test_the_trace_of_agents_goes_through_it() -> None:
    traces: list[list[str]] = []

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(inner.inquire())

    @miniagent
    async def inner(ctx: InteractionContext) -> None:
        traces.append([agent.alias for agent in ctx.get_agent_trace()])

    async with MiniAgents(interceptors=[PassingOn()]):
        await outer.inquire()

    assert traces == [["INNER", "OUTER"]]


async def test_a_call_that_an_agent_leaves_open_is_finished_through_it() -> None:
    @miniagent
    async def forgetful(ctx: InteractionContext) -> None:
        call = echo.initiate_inquiry().send_message("a")
        ctx.reply(call.reply_sequence(close_request_sequence=False))

    async with MiniAgents(interceptors=[PassingOn()]):
        assert await texts(forgetful.inquire()) == ["Echo: a"]


async def test_what_it_yields_that_is_no_message_is_an_error_at_its_place() -> None:
    class Odd:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            yield 42
            yield "after"

    async with MiniAgents(interceptors=[Odd()]):
        reader = aiter(echo.inquire("a"))
        with pytest.raises(TypeError, match="42"):
            await anext(reader)
        assert str(await (await anext(reader))) == "after"


async def test_one_that_is_no_async_generator_fails_the_call_and_says_how_to_write_it() -> None:
    class Plain:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> Any:
            return proceed()

    async with MiniAgents(interceptors=[Plain()]):  # pyright: ignore
        with pytest.raises(TypeError, match="async generator"):
            await echo.inquire("a")


async def test_it_costs_no_task_when_there_is_none(monkeypatch: pytest.MonkeyPatch, mini_agents: MiniAgents) -> None:
    loop = asyncio.get_running_loop()
    create_task = loop.create_task
    count = 0

    def counting(coroutine: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return create_task(coroutine, **kwargs)

    monkeypatch.setattr(loop, "create_task", counting)

    await echo.inquire("a")

    assert count == 1
