import logging

import pytest
from anthropic import Anthropic, AsyncAnthropic, OverloadedError, RateLimitError

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AnthropicAgent,
    AnthropicMessage,
    AssistantMessage,
    SystemMessage,
    TokenUsage,
    UserMessage,
)
from miniagents.ext.llms.errors import EmptyPromptError, MissingAPIKeyError, WrongClientError
from tests.support.protocol_server import Answer, Failure, Gate, ProtocolServer, Raw, Thinking, ToolCall

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5")


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


async def test_who_answers_is_known_before_anything_was_sent(server: ProtocolServer):
    gate = Gate()
    server.script(Answer([gate, "Hello"]))

    async with MiniAgents():
        async for message in claude_agent.inquire("Hi"):
            known = message.preliminary_metadata
            assert (known.model, known.role, known.agent_alias) == ("claude-sonnet-5-5", "assistant", "ANTHROPIC_AGENT")
            gate.open()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_fields_of_the_response_are_on_the_message(server: ProtocolServer, stream: bool):
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 50,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 12},
    }
    server.script(Answer("Hello there!", stop="stop_sequence", usage=usage))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", stream=stream)

    assert isinstance(message, AnthropicMessage)
    assert isinstance(message, AssistantMessage)
    assert str(message) == "Hello there!"
    assert (message.id, message.type, message.role) == ("msg_1", "message", "assistant")
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", None)
    assert "content_blocks" not in message
    assert message.raw_usage.input_tokens == 10
    assert message.usage == TokenUsage(
        input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12
    )


async def test_a_streamed_answer_has_the_fields_of_a_whole_one(server: ProtocolServer):
    steps = [Thinking("Hm", None), Thinking("m.", "signed"), "Let", " me", ToolCall("t1", "add", ('{"a": ', "1}"))]
    answer = Answer(steps, fields={"id": "x"})
    server.script(answer, answer)

    async with MiniAgents():
        [streamed] = await claude_agent.inquire("Hi", stream=True)
        [whole] = await claude_agent.inquire("Hi", stream=False)

    assert streamed == whole


async def test_blocks_of_other_kinds_are_kept_as_they_would_be_sent_back(server: ProtocolServer):
    steps = [Thinking("Hm", None), Thinking("m.", "signed"), "Let", " me", ToolCall("t1", "add", ('{"a": ', "1}"))]
    server.script(Answer(steps))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi")

    assert str(message) == "Let me"
    assert [block.as_kwargs() for block in message.content_blocks][:2] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "signed"},
        {"type": "text", "text": "Let me"},
    ]
    tool_use = message.content_blocks[2]
    assert (tool_use.type, tool_use.id, tool_use.name, tool_use.input.a) == ("tool_use", "t1", "add", 1)
    assert message.stop_reason == "tool_use"


async def test_arguments_that_were_cut_off_are_kept_as_text(server: ProtocolServer):
    server.script(Answer([ToolCall("t1", "add", ('{"a": ',))], stop="max_tokens"))

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", max_tokens=5)

    assert message.content_blocks[0].input == '{"a": '


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


async def test_sampling_parameters_go_with_the_version_of_the_api_that_takes_them(server: ProtocolServer):
    async with MiniAgents():
        await claude_agent.inquire("Hi", temperature=0.5, top_k=3, extra_headers={"x-trace": "1"})
        await claude_agent.inquire("Hi", temperature=None, stream=False, top_p=0.9)
        await claude_agent.inquire("Hi")

    old, also_old, new = (request.headers["anthropic-version"] for request in server.requests)
    assert (old, also_old) == ("2023-06-01", "2023-06-01")
    assert new > "2023-06-01"
    assert (server.requests[0].body["temperature"], server.requests[0].body["top_k"]) == (0.5, 3)
    assert server.requests[0].headers["x-trace"] == "1"
    assert "temperature" not in server.requests[1].body


async def test_a_version_of_ones_own_wins(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(Exception, match="temperature: Extra inputs are not permitted"):
            await claude_agent.inquire("Hi", temperature=0.5, extra_headers={"Anthropic-Version": "2026-10-21"})


async def test_any_parameter_of_the_api_passes_through(server: ProtocolServer):
    block = {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    async with MiniAgents():
        await claude_agent.inquire(
            [SystemMessage("Be kind."), "Hi"],
            system=[block],
            stop_sequences=["END"],
            metadata={"user_id": "u1"},
            output_config={"effort": "high"},
            x_unknown_to_the_sdk=[1, {"a": 2}],
        )

    body = server.requests[0].body
    assert body["system"] == [block, {"type": "text", "text": "Be kind."}]
    assert (body["stop_sequences"], body["metadata"]) == (["END"], {"user_id": "u1"})
    assert (body["output_config"], body["x_unknown_to_the_sdk"]) == ({"effort": "high"}, [1, {"a": 2}])


async def test_the_default_of_max_tokens_leaves_room_for_a_budget_to_think(server: ProtocolServer):
    async with MiniAgents():
        await claude_agent.inquire("Hi", thinking={"type": "enabled", "budget_tokens": 2000})
        await claude_agent.inquire("Hi", thinking={"type": "adaptive"})

    assert [request.body["max_tokens"] for request in server.requests] == [6096, 4096]


async def test_an_answer_that_the_default_cut_off_is_warned_about(
    server: ProtocolServer, caplog: pytest.LogCaptureFixture
):
    server.script(Answer("Once upon a", stop="max_tokens"), Answer("Once upon a", stop="max_tokens"))

    with caplog.at_level(logging.WARNING, "miniagents"):
        async with MiniAgents():
            [message] = await claude_agent.inquire("Tell me a story")
            await claude_agent.inquire("Tell me a story", max_tokens=3)

    assert message.stop_reason == "max_tokens"
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
    odd = [
        Raw(b": keep-alive\n\n"),
        Raw(b'event: ping\ndata: {"type": "ping"}\n\n'),
        Raw(b'event: brand_new\ndata: {"type": "brand_new", "index": 0}\n\n'),
        Raw(b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "brand_new"}}\n\n'),
    ]
    server.script(Answer(["Hel", *odd, "lo\u2028!"]))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in claude_agent.inquire("Hi")]

    assert tokens == ["Hel", "lo\u2028!"]


async def test_errors_before_the_first_byte_are_those_of_the_sdk_after_its_retries(server: ProtocolServer):
    failures = [Failure(429, headers={"retry-after-ms": "1"})] * 3
    overloaded = [Failure(529, type="overloaded_error", headers={"retry-after-ms": "1"})] * 3
    server.script(*failures, *overloaded)

    async with MiniAgents():
        with pytest.raises(RateLimitError):
            await claude_agent.inquire("Hi")
        with pytest.raises(OverloadedError):
            await claude_agent.inquire("Hi")

    assert len(server.requests) == 6


async def test_a_client_of_ones_own_is_used(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    client = AsyncAnthropic(base_url=server.anthropic_base_url, api_key="my-own-key")

    async with client, MiniAgents():
        await claude_agent.inquire("Hi", async_client=client)

    assert server.requests[0].headers["authorization"] == "Bearer my-own-key"


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


async def test_a_system_prompt_alone_is_refused_where_there_is_no_opening(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(EmptyPromptError):
            await claude_agent.inquire(system="Greet the user.", fake_first_user_message=None)

    assert server.requests == []
