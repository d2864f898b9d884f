"""Options by model generation, the marks for the cache, and what is refused before anything is sent."""

from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AnthropicAgent,
    AssistantMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.testing.server import Answer, ProtocolServer, Thinking, ToolCall

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5")
MARK = {"cache_control": {"type": "ephemeral"}}


async def body_of(server: ProtocolServer, *said: object, **settings: Any) -> dict[str, Any]:
    async with MiniAgents():
        await claude_agent.inquire(list(said) or "Hi", **settings)
    return server.requests[-1].body


# ---------------------------------------------------------------------------------------------------- thinking


SUMMARIZED = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "level", "thinking", "effort", "max_tokens"),
    [
        ("claude-opus-5-5", "high", SUMMARIZED, "high", 4096 + 16384),
        ("claude-sonnet-5-5", "medium", SUMMARIZED, "medium", 4096 + 8192),
        ("claude-fable-5-1", "low", SUMMARIZED, "low", 4096 + 2048),
        ("claude-mythos-preview", "low", SUMMARIZED, "low", 4096 + 2048),
        ("claude-opus-4-7", "low", SUMMARIZED, "low", 4096 + 2048),
        ("claude-opus-4-6", "low", {"type": "adaptive"}, "low", 4096 + 2048),
        ("us.anthropic.claude-sonnet-4-6-v1:0", "low", {"type": "adaptive"}, "low", 4096 + 2048),
        ("claude-haiku-4-5-20251001", "low", {"type": "enabled", "budget_tokens": 2048}, None, 4096 + 2048),
        ("claude-opus-4-20250514", "high", {"type": "enabled", "budget_tokens": 16384}, None, 4096 + 16384),
        ("claude-3-7-sonnet-20250219", "medium", {"type": "enabled", "budget_tokens": 8192}, None, 4096 + 8192),
        ("my-own-deployment", "high", SUMMARIZED, "high", 4096 + 16384),
        ("claude-opus-6", "high", SUMMARIZED, "high", 4096 + 16384),
        ("claude-opus-5", "off", {"type": "disabled"}, None, 4096),
        ("claude-haiku-5-5", "off", {"type": "disabled"}, None, 4096),
        ("claude-sonnet-5-5", "off", {"type": "between_tools"}, None, 4096),
        ("claude-opus-4-8", "off", None, None, 4096),
        ("claude-haiku-4-5", "off", None, None, 4096),
        ("claude-sonnet-5-5", None, None, None, 4096),
    ],
)
@pytest.mark.filterwarnings("ignore:The model 'claude-.*' is deprecated:DeprecationWarning")
async def test_a_level_of_thinking_is_what_the_generation_of_the_model_makes_of_it(
    server: ProtocolServer,
    model: str,
    level: str | None,
    thinking: dict[str, Any] | None,
    effort: str | None,
    max_tokens: int,
):
    body = await body_of(server, model=model, thinking=level)

    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == max_tokens


async def test_a_budget_stays_below_the_longest_answer(server: ProtocolServer):
    body = await body_of(server, model="claude-haiku-4-5", thinking="high", max_tokens=4000)

    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (3999, 4000)


@pytest.mark.parametrize("thought", [None, "claude-opus-5"], ids=["no thought", "another's thought"])
async def test_a_model_with_a_budget_does_not_begin_to_think_between_a_call_and_its_result(
    server: ProtocolServer, thought: str | None
):
    said = [
        "1 + 2?",
        *([ThinkingMessage("Hm.", signature="s", provider="anthropic", model=thought)] if thought else []),
        ToolCallMessage('{"a": 1, "b": 2}', tool_name="add", tool_call_id="t1"),
        ToolResultMessage("3", tool_call_id="t1"),
    ]

    refused = await body_of(server, *said, model="claude-haiku-4-5", thinking="low", tools=[add])
    adaptive = await body_of(server, *said, thinking="low", tools=[add])

    assert "thinking" not in refused
    assert adaptive["thinking"] == SUMMARIZED


async def test_an_effort_of_ones_own_wins(server: ProtocolServer):
    body = await body_of(server, thinking="low", output_config={"effort": "max"})

    assert body["output_config"] == {"effort": "max"}


@pytest.mark.parametrize(
    ("model", "settings", "sentence"),
    [
        ("claude-opus-5-5", {"thinking": "off"}, "cannot send `thinking='off'` to `claude-opus-5-5`.*thinking='low'"),
        ("claude-mythos-preview", {"thinking": "off"}, "always thinks"),
        ("claude-haiku-4-5", {"thinking": "low", "max_tokens": 1000}, "Give more than 1024"),
        ("claude-sonnet-5-5", {"temperature": 0.5}, "cannot send `temperature`.*say in `system`"),
        ("claude-opus-4-7", {"top_p": 0.9}, "cannot send `top_p`"),
        ("claude-sonnet-5-5", {"extra_body": {"top_k": 3}}, "cannot send `top_k`"),
        ("claude-sonnet-5-5", {"output_format": {"type": "json_schema"}}, "use `response_model=`"),
        (
            "claude-opus-5",
            {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2000}}},
            "cannot send `thinking.budget_tokens`.*Use `thinking='low'`, `'medium'` or `'high'`",
        ),
        ("claude-sonnet-5-5", {"extra_body": {"thinking": {"type": "disabled"}}}, "use `thinking='off'`"),
        ("claude-sonnet-5-5", {"tool_choice": {"type": "tool", "name": "add"}}, "cannot be forced to call a tool"),
    ],
)
async def test_what_the_model_refuses_is_refused_before_any_request(
    server: ProtocolServer, model: str, settings: dict[str, Any], sentence: str
):
    async with MiniAgents():
        with pytest.raises(UnsupportedOptionError, match=sentence) as raised:
            await claude_agent.inquire("Hi", model=model, **settings)

    assert raised.value.model == model
    assert server.requests == []


async def test_sampling_parameters_go_with_the_version_of_the_api_that_takes_them(server: ProtocolServer):
    older_agent = claude_agent.fork(model="claude-haiku-4-5")

    async with MiniAgents():
        await older_agent.inquire("Hi", temperature=0.5, top_k=3, extra_headers={"x-trace": "1"})
        await older_agent.inquire("Hi", temperature=None, stream=False, top_p=0.9)
        await older_agent.inquire("Hi")

    old, also_old, new = (request.headers["anthropic-version"] for request in server.requests)
    assert (old, also_old) == ("2023-06-01", "2023-06-01")
    assert new > "2023-06-01"
    assert (server.requests[0].body["temperature"], server.requests[0].body["top_k"]) == (0.5, 3)
    assert server.requests[0].headers["x-trace"] == "1"
    assert "temperature" not in server.requests[1].body


async def test_a_version_of_ones_own_wins(server: ProtocolServer):
    headers = {"Anthropic-Version": "2026-10-21"}

    async with MiniAgents():
        with pytest.raises(Exception, match="temperature: Extra inputs are not permitted"):
            await claude_agent.inquire("Hi", model="claude-haiku-4-5", temperature=0.5, extra_headers=headers)


async def test_any_parameter_of_the_api_passes_through(server: ProtocolServer):
    block = {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}

    body = await body_of(
        server,
        SystemMessage("Be kind."),
        "Hi",
        system=[block],
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        output_config={"effort": "high"},
        x_unknown_to_the_sdk=[1, {"a": 2}],
    )

    assert body["system"] == [block, {"type": "text", "text": "Be kind."}]
    assert (body["stop_sequences"], body["metadata"]) == (["END"], {"user_id": "u1"})
    assert (body["output_config"], body["x_unknown_to_the_sdk"]) == ({"effort": "high"}, [1, {"a": 2}])


# ---------------------------------------------------------------------------------------------------- the cache


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_the_system_prompt_is_marked_for_the_cache_and_a_first_question_is_not(server: ProtocolServer):
    body = await body_of(server, "Hi", system="Be kind.", tools=[add])

    assert body["system"] == [{"type": "text", "text": "Be kind.", **MARK}]
    # What stands before the mark belongs to it.
    assert "cache_control" not in body["tools"][0]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


async def test_without_a_system_prompt_the_last_tool_is_marked(server: ProtocolServer):
    def now() -> str:
        """Tell the time."""
        return "noon"

    body = await body_of(server, "Hi", tools=[add, now])

    assert [tool.get("cache_control") for tool in body["tools"]] == [None, MARK["cache_control"]]


async def test_the_dialog_is_marked_up_to_the_last_turn_of_the_model(server: ProtocolServer):
    said = ["One", AssistantMessage("Two"), "Three", AssistantMessage("Four"), "Five"]

    body = await body_of(server, *said)

    assert body["messages"] == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
        {"role": "assistant", "content": [{"type": "text", "text": "Four", **MARK}]},
        {"role": "user", "content": "Five"},
    ]


async def test_in_a_round_of_tools_the_mark_moves_on_and_never_stands_on_a_thought(server: ProtocolServer):
    server.script(
        Answer([Thinking("Hm.", "sig"), ToolCall("add", {"a": 1, "b": 2}, id="t1")]),
        Answer([Thinking("Hm.", "sig"), ToolCall("add", {"a": 3, "b": 4}, id="t2")]),
        "3 and 7.",
    )

    body = await body_of(server, "Sums?", system="Be kind.", tools=[add])

    marked = [
        (number, block["type"], block.get("id"))
        for number, message in enumerate(body["messages"])
        for block in (message["content"] if isinstance(message["content"], list) else [])
        if "cache_control" in block
    ]
    assert marked == [(3, "tool_use", "t2")]


@pytest.mark.parametrize(
    "settings",
    [
        {"cache": False},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"system": [{"type": "text", "text": "Long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"tools": [add, {"type": "web_search_20260318", "name": "web_search", "cache_control": {"type": "ephemeral"}}]},
    ],
    ids=["turned off", "one for the whole request", "in the system prompt", "on a tool"],
)
async def test_there_are_no_marks_of_ours_beside_those_of_the_user(server: ProtocolServer, settings: dict[str, Any]):
    said = [UserMessage("One"), AssistantMessage("Two"), "Three"]

    body = await body_of(server, *said, **settings)

    assert [message["content"] for message in body["messages"]] == ["One", "Two", "Three"]
    marks = str(body).count("cache_control")
    assert marks == (0 if settings == {"cache": False} else 1)
