"""What an inquiry of `AnthropicAgent` sends, and what it replies with, for answers that are text."""

import logging

import pytest
from pydantic import BaseModel

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AnthropicAgent,
    AnthropicMessage,
    AssistantMessage,
    FileMessage,
    ImageMessage,
    SystemMessage,
    TokenUsage,
    UserMessage,
)
from miniagents.ext.llms.errors import EmptyPromptError, PromptError
from miniagents.testing.server import (
    Answer,
    Gate,
    KeepAlive,
    Ping,
    ProtocolServer,
    Raw,
    UnknownEvent,
    Usage,
)

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5", cache=False)


async def test_the_answer_is_one_message_that_streams_token_by_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in claude_agent.inquire("Hi", system="Be kind.")]

    assert tokens == [["Hello", " there,", " friend!"]]
    assert server.requests[0].body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 4096,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


async def test_without_streaming_the_answer_is_one_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in claude_agent.inquire("Hi", stream=False)]

    assert tokens == [["Hello there, friend!"]]
    assert not server.requests[0].body["stream"]


async def test_who_answers_is_known_before_the_answer_is_complete(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in claude_agent.inquire("Hi"):
            known = message.preliminary_metadata
            assert (known.model, known.role, known.agent_alias) == ("claude-sonnet-5-5", "assistant", "ANTHROPIC_AGENT")
            assert known.provider == "anthropic"
            gate.open()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_fields_of_the_response_are_on_the_message(server: ProtocolServer, stream: bool):
    usage = Usage(input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12)
    server.script(Answer("Hello there!", finish="stop_sequence", usage=usage))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", stream=stream)

    assert isinstance(message, AnthropicMessage)
    assert isinstance(message, AssistantMessage)
    assert str(message) == "Hello there!"
    assert (message.id, message.type, message.role) == ("msg_1", "message", "assistant")
    assert (message.finish_reason, message.stop_reason, message.stop_sequence) == ("stop", "stop_sequence", None)
    assert (message.model, message.provider, message.request_id) == ("claude-sonnet-5-5", "anthropic", "req_loopback")
    assert message.provider_data is None
    assert message.raw_usage.input_tokens == 10
    assert message.usage == TokenUsage(
        input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12
    )


async def test_counts_that_the_provider_does_not_send_are_unknown_and_not_zero(server: ProtocolServer):
    server.script(Answer("Hello!", usage=None))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi")

    assert message.usage == TokenUsage()
    assert message.raw_usage is None


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("brand_new", None),
    ],
)
async def test_why_the_model_stopped_is_told_alike_for_all_providers(
    server: ProtocolServer, stop_reason: str, finish_reason: str | None
):
    server.script(Answer("Hello!", finish=stop_reason))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", max_tokens=100)

    assert (message.finish_reason, message.stop_reason) == (finish_reason, stop_reason)


async def test_a_dialog_arrives_in_the_form_that_the_api_accepts(server: ProtocolServer):
    async with MiniAgents():
        await claude_agent.inquire(
            [
                SystemMessage("Be kind."),
                AssistantMessage("How can I help?"),
                UserMessage("Hi"),
                "  ",
                UserMessage("there"),
                SystemMessage("Be brief."),
                AssistantMessage("Hello "),
            ],
        )

    body = server.requests[0].body
    assert body["system"] == "Be kind.\n\nBe brief."
    assert body["messages"] == [
        {"role": "user", "content": "/start"},
        {"role": "assistant", "content": "How can I help?"},
        {"role": "user", "content": "Hi\n\nthere"},
        {"role": "assistant", "content": "Hello"},
    ]


async def test_a_dialog_of_several_turns_sends_all_that_was_said(server: ProtocolServer):
    said: list[object] = []
    async with MiniAgents():
        for text in ("one", "two", "three"):
            said.append(UserMessage(text))
            said.extend(await claude_agent.inquire(said))

    assert [len(request.body["messages"]) for request in server.requests] == [1, 3, 5]
    assert str(said[-1]) == 'You said "three" (I am claude-sonnet-5-5, this was message 5)'


async def test_pictures_and_documents_are_sent_with_the_text_around_them(server: ProtocolServer):
    said = [
        "Compare these:",
        ImageMessage(media_type="image/png", data=b"png"),
        ImageMessage(media_type="image/jpeg", url="https://example.com/cat.jpg"),
        FileMessage(media_type="application/pdf", data=b"pdf", name="report.pdf"),
        FileMessage(media_type="application/pdf", url="https://example.com/other.pdf"),
        FileMessage(media_type="text/csv", data=b"a,b\n1,2\n", name="table.csv"),
        "Which is best?",
    ]

    async with MiniAgents():
        await claude_agent.inquire(said)

    assert server.requests[0].body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Compare these:"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
                    "title": "report.pdf",
                },
                {"type": "document", "source": {"type": "url", "url": "https://example.com/other.pdf"}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "a,b\n1,2\n"},
                    "title": "table.csv",
                },
                {"type": "text", "text": "Which is best?"},
            ],
        }
    ]


async def test_a_file_that_claude_does_not_read_is_refused_by_name(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(PromptError, match=r"cannot send 'all.zip' of type 'application/zip': Claude reads images"):
            await claude_agent.inquire(FileMessage(media_type="application/zip", data=b"zip", name="all.zip"))

    assert server.requests == []


class Invoice(BaseModel):
    number: int
    items: list[str]


async def test_a_response_model_is_asked_for_as_the_api_wants_it(server: ProtocolServer):
    server.script('{"number": 7, "items": ["tea"]}')

    async with MiniAgents():
        [message] = await claude_agent.inquire("What did we buy?", response_model=Invoice, thinking="low")

    assert message.parsed == Invoice(number=7, items=["tea"])
    config = server.requests[0].body["output_config"]
    assert config["effort"] == "low"
    assert config["format"]["type"] == "json_schema"
    schema = config["format"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["number", "items"], False)


class Prices(BaseModel):
    of: dict[str, float]


async def test_an_open_object_cannot_be_enforced_so_the_model_is_told_of_it(server: ProtocolServer):
    server.script('{"of": {"tea": 2.5}}')

    async with MiniAgents():
        [message] = await claude_agent.inquire("What does tea cost?", response_model=Prices, system="Be brief.")

    assert message.parsed == Prices(of={"tea": 2.5})
    body = server.requests[0].body
    assert "output_config" not in body
    assert body["system"].startswith("Be brief.\n\nAnswer with one JSON value and nothing else.")
    assert '"additionalProperties"' in body["system"]


async def test_an_answer_that_the_default_cut_off_is_warned_about(
    server: ProtocolServer, caplog: pytest.LogCaptureFixture
):
    server.script(Answer("Once upon a", finish="length"), Answer("Once upon a", finish="length"))

    with caplog.at_level(logging.WARNING, "miniagents"):
        async with MiniAgents():
            [message] = await claude_agent.inquire("Tell me a story")
            await claude_agent.inquire("Tell me a story", max_tokens=3)

    assert message.finish_reason == "length"
    assert [record.getMessage() for record in caplog.records] == [
        "The answer of `ANTHROPIC_AGENT` was cut off at the default `max_tokens=4096`: pass a larger `max_tokens=`."
    ]


async def test_a_long_answer_that_is_not_to_be_streamed_is_streamed_underneath(server: ProtocolServer):
    async with MiniAgents():
        tokens = [
            [token async for token in message]
            async for message in claude_agent.inquire("Hi", stream=False, max_tokens=60_000)
        ]

    assert tokens == [['You said "Hi" (I am claude-sonnet-5-5, this was message 1)']]
    assert server.requests[0].body["stream"] is True


async def test_pings_comments_and_unknown_events_are_no_tokens(server: ProtocolServer):
    unknown_delta = Raw(b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "brand_new"}}\n\n')
    server.script(Answer(["Hel", KeepAlive(), Ping(), UnknownEvent(), unknown_delta, "lo\u2028!"]))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in claude_agent.inquire("Hi")]

    assert tokens == ["Hel", "lo\u2028!"]


async def test_a_gateway_that_does_not_announce_its_text_is_understood(server: ProtocolServer):
    events = [
        b'{"type": "message_start", "message": {"id": "m", "type": "message", "content": []}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}}',
        b'{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}',
        b'{"type": "message_stop"}',
    ]
    server.script(Answer([Raw(b"data: " + event + b"\n\n") for event in events]))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in claude_agent.inquire("Hi")]

    assert tokens == ["Hel", "lo"]


async def test_a_system_prompt_alone_is_refused_where_there_is_no_opening(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(EmptyPromptError):
            await claude_agent.inquire(system="Greet the user.", fake_first_user_message=None)

    assert server.requests == []
