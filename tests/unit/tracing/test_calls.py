"""Spans of agent calls."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from miniagents import InteractionContext, InterceptedCall, Message, MessageSequencePromise, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError
from miniagents.tracing._calls import CallSpan
from tests.unit.tracing.conftest import Recorder


@miniagent
async def echo(ctx: InteractionContext) -> None:
    """Says it again."""
    async for promise in ctx.message_promises:
        ctx.reply(f"Echo: {await promise}")


@miniagent
async def outer(ctx: InteractionContext) -> None:
    ctx.reply(echo.inquire("inner"))


@miniagent
async def failing(ctx: InteractionContext) -> None:
    raise ValueError("the password is hunter2")


async def test_a_call_is_a_span_with_the_name_of_the_agent(traced: MiniAgents, recorder: Recorder) -> None:
    assert [str(message) for message in await echo.inquire("a")] == ["Echo: a"]

    (span,) = recorder.spans
    assert (span.name, span.kind, span.status.status_code) == ("invoke_agent ECHO", SpanKind.INTERNAL, StatusCode.UNSET)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "ECHO",
        "gen_ai.agent.description": "Says it again.",
    }


async def test_the_calls_that_an_agent_makes_are_below_its_span(traced: MiniAgents, recorder: Recorder) -> None:
    assert [str(message) for message in await outer.inquire()] == ["Echo: inner"]

    assert recorder.names == ["invoke_agent OUTER", "invoke_agent ECHO"]
    assert recorder.parent("invoke_agent ECHO") == "invoke_agent OUTER"
    assert recorder.parent("invoke_agent OUTER") is None


async def test_calls_side_by_side_do_not_mix(traced: MiniAgents, recorder: Recorder) -> None:
    forks = [echo.fork(alias=f"ECHO_{number}") for number in range(20)]

    @miniagent
    async def caller(ctx: InteractionContext, number: int) -> None:
        await asyncio.sleep(0)
        await forks[number].inquire("a")

    calls = [caller.fork(alias=f"CALLER_{number}").inquire(number=number) for number in range(20)]
    await asyncio.gather(*calls)

    parents = [recorder.parent(f"invoke_agent ECHO_{number}") for number in range(20)]
    assert parents == [f"invoke_agent CALLER_{number}" for number in range(20)]


async def test_a_call_is_below_the_span_of_the_user_s_own_code(traced: MiniAgents, recorder: Recorder) -> None:
    tracer = recorder.tracer_provider.get_tracer("user")
    with tracer.start_as_current_span("request"):
        replies = echo.inquire("a")
    await replies

    assert recorder.parent("invoke_agent ECHO") == "request"


async def test_in_the_agent_its_span_is_the_current_one_and_outside_nothing_has_changed(
    traced: MiniAgents, recorder: Recorder
) -> None:
    seen: list[str] = []

    @miniagent
    async def looking(ctx: InteractionContext) -> None:
        seen.append(trace.get_current_span().name)
        with recorder.tracer_provider.get_tracer("user").start_as_current_span("step"):
            await echo.inquire("a")

    before = trace.get_current_span()
    async for promise in looking.inquire():
        await promise

    assert seen == ["invoke_agent LOOKING"]
    assert recorder.parent("invoke_agent ECHO") == "step"
    assert trace.get_current_span() is before


async def test_what_was_kicked_off_is_a_trace_of_its_own_with_a_link(recorder: Recorder) -> None:
    @miniagent
    async def kicking(ctx: InteractionContext) -> None:
        outer.kick_off()

    async with recorder.mini_agents():
        await kicking.inquire()

    kicker, kicked = recorder.span("invoke_agent KICKING"), recorder.span("invoke_agent OUTER")
    assert kicked.parent is None
    assert kicked.context.trace_id != kicker.context.trace_id
    assert [link.context.span_id for link in kicked.links] == [kicker.context.span_id]
    assert recorder.parent("invoke_agent ECHO") == "invoke_agent OUTER"


async def test_a_lazy_call_that_never_runs_has_no_span(recorder: Recorder) -> None:
    async with recorder.mini_agents():
        unread = outer.inquire(start_asap=False)
        assert [str(message) for message in await echo.inquire("a", start_asap=False)] == ["Echo: a"]

    assert unread is not None
    assert recorder.names == ["invoke_agent ECHO"]


async def test_a_span_ends_with_the_agent_s_work_however_slowly_its_replies_are_read(
    traced: MiniAgents, recorder: Recorder
) -> None:
    last = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "first"
        await last.wait()
        yield "last"

    @miniagent
    async def streaming(ctx: InteractionContext) -> None:
        ctx.reply(["whole", Message.promise(message_token_streamer=tokens)])

    read: list[str] = []
    async for promise in streaming.inquire():
        read.append(str(await promise))
        assert recorder.names == ["invoke_agent STREAMING"]
        last.set()

    assert read == ["whole", "firstlast"]


async def test_replies_pass_as_they_are_without_waiting_for_the_end(traced: MiniAgents, recorder: Recorder) -> None:
    go_on = asyncio.Event()
    first = Message.promise("first")

    @miniagent
    async def slow(ctx: InteractionContext) -> None:
        ctx.reply(first)
        await go_on.wait()
        ctx.reply("second")

    reader = aiter(slow.inquire())
    assert await anext(reader) is first
    assert recorder.names == []
    go_on.set()
    assert str(await (await anext(reader))) == "second"


async def test_subtasks_are_part_of_the_work(traced: MiniAgents, recorder: Recorder) -> None:
    go_on = asyncio.Event()

    @miniagent
    async def with_subtask(ctx: InteractionContext) -> None:
        ctx.reply("begun")
        ctx.wait_for(go_on.wait())

    replies = with_subtask.inquire()
    await anext(aiter(replies))
    await asyncio.sleep(0)
    assert recorder.names == []
    go_on.set()
    await replies
    assert recorder.names == ["invoke_agent WITH_SUBTASK"]


async def test_an_error_in_a_subtask_is_one_of_the_call(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise KeyError("x")

    @miniagent
    async def with_subtask(ctx: InteractionContext) -> None:
        ctx.wait_for(work())

    async with recorder.mini_agents():
        with pytest.raises(KeyError):
            await with_subtask.inquire()

    assert recorder.span("invoke_agent WITH_SUBTASK").attributes["error.type"] == "KeyError"


async def test_work_after_the_replies_were_closed_early_is_part_of_the_span(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent
    async def early(ctx: InteractionContext) -> None:
        ctx.reply("done")
        await ctx.afinish_early()
        await asyncio.sleep(0)
        raise ValueError("too late")

    async with recorder.mini_agents():
        assert [str(message) for message in await early.inquire()] == ["done"]

    assert recorder.span("invoke_agent EARLY").attributes["error.type"] == "ValueError"


async def test_an_error_is_the_status_of_the_span_and_its_text_is_not_on_it(
    traced: MiniAgents, recorder: Recorder
) -> None:
    with pytest.raises(ValueError, match="hunter2"):
        await failing.inquire()

    span = recorder.span("invoke_agent FAILING")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert "hunter2" not in span.to_json()


async def test_the_text_of_an_error_is_there_where_contents_are(recorder: Recorder) -> None:
    async with recorder.mini_agents(capture_content=True):
        with pytest.raises(ValueError, match="hunter2"):
            await failing.inquire()

    assert recorder.span("invoke_agent FAILING").status.description == "ValueError: the password is hunter2"


async def test_an_agent_that_only_passes_on_the_failure_of_another_has_not_failed(
    traced: MiniAgents, recorder: Recorder
) -> None:
    @miniagent
    async def passing_on(ctx: InteractionContext) -> None:
        ctx.reply(failing.inquire())

    with pytest.raises(ValueError, match="hunter2"):
        await passing_on.inquire()

    assert recorder.span("invoke_agent PASSING_ON").status.status_code is StatusCode.UNSET
    assert recorder.span("invoke_agent FAILING").status.status_code is StatusCode.ERROR


async def test_a_cancelled_call_ends_its_span_and_those_below(traced: MiniAgents, recorder: Recorder) -> None:
    begun = asyncio.Event()

    @miniagent
    async def waiting(ctx: InteractionContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    @miniagent
    async def caller(ctx: InteractionContext) -> None:
        await waiting.inquire()

    async with caller.inquire() as replies:
        await begun.wait()
    with pytest.raises(PromiseCancelledError):
        await replies
    await asyncio.sleep(0)

    assert recorder.names == ["invoke_agent CALLER", "invoke_agent WAITING"]
    assert {span.attributes["error.type"] for span in recorder.spans} == {"CancelledError"}


async def test_an_error_of_what_was_kicked_off_is_raised_by_the_context_as_without_telemetry(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with recorder.mini_agents():
            failing.kick_off()
            for _ in range(10):
                await asyncio.sleep(0)
            logged = caplog.text

    assert "The agent `FAILING` failed and nobody received its error" in logged
    assert [str(error) for error in raised.value.exceptions] == ["the password is hunter2"]
    assert recorder.span("invoke_agent FAILING").attributes["error.type"] == "ValueError"


async def test_it_goes_with_other_interceptors_on_either_side(recorder: Recorder) -> None:
    class PassingOn:
        async def intercept_call(
            self, call: InterceptedCall, proceed: Callable[[], MessageSequencePromise]
        ) -> AsyncIterator[Any]:
            async for reply in proceed():
                yield reply

    async with recorder.mini_agents(interceptors=[PassingOn()]) as context:
        context.interceptors.append(PassingOn())
        assert [str(message) for message in await outer.inquire()] == ["Echo: inner"]
        outer.kick_off()

    assert sorted(recorder.names) == ["invoke_agent ECHO"] * 2 + ["invoke_agent OUTER"] * 2
    first, second, third, fourth = recorder.spans
    assert [span.parent is None for span in (first, second, third, fourth)] == [True, False, True, False]


async def test_an_answer_of_an_interceptor_inside_is_a_call_too(recorder: Recorder) -> None:
    class Answering:
        async def intercept_call(self, call: InterceptedCall, proceed: Any) -> AsyncIterator[Any]:
            yield "answered"

    async with recorder.mini_agents() as context:
        context.interceptors.append(Answering())
        assert [str(message) for message in await echo.inquire("a")] == ["answered"]

    assert recorder.names == ["invoke_agent ECHO"]


async def test_a_call_that_went_well_leaves_nothing_behind(traced: MiniAgents, recorder: Recorder) -> None:
    await outer.inquire()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await outer.inquire()
        # The context variables of the last task go with it.
        await asyncio.sleep(0)
        assert [found for found in gc.get_objects() if isinstance(found, CallSpan)] == []
    finally:
        gc.enable()
