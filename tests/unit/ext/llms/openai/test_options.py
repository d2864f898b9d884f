"""Which options reach which of OpenAI's models, and which are refused before anything is sent."""

from typing import Any

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import OpenAIAgent
from miniagents.ext.llms.errors import BadRequestError, UnsupportedOptionError
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import ProtocolServer


async def body_of(server: ProtocolServer, agent: MiniAgent, **settings: Any) -> dict[str, Any]:
    async with MiniAgents():
        await agent.inquire("Hi", **settings)
    return server.requests[-1].body


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@pytest.mark.parametrize(
    ("model", "level", "effort"),
    [
        ("gpt-4o", "off", None),
        ("gpt-5-chat-latest", "off", None),
        ("o3", "high", "high"),
        ("o4-mini-2025-04-16", "low", "low"),
        ("gpt-5", "off", "minimal"),
        ("gpt-5-mini", "medium", "medium"),
        ("gpt-5.1", "off", "none"),
        ("gpt-5.4-nano", "high", "high"),
        ("gpt-5.6-sol", "off", "none"),
        ("gpt-6.1-terra", "low", "low"),
        ("a-model-of-somebody-else", "off", "none"),
        ("a-model-of-somebody-else", "high", "high"),
    ],
)
async def test_the_level_of_thinking_is_said_in_the_words_of_the_generation(
    server: ProtocolServer, model: str, level: str, effort: str | None
):
    chat = await body_of(server, OpenAIAgent, model=model, thinking=level)
    responses = await body_of(server, OpenAIResponsesAgent, model=model, thinking=level)

    assert chat.get("reasoning_effort") == effort
    assert responses.get("reasoning", {}).get("effort") == effort


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "gpt-5.6-sol", "any"])
async def test_without_a_level_nothing_is_said_of_it(server: ProtocolServer, model: str):
    assert "reasoning_effort" not in await body_of(server, OpenAIAgent, model=model)
    assert "reasoning" not in await body_of(server, OpenAIResponsesAgent, model=model)


@pytest.mark.parametrize("agent", [OpenAIAgent, OpenAIResponsesAgent], ids=["chat", "responses"])
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "gpt-4o", "thinking": "high"}, "does not think. Leave `thinking` out, or take a model that does"),
        ({"model": "o1-mini", "thinking": "low"}, "cannot be told how much to think. Leave `thinking` out."),
        ({"model": "o3", "temperature": 0.5}, "refused by models that think. Leave it out."),
        ({"model": "gpt-5", "top_p": 0.5}, "refused by models that think. Leave it out."),
        ({"model": "gpt-5.6-sol", "temperature": 0}, 'Leave it out, or set `thinking="off"`.'),
        ({"model": "gpt-5.1", "temperature": 0, "thinking": "high"}, 'Leave it out, or set `thinking="off"`.'),
        ({"model": "gpt-4o", "functions": [{"name": "add"}]}, "Give the functions themselves: `tools="),
        ({"model": "gpt-4o", "function_call": "auto"}, "Give the functions themselves: `tools="),
    ],
    ids=str,
)
async def test_what_a_model_refuses_is_refused_before_anything_is_sent(
    server: ProtocolServer, agent: MiniAgent, settings: dict[str, Any], sentence: str
):
    with pytest.raises(UnsupportedOptionError) as raised:
        await body_of(server, agent, **settings)

    assert sentence in str(raised.value)
    assert f"`{settings['model']}`" in str(raised.value)
    assert isinstance(raised.value, BadRequestError)
    assert server.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "gpt-4o", "temperature": 0.5},
        {"model": "o3", "temperature": 1},
        {"model": "gpt-5.1", "temperature": 0.5},
        {"model": "gpt-5.6-sol", "temperature": 0.5, "thinking": "off"},
        {"model": "any", "temperature": 0.5, "thinking": "high"},
    ],
    ids=str,
)
async def test_a_temperature_is_sent_where_it_is_taken(server: ProtocolServer, settings: dict[str, Any]):
    for agent in (OpenAIAgent, OpenAIResponsesAgent):
        assert (await body_of(server, agent, **settings))["temperature"] == settings["temperature"]


async def test_the_longest_answer_is_called_what_the_model_calls_it(server: ProtocolServer):
    older = await body_of(server, OpenAIAgent, model="gpt-4o", max_tokens=50)
    newer = await body_of(server, OpenAIAgent, model="gpt-5", max_tokens=50)
    responses = await body_of(server, OpenAIResponsesAgent, model="gpt-5", max_tokens=50)

    assert (older["max_tokens"], newer["max_completion_tokens"], responses["max_output_tokens"]) == (50, 50, 50)
    assert not {"max_completion_tokens"} & set(older)
    assert not {"max_tokens"} & set(newer)
    assert not {"max_tokens", "max_completion_tokens"} & set(responses)


async def test_models_that_cannot_think_and_call_tools_in_chat_do_not_think_there(server: ProtocolServer):
    assert (await body_of(server, OpenAIAgent, model="gpt-5.6-sol", tools=[add]))["reasoning_effort"] == "none"
    assert "reasoning_effort" not in await body_of(server, OpenAIAgent, model="gpt-5.4", tools=[add])
    assert "reasoning_effort" not in await body_of(server, OpenAIAgent, model="gpt-5", tools=[add])
    thinking = await body_of(server, OpenAIResponsesAgent, model="gpt-5.6-sol", tools=[add], thinking="high")
    assert thinking["reasoning"]["effort"] == "high"


@pytest.mark.parametrize(
    ("model", "settings", "sentence"),
    [
        ("gpt-5.4", {"thinking": "low"}, r"Use `OpenAIResponsesAgent`, which thinks and calls tools"),
        ("gpt-6-sol", {"reasoning_effort": "high"}, r"Use `OpenAIResponsesAgent`, which thinks and calls tools"),
        ("gpt-6-astra", {}, r"Responses API only: use `OpenAIResponsesAgent`"),
    ],
)
async def test_thinking_with_tools_in_chat_is_refused_with_the_way_out(
    server: ProtocolServer, model: str, settings: dict[str, Any], sentence: str
):
    with pytest.raises(UnsupportedOptionError, match=sentence):
        await body_of(server, OpenAIAgent, model=model, tools=[add], **settings)

    assert server.requests == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stop": ["END"]}, "or use `OpenAIAgent`"),
        ({"seed": 7}, "or use `OpenAIAgent`"),
        ({"response_format": {"type": "json_object"}}, r'text={"format": {...}}'),
    ],
    ids=str,
)
async def test_options_of_chat_are_refused_by_responses_with_the_way_out(
    server: ProtocolServer, settings: dict[str, Any], sentence: str
):
    with pytest.raises(UnsupportedOptionError) as raised:
        await body_of(server, OpenAIResponsesAgent, model="gpt-4o", **settings)

    assert sentence in str(raised.value)
    assert server.requests == []


@pytest.mark.parametrize("model", ["o3", "gpt-5-pro", "gpt-6-astra"])
async def test_a_model_that_always_thinks_cannot_be_told_not_to(model: str):
    async with MiniAgents():
        with pytest.raises(UnsupportedOptionError, match="it always thinks. Leave `thinking` out, or ask for 'low'"):
            await OpenAIAgent.inquire("Hi", model=model, thinking="off", api_key="sk-none")
