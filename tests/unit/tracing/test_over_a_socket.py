"""The spans of the adapters, with the providers' real SDKs, over a socket."""

import asyncio

import pytest
from anthropic import AsyncAnthropic
from opentelemetry import trace

from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms.errors import LLMError, RateLimitedError
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import Answer, Cut, Failure, Gate, ProtocolServer, ToolCall, Usage
from tests.unit.tracing.conftest import Recorder

AGENTS = {
    "openai": OpenAIAgent.fork(model="gpt-4o", max_retries=0),
    "openai-responses": OpenAIResponsesAgent.fork(model="gpt-5", max_retries=0),
    "anthropic": AnthropicAgent.fork(model="claude-sonnet-5-5", max_retries=0),
}
PROVIDERS = {"openai": "openai", "openai-responses": "openai", "anthropic": "anthropic"}
USAGE = Usage(input_tokens=160, output_tokens=20, cache_read_tokens=100, cache_write_tokens=0, reasoning_tokens=5)

each_provider = pytest.mark.parametrize("name", AGENTS)
each_way = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture
def tracing_of_the_process(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes SDKs that trace themselves do so."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", recorder.tracer_provider)


def add(a: int, b: int) -> int:
    return a + b


@each_way
@each_provider
async def test_a_request_is_exactly_one_span_also_where_the_sdk_traces_itself(
    server: ProtocolServer, recorder: Recorder, tracing_of_the_process: None, name: str, stream: bool
) -> None:
    server.script(Answer("Hello there!", usage=USAGE))
    agent = AGENTS[name]

    async with recorder.mini_agents():
        (message,) = await agent.inquire("Hi", stream=stream, api_key="sk-secret-key")

    assert [recorded.split()[0] for recorded in recorder.names] == ["invoke_agent", "chat"]
    assert "traceparent" not in server.requests[0].headers
    attributes = recorder.spans[1].attributes
    assert attributes["gen_ai.provider.name"] == PROVIDERS[name]
    assert attributes["gen_ai.response.id"] == message.id
    assert attributes["gen_ai.response.model"] == message.model
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["gen_ai.usage.input_tokens"] == 160
    assert attributes["gen_ai.usage.output_tokens"] == 20
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 100
    assert ("gen_ai.response.time_to_first_chunk" in attributes) is stream
    assert "sk-secret-key" not in "".join(span.to_json() for span in recorder.spans)


async def test_the_sdk_that_traces_itself_would_make_a_span_if_it_were_let(
    server: ProtocolServer, recorder: Recorder, tracing_of_the_process: None
) -> None:
    async with AsyncAnthropic(api_key="x") as client:
        message = [{"role": "user", "content": "Hi"}]
        await client.messages.create(model="claude-sonnet-5-5", max_tokens=9, messages=message)

    assert recorder.names == ["anthropic.messages.create"]
    assert "traceparent" in server.requests[0].headers


async def test_a_client_of_the_user_s_own_may_be_told_the_same(
    server: ProtocolServer, recorder: Recorder, tracing_of_the_process: None
) -> None:
    client = AsyncAnthropic(api_key="x", open_telemetry={"traces": False}, max_retries=0)

    async with client, recorder.mini_agents():
        await AGENTS["anthropic"].inquire("Hi", async_client=client)

    assert recorder.names == ["invoke_agent ANTHROPIC_AGENT", "chat claude-sonnet-5-5"]


@each_provider
async def test_tools_stand_between_the_requests(server: ProtocolServer, recorder: Recorder, name: str) -> None:
    server.script(Answer([ToolCall("add", {"a": 1, "b": 2}, id="call_1")]), Answer("3"))

    async with recorder.mini_agents():
        await AGENTS[name].inquire("1 + 2?", tools=[add])

    assert [recorded.split()[0] for recorded in recorder.names] == ["invoke_agent", "chat", "execute_tool", "chat"]
    assert recorder.spans[1].attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert recorder.spans[2].attributes["gen_ai.tool.call.id"] == "call_1"


@each_provider
async def test_a_status_has_the_type_of_our_own_errors(server: ProtocolServer, recorder: Recorder, name: str) -> None:
    server.script(Failure(429))

    async with recorder.mini_agents():
        with pytest.raises(RateLimitedError):
            await AGENTS[name].inquire("Hi")

    for span in recorder.spans:
        assert span.attributes["error.type"] == "RateLimitedError"
        assert span.attributes["http.response.status_code"] == 429


@each_provider
async def test_an_answer_that_breaks_off_has_that_type_too_and_the_usage_that_was_known(
    server: ProtocolServer, recorder: Recorder, name: str
) -> None:
    server.script(Answer(["Hel", "lo", Cut()], usage=USAGE))

    async with recorder.mini_agents():
        with pytest.raises(LLMError) as raised:
            await AGENTS[name].inquire("Hi")

    chat = recorder.spans[1].attributes
    assert chat["error.type"] == type(raised.value).__name__
    assert ("gen_ai.usage.input_tokens" in chat) is (name == "anthropic")


@each_provider
async def test_a_reader_who_leaves_ends_the_span(server: ProtocolServer, recorder: Recorder, name: str) -> None:
    server.script(Answer(["Hel", Gate(), "lo"]))

    async with recorder.mini_agents():
        async with AGENTS[name].inquire("Hi") as replies:
            async for promise in replies:
                async for _ in promise:
                    break
                break

    assert [span.attributes["error.type"] for span in recorder.spans] == ["CancelledError"] * 2


async def test_many_at_once_do_not_mix(server: ProtocolServer, recorder: Recorder) -> None:
    forks = [AGENTS["openai"].fork(alias=f"AGENT_{number}", model=f"gpt-{number}") for number in range(20)]

    async with recorder.mini_agents():
        await asyncio.gather(*[fork.inquire("Hi") for fork in forks])

    parents = [recorder.parent(f"chat gpt-{number}") for number in range(20)]
    assert parents == [f"invoke_agent AGENT_{number}" for number in range(20)]
