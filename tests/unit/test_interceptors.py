"""`CallInterceptor`: acts around every agent call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from miniagents import (
    CallInterceptor,
    InteractionContext,
    InterceptedCall,
    Message,
    MessageSequencePromise,
    MiniAgents,
    miniagent,
)
from miniagents.errors import UnknownSettingError

Proceed = Callable[[], MessageSequencePromise]


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


@miniagent
async def echo(ctx: InteractionContext, k: int = 0) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


class PassingOn:
    """Changes nothing and remembers what it saw."""

    def __init__(self, name: str = "", events: list[str] | None = None) -> None:
        self.name = name
        self.calls: list[InterceptedCall] = []
        self.replies: list[str] = []
        self.events: list[str] = [] if events is None else events

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        self.calls.append(call)
        self.events.append(f"{self.name} in")
        async for reply in proceed():
            yield reply
            self.replies.append(str(await reply))
        self.events.append(f"{self.name} out")


class Answering:
    """Answers every call by itself."""

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        yield f"answer to {await call.message_promises.as_single_promise()}"


def test_a_class_with_the_method_is_an_interceptor() -> None:
    assert isinstance(PassingOn(), CallInterceptor)
    assert not isinstance(object(), CallInterceptor)


async def test_it_sees_the_agent_the_settings_the_input_and_the_replies() -> None:
    interceptor = PassingOn()
    async with MiniAgents(interceptors=[interceptor]):
        assert await texts(echo.fork(k=1).inquire(["a", "b"])) == ["Echo: a", "Echo: b"]

        (call,) = interceptor.calls
        assert call.agent.alias == "ECHO"
        assert call.settings.as_kwargs() == {"k": 1}
        assert await texts(call.message_promises) == ["a", "b"]
    assert interceptor.replies == ["Echo: a", "Echo: b"]


async def test_every_kind_of_call_goes_through_it() -> None:
    interceptor = PassingOn()

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(echo.inquire("inner"))

    async with MiniAgents(interceptors=[interceptor]):
        assert await texts(outer.inquire()) == ["Echo: inner"]
        assert await texts(echo.initiate_inquiry().send_message("sent").reply_sequence()) == ["Echo: sent"]
        echo.kick_off("fired")

    assert [call.agent.alias for call in interceptor.calls] == ["OUTER", "ECHO", "ECHO", "ECHO"]


async def test_it_may_answer_the_call_itself_so_that_the_agent_never_runs() -> None:
    ran: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ran.append("agent")

    async with MiniAgents(interceptors=[Answering()]):
        assert await texts(agent.inquire("a")) == ["answer to a"]

    assert ran == []


async def test_it_sees_replies_before_they_are_visible_to_readers() -> None:
    release = asyncio.Event()
    seen: list[str] = []

    class HoldingBack:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            async for reply in proceed():
                seen.append(str(await reply))
                await release.wait()
                yield reply

    async with MiniAgents(interceptors=[HoldingBack()]):
        replies = echo.inquire("a")
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == ["Echo: a"]
        assert not replies.done()
        release.set()
        assert await texts(replies) == ["Echo: a"]


async def test_it_may_change_leave_out_and_add_replies() -> None:
    class Changing:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            yield "begin"
            async for reply in proceed():
                if str(message := await reply) != "Echo: b":
                    yield Message(f"{message}!", original=message)
            yield ["end", None]

    async with MiniAgents(interceptors=[Changing()]):
        assert await texts(echo.inquire(["a", "b", "c"])) == ["begin", "Echo: a!", "Echo: c!", "end"]


async def test_tokens_stream_through_it() -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "early"
        await release.wait()
        yield " late"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    async with MiniAgents(interceptors=[PassingOn()]):
        replies = agent.inquire()
        first = await anext(aiter(replies))
        assert await anext(aiter(first)) == "early"
        release.set()
        assert await texts(replies) == ["early late"]


async def test_the_first_of_several_is_outermost() -> None:
    events: list[str] = []
    async with MiniAgents(interceptors=[PassingOn("first", events), PassingOn("second", events)]):
        await echo.inquire("a")

    assert events == ["first in", "second in", "second out", "first out"]


async def test_it_may_ask_twice() -> None:
    class Retrying:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            try:
                replies = await proceed()
            except ValueError:
                replies = await proceed()
            yield replies

    attempts: list[str] = []

    @miniagent
    async def flaky(ctx: InteractionContext) -> None:
        attempts.append("attempt")
        if len(attempts) == 1:
            raise ValueError("broken")
        ctx.reply([str(await ctx.message_promises.as_single_promise()), "fine"])

    async with MiniAgents(interceptors=[Retrying()]):
        assert await texts(flaky.inquire("a")) == ["a", "fine"]


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


# -- settings of extensions ----------------------------------------------------------------------------------------------


def test_a_setting_is_looked_up_among_the_installed_extensions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "answering_extension-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: answering-extension\nVersion: 1.0\n")
    points_to = "answering_extension:build"
    (installed / "entry_points.txt").write_text(f"[miniagents.extensions]\nanswers = {points_to}\nalso = {points_to}\n")
    (tmp_path / "answering_extension.py").write_text(ANSWERING_EXTENSION)
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> list[str]:
        return await texts(echo.inquire("a"))

    assert MiniAgents(answers="sqlite:///answers.db").run(main()) == ["sqlite:///answers.db and None"]
    assert MiniAgents(answers="a", also="b").run(main()) == ["a and b"], "made once, of both settings"
    with pytest.raises(UnknownSettingError, match="Installed extensions: also, answers"):
        MiniAgents(unknown=1)


ANSWERING_EXTENSION = """
class Answering:
    def __init__(self, url):
        self.url = url

    async def intercept_call(self, call, proceed):
        yield self.url

def build(settings, mini_agents):
    assert type(mini_agents).__name__ == "MiniAgents"
    return Answering(f"{settings.get('answers')} and {settings.get('also')}")
"""


def test_a_setting_that_no_extension_takes_is_refused_by_name() -> None:
    with pytest.raises(UnknownSettingError, match="`joural`") as caught:
        MiniAgents(joural="sqlite:///runs.db")

    assert isinstance(caught.value, TypeError)
    caught.match("sqlite:///runs.db")
