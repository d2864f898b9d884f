"""`OpenAIResponsesAgent`: what goes to OpenAI's Responses API, and what its answers become."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import Message, MiniAgents
from miniagents.ext.llms import AssistantMessage, OpenAIAgent, TokenUsage
from miniagents.ext.llms.errors import BadRequestError, ModelNotFoundError, OverloadedError, RateLimitedError
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.ext.llms.openai_responses import OpenAIResponseMessage, OpenAIResponsesAgent
from miniagents.testing.server import (
    Answer,
    Failure,
    Gate,
    Interleaved,
    ProtocolServer,
    Raw,
    RedactedThinking,
    Refusal,
    Thinking,
    ToolCall,
    Usage,
)

sol_agent = OpenAIResponsesAgent.fork(model="gpt-5.6-sol", max_retries=0)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def event(kind: str, **data: Any) -> Raw:
    return Raw(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())


def summary(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    kinds = {ThinkingMessage: "thinking", ToolCallMessage: "call", AssistantMessage: "text"}
    return [
        (next(name for kind, name in kinds.items() if isinstance(message, kind)), message.content or "")
        for message in messages
    ]


async def test_a_text_is_one_message_that_streams_token_by_token(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in sol_agent.inquire("Hi", system="Be brief."):
            tokens = aiter(message)
            first = await anext(tokens)
            gate.open()
            assert [first, await anext(tokens)] == ["Hel", "lo"]
            known = message.preliminary_metadata
            assert (known.model, known.role, known.agent_alias) == (
                "gpt-5.6-sol", "assistant", "OPENAI_RESPONSES_AGENT",
            )  # fmt: skip

    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].body == {
        "model": "gpt-5.6-sol",
        "input": [{"role": "user", "content": "Hi"}],
        "instructions": "Be brief.",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


@both_ways
async def test_usage_and_fields_are_on_the_last_message(server: ProtocolServer, stream: bool):
    usage = Usage(160, 20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12)
    server.script(Answer("Hello there", usage=usage, fields={"model": "gpt-5.6-sol-2026-07-01"}))

    async with MiniAgents():
        [message] = await sol_agent.inquire("Hi", stream=stream)

    assert isinstance(message, OpenAIResponseMessage)
    assert (message.content, message.finish_reason) == ("Hello there", "stop")
    assert (message.model, message.request_id) == ("gpt-5.6-sol-2026-07-01", "req_loopback")
    assert (message.id, message.status) == ("resp_1", "completed")
    assert message.usage == TokenUsage(
        input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12
    )
    assert message.raw_usage.output_tokens_details.reasoning_tokens == 12


@both_ways
async def test_each_block_is_a_message_in_order(server: ProtocolServer, stream: bool):
    calls = Interleaved([ToolCall("add", {"a": 1, "b": 22222}, id="c1"), ToolCall("sub", {"b": 2}, id="c2")])
    server.script(Answer([Thinking("Hm"), Thinking("m."), "Let me", " see.", calls]))

    async with MiniAgents():
        messages = await sol_agent.inquire("Hi", stream=stream)

    assert summary(messages) == [
        ("thinking", "Hmm."),
        ("text", "Let me see."),
        ("call", '{"a": 1, "b": 22222}'),
        ("call", '{"b": 2}'),
    ]
    assert [(call.tool_name, call.tool_call_id) for call in messages[2:]] == [("add", "c1"), ("sub", "c2")]
    assert messages[-1].finish_reason == "tool_calls"


@both_ways
async def test_a_thought_comes_encrypted_and_goes_back_as_it_came(server: ProtocolServer, stream: bool):
    server.script(Answer([RedactedThinking("c2VjcmV0"), ToolCall("add", {"a": 1}, id="c1")]), "It is 3.")

    async with MiniAgents():
        thought, call = await sol_agent.inquire("Add", stream=stream)
        result = ToolResultMessage("3", tool_call_id="c1")
        await sol_agent.inquire(["Add", thought, call, result])

    assert (thought.content, thought.redacted) == ("", True)
    assert server.requests[1].body["input"] == [
        {"role": "user", "content": "Add"},
        {"type": "reasoning", "id": "rs_1_0", "summary": [], "encrypted_content": "c2VjcmV0"},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
    ]


async def test_a_thought_of_chat_completions_stays_behind(server: ProtocolServer):
    server.script(Answer([Thinking("Hmm."), ToolCall("add", {"a": 1}, id="c1")]), "It is 3.")

    async with MiniAgents():
        called = await OpenAIAgent.inquire("Add", model="gpt-5")
        await sol_agent.inquire(["Add", called, ToolResultMessage("3", tool_call_id="c1")])

    assert [item.get("type") for item in server.requests[1].body["input"]] == [
        None, "function_call", "function_call_output",
    ]  # fmt: skip


async def test_the_phase_of_a_text_goes_back_with_it(server: ProtocolServer):
    item = {"id": "msg_1", "type": "message", "role": "assistant", "phase": "commentary"}
    whole = {**item, "content": [{"type": "output_text", "text": "Let me see."}]}
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [whole]}
    server.script(
        Answer(
            [
                event("response.output_item.added", output_index=0, item={**item, "content": []}),
                event("response.output_text.delta", output_index=0, content_index=0, delta="Let me see."),
                event("response.output_item.done", output_index=0, item=whole),
                event("response.completed", response=response),
            ],
            end_mark=False,
        )
    )

    async with MiniAgents():
        [message] = await sol_agent.inquire("Hi")
        await sol_agent.inquire(["Hi", message, "Go on"])

    assert message.content == "Let me see."
    assert server.requests[1].body["input"][1] == {
        "role": "assistant", "content": "Let me see.", "phase": "commentary",
    }  # fmt: skip


async def test_what_was_not_streamed_is_taken_from_the_end(server: ProtocolServer):
    text = {"type": "message", "content": [{"type": "output_text", "text": "Found it."}]}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    response = {"id": "resp_1", "status": "completed", "output": [search, text]}
    server.script(Answer([event("response.completed", response=response)], end_mark=False))

    async with MiniAgents():
        [message] = await sol_agent.inquire("Hi", tools=[{"type": "web_search"}])

    assert message.content == "Found it."
    assert [item.type for item in message.output] == ["web_search_call"]
    assert server.requests[0].body["tools"] == [{"type": "web_search"}]


async def test_pictures_and_documents_are_parts_of_the_users_message(server: ProtocolServer):
    async with MiniAgents():
        await sol_agent.inquire(
            [
                "What is this?",
                ImageMessage(media_type="image/png", data=b"PNG"),
                FileMessage(media_type="application/pdf", url="https://example.org/report.pdf"),
                FileMessage(media_type="application/pdf", data=b"PDF", name="report.pdf"),
            ],
            system=[{"type": "text", "text": "Be brief."}],
        )

    system, user = server.requests[0].body["input"]
    assert system == {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}
    assert user["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,UE5H", "detail": "auto"},
        {"type": "input_file", "file_url": "https://example.org/report.pdf"},
        {"type": "input_file", "filename": "report.pdf", "file_data": "data:application/pdf;base64,UERG"},
    ]


async def test_tools_are_run_with_the_thoughts_that_led_to_them(server: ProtocolServer):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    call = ToolCall("add", {"a": 1, "b": 2}, id="c1")
    server.script(Answer([RedactedThinking("c2VjcmV0"), call]), "It is 3.")

    async with MiniAgents():
        replies = await sol_agent.inquire("Add", tools=[add])

    assert [type(message) for message in replies] == [
        ThinkingMessage, ToolCallMessage, ToolResultMessage, OpenAIResponseMessage,
    ]  # fmt: skip
    first, second = server.requests
    [tool] = first.body["tools"]
    assert (tool["type"], tool["name"], tool["description"], tool["strict"]) == (
        "function", "add", "Add two numbers.", True,
    )  # fmt: skip
    assert [item.get("type") for item in second.body["input"]] == [
        None, "reasoning", "function_call", "function_call_output",
    ]  # fmt: skip
    assert second.body["input"][-1]["output"] == "3"


@both_ways
async def test_a_response_model_is_asked_for_by_its_schema(server: ProtocolServer, stream: bool):
    class City(BaseModel):
        name: str

    server.script('{"name": "Tallinn"}')

    async with MiniAgents():
        [message] = await sol_agent.inquire("Where?", response_model=City, verbosity="low", stream=stream)

    assert message.parsed == City(name="Tallinn")
    text = server.requests[0].body["text"]
    assert text["verbosity"] == "low"
    assert (text["format"]["type"], text["format"]["name"], text["format"]["strict"]) == ("json_schema", "City", True)


async def test_a_level_of_thinking_asks_for_a_summary_too_unless_the_server_refuses(server: ProtocolServer):
    words = "Your organization must be verified to generate reasoning summaries."
    server.script("Hello", Failure(400, words, param="reasoning.summary"), "Hello")

    async with MiniAgents():
        for model in ("gpt-5.1", "gpt-5.2"):
            await sol_agent.inquire("Hi", model=model, thinking="low")

    assert [request.body["reasoning"] for request in server.requests] == [
        {"effort": "low", "summary": "auto"},
        {"effort": "low", "summary": "auto"},
        {"effort": "low"},
    ]


async def test_a_conversation_that_the_server_keeps_is_kept_there(server: ProtocolServer):
    async with MiniAgents():
        await sol_agent.inquire("Hi", previous_response_id="resp_0")
        await sol_agent.inquire("Hi", store=True)

    assert not {"store", "include"} & set(server.requests[0].body)
    assert server.requests[1].body["store"] is True
    assert "include" not in server.requests[1].body


async def test_models_that_do_not_think_are_not_asked_for_encrypted_thoughts(server: ProtocolServer):
    async with MiniAgents():
        await sol_agent.inquire("Hi", model="gpt-4o")

    assert "include" not in server.requests[0].body


@both_ways
@pytest.mark.parametrize(
    ("sent", "told"), [("length", "length"), ("content_filter", "content_filter"), ("stop", "stop")]
)
async def test_reasons_to_end_are_called_alike(server: ProtocolServer, sent: str, told: str, stream: bool):
    server.script(Answer("Hello", finish=sent))

    async with MiniAgents():
        [message] = await sol_agent.inquire("Hi", stream=stream)

    assert message.finish_reason == told


@both_ways
async def test_the_words_of_a_refusal_are_the_text_of_the_message(server: ProtocolServer, stream: bool):
    server.script(Answer([Refusal("I would"), Refusal(" rather not.")]))

    async with MiniAgents():
        [message] = await sol_agent.inquire("Hi", stream=stream)

    assert (message.content, message.finish_reason) == ("I would rather not.", "refusal")


@pytest.mark.parametrize(
    ("failure", "expected", "code"),
    [
        (
            event(
                "response.failed", response={"status": "failed", "error": {"code": "server_overloaded", "message": "!"}}
            ),
            OverloadedError,
            "server_overloaded",
        ),
        (event("error", code="rate_limit_exceeded", message="!", param=None), RateLimitedError, "rate_limit_exceeded"),
        (event("error", error={"type": "invalid_request_error", "code": None, "message": "!"}), BadRequestError, None),
    ],
    ids=["failed", "error", "nested error"],
)
async def test_a_failure_that_comes_as_an_event_is_an_error(
    server: ProtocolServer, failure: Raw, expected: type[Exception], code: str | None
):
    server.script(Answer(["Once", failure], end_mark=False))

    async with MiniAgents():
        with pytest.raises(expected) as raised:
            await sol_agent.inquire("Hi")

    assert raised.value.partial_text == "Once"
    assert raised.value.request_id == "req_loopback"
    assert code is None or raised.value.code == code


async def test_a_failure_before_the_first_byte_is_the_same_error(server: ProtocolServer):
    server.script(Failure(404, "no such model"))

    async with MiniAgents():
        with pytest.raises(ModelNotFoundError) as raised:
            await sol_agent.inquire("Hi")

    assert (raised.value.status_code, raised.value.code) == (404, "model_not_found")
