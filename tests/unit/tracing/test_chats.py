"""Spans of requests to models."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from miniagents import InteractionContext, MiniAgents, UsageLimits, miniagent
from miniagents.errors import UsageLimitExceededError
from miniagents.ext.llms import Script, ScriptedAgent
from miniagents.ext.llms.errors import ProviderError
from tests.unit.tracing.conftest import Recorder


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miniagents.ext.llms._turns.model_turn._wait_s", lambda fault, attempt: 0)


async def test_a_request_is_a_span_below_that_of_its_agent(traced: MiniAgents, recorder: Recorder) -> None:
    await ScriptedAgent.inquire("Hi", script=Script("Hello there!"), model="parrot-1", max_tokens=20, temperature=0.5)

    assert recorder.names == ["invoke_agent SCRIPTED_AGENT", "chat parrot-1"]
    assert recorder.parent("chat parrot-1") == "invoke_agent SCRIPTED_AGENT"
    assert recorder.span("invoke_agent SCRIPTED_AGENT").attributes["gen_ai.request.model"] == "parrot-1"
    span = recorder.span("chat parrot-1")
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    attributes = dict(span.attributes)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "parrot-1",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 2,
    }


async def test_an_answer_that_comes_as_a_whole_has_no_first_chunk(traced: MiniAgents, recorder: Recorder) -> None:
    await ScriptedAgent.inquire("Hi", script="Hello!", stream=False)

    attributes = recorder.span("chat scripted").attributes
    assert "gen_ai.request.stream" not in attributes
    assert "gen_ai.response.time_to_first_chunk" not in attributes


async def test_every_request_that_is_sent_is_one_span_and_a_retry_that_went_well_leaves_no_error_on_the_agent(
    traced: MiniAgents, recorder: Recorder
) -> None:
    script = Script(ProviderError("down", status_code=502), "Hello!")

    await ScriptedAgent.inquire("Hi", script=script)

    failed, answered = [span for span in recorder.spans if span.name == "chat scripted"]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "ProviderError"
    assert failed.attributes["http.response.status_code"] == 502
    assert failed.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert answered.status.status_code is StatusCode.UNSET
    assert recorder.span("invoke_agent SCRIPTED_AGENT").status.status_code is StatusCode.UNSET


async def test_a_failure_in_the_middle_of_an_answer_is_one_of_the_request_and_of_its_agent(
    traced: MiniAgents, recorder: Recorder
) -> None:
    script = Script(["Hel", ProviderError("down")])

    with pytest.raises(ProviderError):
        await ScriptedAgent.inquire("Hi", script=script)

    assert [span.attributes["error.type"] for span in recorder.spans] == ["ProviderError", "ProviderError"]


async def test_a_request_that_is_refused_by_a_limit_is_never_sent_and_has_no_span(
    traced: MiniAgents, recorder: Recorder
) -> None:
    script = Script("one", "two")
    model = ScriptedAgent.fork(script=script, usage_limits=UsageLimits(requests=1))
    await model.inquire("Hi")

    with pytest.raises(UsageLimitExceededError):
        await model.inquire("Hi")

    assert recorder.names == ["invoke_agent SCRIPTED_AGENT", "chat scripted", "invoke_agent SCRIPTED_AGENT"]
    assert recorder.spans[-1].attributes["error.type"] == "UsageLimitExceededError"


async def test_a_cancelled_request_ends_its_span(traced: MiniAgents, recorder: Recorder) -> None:
    never = asyncio.Event()

    async with ScriptedAgent.inquire("Hi", script=Script(["Hel", never, "lo"])) as replies:
        async for promise in replies:
            async for token in promise:
                assert token == "Hel"
                break
            break

    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert recorder.names == ["invoke_agent SCRIPTED_AGENT", "chat scripted"]
    assert [span.attributes["error.type"] for span in recorder.spans] == ["CancelledError"] * 2


async def test_what_a_provider_does_for_a_request_is_below_its_span_and_what_comes_after_is_not(
    traced: MiniAgents, recorder: Recorder
) -> None:
    tracer = recorder.tracer_provider.get_tracer("http")

    async def answer(prompt: object) -> str:
        with tracer.start_as_current_span("POST"):
            return "Hello!"

    @miniagent
    async def caller(ctx: InteractionContext) -> None:
        await ScriptedAgent.inquire("Hi", script=answer)
        with tracer.start_as_current_span("after"):
            pass

    await caller.inquire()

    assert recorder.parent("POST") == "chat scripted"
    assert recorder.parent("after") == "invoke_agent CALLER"


async def test_the_nearest_telemetry_makes_the_span(recorder: Recorder) -> None:
    inner = Recorder()

    async with recorder.mini_agents(), inner.mini_agents():
        await ScriptedAgent.inquire("Hi", script="Hello!")

    assert inner.names == ["invoke_agent SCRIPTED_AGENT", "chat scripted"]
    assert recorder.names == []


async def test_in_a_context_without_telemetry_inside_of_one_with_it_requests_are_seen(recorder: Recorder) -> None:
    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        async with MiniAgents():
            with pytest.raises(ProviderError):
                await ScriptedAgent.inquire("Hi", script=Script(["Hel", ProviderError("down")]))

    async with recorder.mini_agents():
        await outer.inquire()

    assert recorder.names == ["invoke_agent OUTER", "chat scripted"]
    assert recorder.parent("chat scripted") == "invoke_agent OUTER"
    assert recorder.span("invoke_agent OUTER").status.status_code is StatusCode.UNSET
    assert trace.get_current_span().get_span_context().is_valid is False
