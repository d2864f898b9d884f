"""Through which client, with which key, `AnthropicAgent` talks."""

import subprocess
import sys
from pathlib import Path

import pytest
from anthropic import Anthropic, AsyncAnthropic

from miniagents import MiniAgents
from miniagents.ext.llms import AnthropicAgent
from miniagents.ext.llms.errors import AuthenticationError, MissingAPIKeyError, RateLimitedError, WrongClientError
from miniagents.testing.server import Failure, ProtocolServer

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5")


async def test_key_and_server_can_be_given_to_the_agent(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.delenv("ANTHROPIC_BASE_URL")

    async with MiniAgents():
        await claude_agent.inquire("Hi", api_key="first-key\n", base_url=server.anthropic_base_url)
        await claude_agent.inquire("Hi", api_key="second-key", base_url=server.anthropic_base_url)
        await claude_agent.inquire("Hi", api_key="first-key", base_url=server.anthropic_base_url)

    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer first-key",
        "Bearer second-key",
        "Bearer first-key",
    ]
    ports = [request.client_port for request in server.requests]
    assert ports[0] == ports[2] != ports[1]


async def test_a_key_that_cannot_be_sent_is_not_shown_in_the_error(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret\nsk-other")

    async with MiniAgents():
        with pytest.raises(AuthenticationError, match="characters in it that no key has") as raised:
            await claude_agent.inquire("Hi")

    assert "sk-" not in str(raised.value)


async def test_a_client_of_ones_own_is_used(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    client = AsyncAnthropic(base_url=server.anthropic_base_url, api_key="my-own-key")

    async with client, MiniAgents():
        await claude_agent.inquire("Hi", async_client=client)

    assert server.requests[0].headers["authorization"] == "Bearer my-own-key"


@pytest.mark.parametrize(("settings", "requests"), [({}, 1), ({"max_retries": 1}, 2)], ids=["the client's", "ours"])
async def test_a_client_of_ones_own_is_asked_as_often_as_it_was_told(
    server: ProtocolServer, settings: dict[str, int], requests: int
):
    server.script(*[Failure(429, retry_after_s=0.001)] * 9)
    client = AsyncAnthropic(base_url=server.anthropic_base_url, api_key="any", max_retries=0)

    async with client, MiniAgents():
        with pytest.raises(RateLimitedError):
            await claude_agent.inquire("Hi", async_client=client, **settings)

    assert len(server.requests) == requests


async def test_a_client_that_is_not_asynchronous_is_refused_by_name(server: ProtocolServer):
    with Anthropic(api_key="any") as client:
        async with MiniAgents():
            with pytest.raises(WrongClientError, match=r"needs a `anthropic.AsyncAnthropic`.*not a Anthropic"):
                await claude_agent.inquire("Hi", async_client=client)


async def test_a_missing_key_names_the_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")

    async with MiniAgents():
        with pytest.raises(MissingAPIKeyError, match="environment variable ANTHROPIC_API_KEY"):
            await claude_agent.inquire("Hi")


SPANS = """
import sys
from opentelemetry import trace

started = []


class Tracer(trace.NoOpTracer):
    def start_span(self, name, *args, **kwargs):
        started.append(name)
        return super().start_span(name, *args, **kwargs)


class Provider(trace.NoOpTracerProvider):
    def get_tracer(self, *args, **kwargs):
        return Tracer()


trace.set_tracer_provider(Provider())
from miniagents import MiniAgents
from miniagents.ext.llms import AnthropicAgent


async def main():
    # Another number of retries than the client's own: the copy must not trace either.
    await AnthropicAgent.inquire("Hi", model="claude-sonnet-5-5", max_retries=5)


MiniAgents().run(main())
sys.exit(f"spans: {started}" if started else 0)
"""


def test_the_sdk_makes_no_span_of_its_own(server: ProtocolServer):
    # In a process of its own, which can have one tracer provider.
    subprocess.run([sys.executable, "-c", SPANS], check=True, cwd=Path(__file__).parents[5], timeout=25)

    assert "traceparent" not in server.requests[0].headers
