"""What a conversation looks like when it goes to chat completions."""

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import MiniAgents
from miniagents.ext.llms import AssistantMessage, OpenAIAgent, SystemMessage, UserMessage
from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.testing.server import Answer, ProtocolServer, Thinking, ToolCall

gpt_agent = OpenAIAgent.fork(model="gpt-4o")


async def sent(server: ProtocolServer, messages: Any, **settings: Any) -> dict[str, Any]:
    async with MiniAgents():
        await gpt_agent.inquire(messages, **settings)
    return server.requests[-1].body


async def test_pictures_and_documents_are_parts_of_the_users_message(server: ProtocolServer):
    body = await sent(
        server,
        [
            "What is this?",
            ImageMessage(media_type="image/png", data=b"PNG"),
            ImageMessage(media_type="image/jpeg", url="https://example.org/cat.jpg", detail="low"),
            FileMessage(media_type="application/pdf", data=b"PDF", name="report.pdf"),
            FileMessage(media_type="audio/mpeg", data=b"MP3"),
            "Be brief.",
        ],
    )

    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}"},
                },
                {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg", "detail": "low"}},
                {
                    "type": "file",
                    "file": {
                        "filename": "report.pdf",
                        "file_data": f"data:application/pdf;base64,{base64.b64encode(b'PDF').decode()}",
                    },
                },
                {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"MP3").decode(), "format": "mp3"}},
                {"type": "text", "text": "Be brief."},
            ],
        }
    ]


async def test_a_file_that_is_only_a_url_is_refused_with_the_way_out(server: ProtocolServer):
    with pytest.raises(UnsupportedOptionError, match=r"`data=` or `path=`, or use `OpenAIResponsesAgent`"):
        await sent(server, FileMessage(media_type="application/pdf", url="https://example.org/report.pdf"))

    assert server.requests == []


async def test_calls_of_tools_go_back_with_the_text_of_their_turn_and_results_follow_in_order(server: ProtocolServer):
    body = await sent(
        server,
        [
            UserMessage("Add and multiply."),
            AssistantMessage("With pleasure."),
            ToolCallMessage('{"a": 1}', tool_name="add", tool_call_id="c1", arguments={"a": 1}),
            ToolCallMessage(tool_name="multiply", tool_call_id="c2", arguments={"b": 2}),
            ToolResultMessage("3", tool_call_id="c1", tool_name="add"),
            ToolResultMessage("No such tool.", tool_call_id="c2", is_error=True),
            UserMessage("Thanks."),
        ],
    )

    assert body["messages"] == [
        {"role": "user", "content": "Add and multiply."},
        {
            "role": "assistant",
            "content": "With pleasure.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "multiply", "arguments": '{"b": 2}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c2", "content": "No such tool."},
        {"role": "user", "content": "Thanks."},
    ]


async def test_a_thought_goes_back_only_with_the_tool_calls_that_it_led_to(server: ProtocolServer):
    server.script(Answer([Thinking("Hmm."), ToolCall("add", {"a": 1}, id="c1")]), Answer([Thinking("So."), "It is 3."]))

    async with MiniAgents():
        called = await gpt_agent.inquire("Add")
        result = ToolResultMessage("3", tool_call_id="c1")
        said = await gpt_agent.inquire(["Add", called, result])
        await gpt_agent.inquire(["Add", called, result, said, "Thanks"])

    call, _, answer, _ = server.requests[2].body["messages"][1:]
    assert call["reasoning_content"] == "Hmm."
    assert call["content"] is None
    assert answer == {"role": "assistant", "content": "It is 3."}


async def test_a_thought_of_another_provider_stays_behind(server: ProtocolServer):
    body = await sent(
        server,
        ["Hi", ThinkingMessage("secret", provider="anthropic", signature="x"), AssistantMessage("Hello"), "Bye"],
    )

    assert body["messages"][1] == {"role": "assistant", "content": "Hello"}


async def test_system_blocks_stand_before_the_system_text(server: ProtocolServer):
    body = await sent(server, [SystemMessage("Be kind."), "Hi"], system=[{"type": "text", "text": "Be brief."}])

    assert body["messages"][0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
    }


async def test_tools_are_described_by_their_schema(server: ProtocolServer):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    body = await sent(server, "Hi", tools=[add])

    [tool] = body["tools"]
    assert tool["type"] == "function"
    assert (tool["function"]["name"], tool["function"]["description"]) == ("add", "Add two numbers.")
    assert set(tool["function"]["parameters"]["properties"]) == {"a", "b"}
    assert tool["function"]["strict"] is True


async def test_a_response_model_is_asked_for_by_its_schema(server: ProtocolServer):
    class City(BaseModel):
        name: str

    server.script('{"name": "Tallinn"}')

    body = await sent(server, "Where?", response_model=City)

    schema = body["response_format"]["json_schema"]
    assert body["response_format"]["type"] == "json_schema"
    assert schema["name"] == "City"
    assert schema["strict"] is True
    assert schema["schema"]["additionalProperties"] is False


async def test_options_of_a_stream_are_added_to_those_that_are_given(server: ProtocolServer):
    body = await sent(server, "Hi", stream_options={"include_obfuscation": False})

    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
