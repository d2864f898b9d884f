"""Servers that speak OpenAI's protocol, but not all of it."""

from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent
from miniagents.ext.llms.errors import BadRequestError, ConnectionLostError, IncompleteStreamError
from miniagents.ext.llms.openai import OpenAICompatibleAgent
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import Answer, Cut, Failure, ProtocolServer

gpt_agent = OpenAIAgent.fork(model="gpt-4o")
local_agent = OpenAICompatibleAgent.fork(model="qwen3:8b")


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


REFUSED: list[Any] = [
    pytest.param(
        gpt_agent, {}, "Unrecognized request argument supplied: stream_options", "stream_options", None, id="usage"
    ),
    pytest.param(
        gpt_agent,
        {"max_tokens": 50},
        "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_completion_tokens",
        50,
        id="newer name",
    ),
    pytest.param(
        local_agent,
        {"max_completion_tokens": 50},
        "body.max_completion_tokens: extra fields not permitted",
        "max_tokens",
        50,
        id="older name",
    ),
    pytest.param(
        local_agent, {"thinking": "off"}, "reasoning_effort: value is not valid", "reasoning_effort", None, id="effort"
    ),
    pytest.param(
        gpt_agent.fork(model="gpt-next"),
        {"tools": [add]},
        "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
        "reasoning_effort",
        "none",
        id="thinking with tools",
    ),
    pytest.param(
        OpenAIResponsesAgent.fork(model="x"), {}, "Unknown parameter: 'include'", "include", None, id="include"
    ),
    pytest.param(
        OpenAIResponsesAgent.fork(model="x"), {}, "extra fields not permitted: store", "store", None, id="store"
    ),
]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("agent", "settings", "words", "option", "then"), REFUSED)
async def test_what_a_server_does_not_know_is_asked_for_otherwise(
    server: ProtocolServer, agent: Any, settings: dict[str, Any], words: str, option: str, then: Any, status: int
):
    server.script(Failure(status, words), "Hello", "Hello again")

    async with MiniAgents():
        assert str(await agent.inquire("Hi", **settings).as_single_promise()) == "Hello"
        assert str(await agent.inquire("Hi", **settings).as_single_promise()) == "Hello again"

    assert len(server.requests) == 3, "the server's way is remembered"
    assert server.requests[0].body.get(option) != then
    assert [request.body.get(option) for request in server.requests[1:]] == [then, then]


async def test_a_strict_tool_is_described_without_that_word_to_who_does_not_know_it(server: ProtocolServer):
    server.script(Failure(400, "json: unknown field 'strict'"), "Hello")

    async with MiniAgents():
        await local_agent.inquire("Hi", tools=[add])

    assert ["strict" in request.body["tools"][0]["function"] for request in server.requests] == [True, False]


async def test_a_schema_is_told_in_words_to_who_cannot_be_held_to_it(server: ProtocolServer):
    class City(BaseModel):
        name: str

    words = "This response_format type is unavailable now"
    server.script(Failure(400, words), Failure(400, words), '{"name": "Tallinn"}', '{"name": "Riga"}')

    async with MiniAgents():
        for name in ("Tallinn", "Riga"):
            [message] = await local_agent.inquire("Where?", system="Be brief.", response_model=City)
            assert message.parsed == City(name=name)

    bodies = [request.body for request in server.requests]
    assert [body.get("response_format", {}).get("type") for body in bodies] == [
        "json_schema",
        "json_object",
        None,
        None,
    ]
    for body in bodies[1:]:
        system = body["messages"][0]["content"]
        assert system.startswith("Be brief.\n\nAnswer with JSON of this schema")
        assert '"additionalProperties": false' in system


async def test_several_refusals_are_mended_one_after_the_other(server: ProtocolServer):
    server.script(Failure(400, "unknown: stream_options"), Failure(400, "use max_completion_tokens"), "Hello")

    async with MiniAgents():
        await local_agent.inquire("Hi", max_tokens=50)

    assert "stream_options" not in server.requests[2].body
    assert server.requests[2].body["max_completion_tokens"] == 50


async def test_what_the_user_asked_for_is_not_left_out_behind_his_back(server: ProtocolServer):
    server.script(Failure(400, "unknown: stream_options"))

    async with MiniAgents():
        with pytest.raises(BadRequestError, match="stream_options"):
            await local_agent.inquire("Hi", stream_options={"include_usage": False})

    assert len(server.requests) == 1


async def test_a_refusal_of_something_else_is_an_error_at_once(server: ProtocolServer):
    server.script(Failure(400, "the prompt is too long", code="context_length_exceeded"))

    async with MiniAgents():
        with pytest.raises(BadRequestError, match="too long") as raised:
            await local_agent.inquire("Hi")

    assert raised.value.code == "context_length_exceeded"
    assert len(server.requests) == 1


async def test_options_are_sent_as_they_are_since_the_name_tells_nothing_of_the_model(server: ProtocolServer):
    async with MiniAgents():
        await OpenAICompatibleAgent.inquire("Hi", model="gpt-5", temperature=0.5, max_tokens=50, thinking="high")

    body = server.requests[0].body
    assert (body["temperature"], body["max_tokens"], body["reasoning_effort"]) == (0.5, 50, "high")


async def test_a_stream_without_done_is_complete_with_its_finish_reason(server: ProtocolServer):
    server.script(Answer("Hello", end_mark=False), Answer(["Hel", Cut()]))

    async with MiniAgents():
        assert str(await local_agent.inquire("Hi").as_single_promise()) == "Hello"
        with pytest.raises(IncompleteStreamError):
            await local_agent.inquire("Hi", max_retries=0)


async def test_a_local_server_needs_no_key_and_never_gets_that_of_openai(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-openai")

    async with MiniAgents():
        await local_agent.inquire("Hi", base_url=server.openai_base_url)
        await local_agent.inquire("Hi", base_url=server.openai_base_url, api_key="its-own")

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer none", "Bearer its-own"]


@pytest.mark.parametrize("host", ["{}", "http://{}", "http://{}/"])
async def test_without_an_address_it_is_ollama_where_ollama_says_it_is(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch, host: str
):
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OLLAMA_HOST", host.format(server.url.removeprefix("http://")))

    async with MiniAgents():
        await local_agent.inquire("Hi")

    assert server.requests[0].path == "/v1/chat/completions"


async def test_a_server_that_is_not_there_is_a_connection_lost(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(ConnectionLostError, match="qwen3:8b") as raised:
            await local_agent.inquire("Hi", base_url="http://127.0.0.1:9/v1", max_retries=0)

    assert raised.value.provider == "openai-compatible"
