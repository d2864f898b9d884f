"""Thoughts, calls of tools, citations and tools of the provider's own: as messages, and word for word on the way back."""

from collections.abc import Sequence
from typing import Any

import pytest

from miniagents import MiniAgents, miniagent
from miniagents.ext.llms import (
    AnthropicAgent,
    AnthropicMessage,
    AssistantMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.messages import Message
from miniagents.testing.server import (
    Answer,
    Cited,
    Cut,
    Gate,
    ProtocolServer,
    Raw,
    RedactedThinking,
    Thinking,
    ToolCall,
)
from miniagents.testing.server.anthropic import MessageRendering

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5", cache=False)
STREAMED_AND_WHOLE = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def kinds(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(type(message).__name__, str(message)) for message in messages]


async def ask(*said: object, **settings: Any) -> tuple[Message, ...]:
    async with MiniAgents():
        return await claude_agent.inquire(list(said), **settings)


# ---------------------------------------------------------------------------------------------------- messages


@STREAMED_AND_WHOLE
async def test_each_block_is_a_message_in_the_order_in_which_the_model_made_them(server: ProtocolServer, stream: bool):
    server.script(
        Answer(
            [
                Thinking("Hm"),
                Thinking("m.", "signed"),
                RedactedThinking("secret"),
                "Let",
                " me",
                ToolCall("add", '{"a":1}', id="t1"),
                ToolCall("now", id="t2"),
            ]
        )
    )

    messages = await ask("Hi", stream=stream)

    assert kinds(messages) == [
        ("ThinkingMessage", "Hmm."),
        ("ThinkingMessage", ""),
        ("AnthropicMessage", "Let me"),
        ("ToolCallMessage", '{"a":1}'),
        ("ToolCallMessage", ""),
    ]
    thought, hidden, text, add, now = messages
    assert (thought.signature, hidden.redacted, hidden.provider_data.data) == ("signed", True, "secret")
    assert (add.tool_name, add.tool_call_id, add.arguments.a) == ("add", "t1", 1)
    assert (now.tool_name, now.tool_call_id, now.arguments.as_kwargs()) == ("now", "t2", {})
    assert [message.finish_reason for message in messages] == [None, None, None, None, "tool_calls"]
    assert {message.provider for message in messages} == {"anthropic"}
    assert text.usage is None
    assert now.usage.output_tokens > 0


async def test_a_block_streams_while_the_next_is_not_there_yet(server: ProtocolServer):
    gate = Gate()
    server.script(Answer([Thinking("Hm"), gate, Thinking("m."), "Yes", ToolCall("add", '{"a": 1}')]))
    tokens: list[list[str]] = []

    async with MiniAgents():
        async for message in claude_agent.inquire("Hi"):
            tokens.append([])
            async for token in message:
                tokens[-1].append(token)
                gate.open()

    assert tokens[0] == ["Hm", "m."]
    assert tokens[1] == ["Yes"]
    assert "".join(tokens[2]) == '{"a": 1}'


async def test_a_text_of_several_blocks_is_one_message_that_knows_its_citations(server: ProtocolServer):
    server.script(Answer(["The grass is ", Cited("green", {"document_index": 3}), "."]))

    [message] = await ask("What colour is grass?")

    assert str(message) == "The grass is green."
    [block] = message.provider_data
    assert block.text == "The grass is green."
    [citation] = block.citations
    assert (citation.type, citation.cited_text, citation.document_index) == ("char_location", "green", 3)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[Raw]:
    """The events of one content block, as they stand on the wire."""
    event = MessageRendering.event
    rendering = MessageRendering.__new__(MessageRendering)
    return [
        Raw(event(rendering, "content_block_start", index=index, content_block=start)),
        *(Raw(event(rendering, "content_block_delta", index=index, delta=delta)) for delta in deltas),
        Raw(event(rendering, "content_block_stop", index=index)),
    ]


FOUND = [{"type": "web_search_result", "url": "https://example.com", "title": "Grass", "encrypted_content": "x"}]
SEARCH = [
    *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "I will look."}),
    *block(
        1,
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"query": "gr'},
        {"type": "input_json_delta", "partial_json": 'ass"}'},
    ),
    *block(2, {"type": "web_search_tool_result", "tool_use_id": "s1", "content": FOUND}),
    *block(3, {"type": "brand_new", "content": None}, {"type": "brand_new_delta", "content": "new"}),
    *block(
        4,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://example.com"}},
        {"type": "text_delta", "text": " It is"},
        {"type": "text_delta", "text": " green."},
    ),
]
SEARCHED = [
    {"type": "text", "text": "I will look."},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "grass"}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": FOUND},
    {"type": "brand_new", "content": "new"},
    {
        "type": "text",
        "text": " It is green.",
        "citations": [{"type": "web_search_result_location", "url": "https://example.com"}],
    },
]


async def test_what_tools_of_the_provider_did_goes_back_word_for_word(server: ProtocolServer):
    server.script(Answer(SEARCH))
    web_search = {"type": "web_search_20260318", "name": "web_search"}

    said = await ask("What colour is grass?", tools=[web_search])
    await ask("What colour is grass?", *said, "Sure?", tools=[web_search])

    assert kinds(said) == [("AnthropicMessage", "I will look. It is green.")]
    first, second = server.requests
    assert first.body["tools"] == [web_search]
    assert second.body["messages"][1] == {"role": "assistant", "content": SEARCHED}


async def test_a_stored_message_goes_back_word_for_word_too(server: ProtocolServer):
    server.script(Answer([*SEARCH, ToolCall("add", {"a": 1}, id="t1")]))

    said = await ask("What colour is grass?")
    restored = [type(message).model_validate_json(message.model_dump_json()) for message in said]
    await ask("What colour is grass?", *restored)

    content = server.requests[1].body["messages"][1]["content"]
    assert content[:-1] == SEARCHED
    assert content[-1] == {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}


async def test_blocks_that_are_no_text_are_carried_by_a_message_without_text(server: ProtocolServer):
    server.script(Answer([*SEARCH[3:10], ToolCall("add", {"a": 1}, id="t1")]))

    said = await ask("What colour is grass?")

    assert [kind for kind, _ in kinds(said)] == ["AnthropicMessage", "ToolCallMessage"]
    assert [part.type for part in said[0].provider_data] == ["server_tool_use", "web_search_tool_result"]


# ---------------------------------------------------------------------------------------------------- the way back


async def test_thoughts_go_back_verbatim_with_the_calls_that_they_led_to(server: ProtocolServer):
    server.script(
        Answer(
            [
                Thinking(" I have to\nadd. ", "sig=="),
                RedactedThinking("c2VjcmV0"),
                "Let me see.",
                ToolCall("add", {"a": 1, "b": 2}, id="t1"),
            ]
        ),
        "It is 3.",
    )

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    said = await ask("1 + 2?", tools=[add])

    assert str(said[-1]) == "It is 3."
    assert server.requests[1].body["messages"] == [
        {"role": "user", "content": "1 + 2?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": " I have to\nadd. ", "signature": "sig=="},
                {"type": "redacted_thinking", "data": "c2VjcmV0"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}]},
    ]


async def test_tools_are_described_as_the_api_wants_them(server: ProtocolServer):
    def add(a: int, b: int = 0) -> int:
        """Add two numbers."""
        return a + b

    await ask("Hi", tools=[add])

    [tool] = server.requests[0].body["tools"]
    assert (tool["name"], tool["description"]) == ("add", "Add two numbers.")
    assert tool["input_schema"]["properties"].keys() == {"a", "b"}
    assert tool["input_schema"]["type"] == "object"


async def test_calls_of_one_turn_run_at_the_same_time_and_are_answered_in_one_message(server: ProtocolServer):
    calls = [ToolCall("meet", {"name": name}, id=name) for name in ("one", "two", "three")]
    server.script(Answer(calls), "Done.")
    here: list[str] = []
    all_here = Gate()

    @miniagent
    async def meet(ctx, name: str) -> None:
        """Wait for the others."""
        here.append(name)
        if len(here) == 3:
            all_here.open()
        await all_here.pass_through()
        ctx.reply(f"{name} was here")

    await ask("Hi", tools=[meet])

    answers = server.requests[1].body["messages"][-1]
    assert answers["role"] == "user"
    assert [(block["tool_use_id"], block["content"]) for block in answers["content"]] == [
        ("one", "one was here"),
        ("two", "two was here"),
        ("three", "three was here"),
    ]


async def test_a_failed_call_says_so_and_results_stand_before_what_the_user_adds(server: ProtocolServer):
    await ask(
        "Hi",
        ToolCallMessage(tool_name="add", tool_call_id="t1", arguments={"a": [{"b": None}]}),
        ToolCallMessage('{"a": ', tool_name="add", tool_call_id="t2"),
        "One more thing:",
        ToolResultMessage("No.", tool_call_id="t1", is_error=True),
        ToolResultMessage(tool_call_id="t2"),
        UserMessage("hurry!"),
    )

    assert server.requests[0].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": [{"b": None}]}},
                {"type": "tool_use", "id": "t2", "name": "add", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "No.", "is_error": True},
                {"type": "tool_result", "tool_use_id": "t2"},
                {"type": "text", "text": "One more thing:\n\nhurry!"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("asked", "thought_by", "goes_back"),
    [
        ("claude-sonnet-5-5", "claude-sonnet-5-5", True),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", True),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5@20251001", True),
        ("claude-opus-5-5", "claude-opus-5", False),
        ("claude-sonnet-5-5", "claude-opus-5-5", False),
    ],
)
async def test_a_thought_goes_back_to_the_model_that_had_it_only(
    server: ProtocolServer, asked: str, thought_by: str, goes_back: bool
):
    thought = ThinkingMessage("Hmm.", signature="sig", model=thought_by, provider="anthropic")

    await ask("Hi", thought, AssistantMessage("Hello!"), "Again", model=asked)

    content = server.requests[0].body["messages"][1]["content"]
    hello = {"type": "text", "text": "Hello!"}
    expected = [{"type": "thinking", "thinking": "Hmm.", "signature": "sig"}, hello]
    assert content == (expected if goes_back else "Hello!")


async def test_thoughts_that_the_api_would_refuse_are_left_out(server: ProtocolServer):
    unsigned = ThinkingMessage("Hmm.", model="claude-sonnet-5-5", provider="anthropic")
    of_another = ThinkingMessage("Hmm.", signature="sig", model="gpt-5.5", provider="openai")
    at_the_end = ThinkingMessage("Hmm.", signature="sig", model="claude-sonnet-5-5", provider="anthropic")

    await ask("Hi", unsigned, of_another, at_the_end, "Still there?")

    assert server.requests[0].body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Still there?"}],
        }
    ]


async def test_blocks_of_another_provider_go_as_their_text(server: ProtocolServer):
    await ask(
        "Hi",
        AssistantMessage("Hello!", provider="openai", provider_data=[{"type": "output_text", "text": "Hello!"}]),
        AssistantMessage("How are you?"),
        "Fine.",
    )

    assert server.requests[0].body["messages"][1] == {"role": "assistant", "content": "Hello!\n\nHow are you?"}


async def test_what_one_claude_says_to_another_is_what_its_user_says(server: ProtocolServer):
    cited = AnthropicMessage("Green.", provider="anthropic", provider_data=[{"type": "text", "text": "Green."}])

    await ask(cited)

    assert server.requests[0].body["messages"] == [{"role": "user", "content": "Green."}]


async def test_a_model_that_only_paused_is_asked_again_with_what_it_said_so_far(server: ProtocolServer):
    server.script(Answer(SEARCH[:8], finish="pause"), "It is green.")

    *paused, message = await ask("What colour is grass?")

    assert (paused[-1].finish_reason, paused[-1].stop_reason) == ("stop", "pause_turn")
    assert server.requests[1].body["messages"] == [
        {"role": "user", "content": "What colour is grass?"},
        {"role": "assistant", "content": SEARCHED[:2]},
    ]
    assert str(message) == "It is green."


async def test_the_fields_of_a_broken_turn_do_not_get_lost_with_it(server: ProtocolServer):
    server.script(Answer([Thinking("Hmm", "sig"), "Hel", Cut()]))

    async with MiniAgents():
        messages = [message async for message in claude_agent.inquire("Hi")]
        thought = await messages[0]
        with pytest.raises(Exception, match="ended without the event `message_stop`") as raised:
            await messages[1]

    assert (str(thought), thought.signature) == ("Hmm", "sig")
    assert raised.value.partial_text == "Hel"
