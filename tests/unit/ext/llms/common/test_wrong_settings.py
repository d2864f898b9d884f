"""What a user reads who gives a model agent a setting that it cannot use: one sentence that tells the fix."""

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from pydantic import Field, field_validator

from miniagents import Message, MiniAgents, miniagent
from miniagents.ext.llms import LLMAgent, LLMError, OpenAIAgent, ScriptedAgent, model_agent
from miniagents.ext.llms.anthropic_clouds import AnthropicBedrockAgent
from miniagents.ext.llms.errors import SettingError
from miniagents.ext.llms.openai_embeddings import openai_embedding_agent
from miniagents.ext.llms.prompt import Prompt
from miniagents.ext.llms.structured import NotAnOutputTypeError
from miniagents.testing.server import ProtocolServer

gpt_agent = OpenAIAgent.fork(model="gpt-4o", api_key="any-key")


class ScriptedLLM(LLMAgent):
    async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        yield str(getattr(self, "timeout", ""))


def name_of(value: Any) -> str:
    """The name of the setting, for the name of the test."""
    return str(next(iter(cast("dict[str, Any]", value)))) if isinstance(value, dict) else ""


def look(q: str) -> str:
    return q


async def refusal(**settings: Any) -> str:
    async with MiniAgents():
        with pytest.raises(SettingError) as raised:
            await gpt_agent.inquire("Hi", **settings)
    error = raised.value
    text = str(error)
    assert isinstance(error, LLMError)
    assert isinstance(error, ValueError)
    assert "\n" not in text
    assert "pydantic" not in text
    assert error.__cause__ is None
    return text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_retries": -1}, "`max_retries=-1` is not what `OPENAI_AGENT` takes: give a whole number, 0 or more."),
        ({"max_retries": 1.5}, "`max_retries=1.5` is not what `OPENAI_AGENT` takes: give a whole number, 0 or more."),
        ({"max_retries": None}, "`max_retries=None` is not what `OPENAI_AGENT` takes: give a whole number, 0 or more."),
        (
            {"thinking": "max"},
            "`thinking='max'` is not what `OPENAI_AGENT` takes: give 'off', 'low', 'medium' or 'high', a dict, or None.",
        ),
        (
            {"tool_errors": "ignore"},
            "`tool_errors='ignore'` is not what `OPENAI_AGENT` takes: give 'to_model' or 'raise'.",
        ),
        ({"system": 5}, "`system=5` is not what `OPENAI_AGENT` takes: give a text, a list of dicts, or None."),
        ({"model": None}, "`model=None` is not what `OPENAI_AGENT` takes: give a text."),
        ({"cache": "x"}, "`cache='x'` is not what `OPENAI_AGENT` takes: give True or False."),
        ({"stream": "no"}, "`stream='no'` is not what `OPENAI_AGENT` takes: give True or False, or None."),
        ({"response_metadata": 3}, "`response_metadata=3` is not what `OPENAI_AGENT` takes: give a dict, or None."),
    ],
    ids=name_of,
)
async def test_a_wrong_value_is_told_with_what_is_allowed(settings: dict[str, Any], text: str):
    assert await refusal(**settings) == text


async def test_a_long_value_is_cut():
    text = await refusal(system=Message("x" * 1000))

    assert text.startswith("`system=Message(")
    assert len(text) < 300


async def test_of_several_wrong_values_the_first_is_told():
    assert (await refusal(max_retries=-1, output_retries=-1)).count(" takes: ") == 1


async def test_settings_of_an_agent_class_of_ones_own_are_told_alike():
    @miniagent
    class ParrotAgent(LLMAgent):
        volume: float = Field(default=1.0, gt=0, le=11)
        word: str = "Polly"

        @field_validator("word")
        @classmethod
        def _is_short(cls, word: str) -> str:
            if len(word) > 10:
                raise ValueError("a parrot says short words only")
            return word

    async with MiniAgents():
        with pytest.raises(SettingError, match=r"^`volume=12` is not what .* give a number, more than 0, 11 or less.$"):
            await ParrotAgent.inquire("Hi", model="m", volume=12)
        with pytest.raises(
            SettingError, match=r"`word='supercalifragilistic'`.* takes: a parrot says short words only"
        ):
            await ParrotAgent.inquire("Hi", model="m", word="supercalifragilistic")


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"tools": look}, r"`tools=.*look.*` .* `tools=\[look\]`"),
        ({"tools": {"type": "function"}}, r"`tools=\{'type': 'function'\}`.* `tools=\[\{\.\.\.\}\]`"),
        ({"tools": "look"}, r"`tools='look'`.*list"),
        ({"tools": gpt_agent}, r"`tools=<MiniAgent OPENAI_AGENT>`.* `tools=\[\.\.\.\]`"),
        ({"extra_headers": "x"}, r"`extra_headers` .*dict.*not a str"),
        ({"extra_headers": {"X-Number": 5}}, r"`extra_headers` .*'X-Number'.*int"),
        ({"extra_headers": {"X-Key": "k\u20ac"}}, r"`extra_headers` .*'X-Key'.*copy it again"),
        ({"extra_query": "x"}, r"`extra_query` .*dict.*not a str"),
        ({"extra_body": [1]}, r"`extra_body=\[1\]`.*dict"),
        ({"stream_options": 3}, r"`stream_options=3`.*dict"),
        ({"timeout": "x"}, r"`timeout='x'`.*seconds, more than 0"),
        ({"timeout": -1}, r"`timeout=-1`.*seconds, more than 0"),
        ({"base_url": "localhost:8000"}, r"`base_url='localhost:8000'`.*http://localhost:8000"),
        ({"base_url": ""}, r"`base_url=''`.*None"),
        ({"base_url": "http://localhost:80000"}, r"`base_url='http://localhost:80000'`.*port"),
        ({"base_url": "http://"}, r"`base_url='http://'`.*http://localhost"),
        ({"approval_agent": look}, r"`approval_agent=.*look.*`.*`@miniagent`"),
        ({"llm_logger_agent": "yes"}, r"`llm_logger_agent='yes'`.*`@miniagent`"),
    ],
    ids=name_of,
)
async def test_what_can_be_told_at_once_is_told_by_the_call_itself(settings: dict[str, Any], pattern: str):
    with pytest.raises(SettingError, match=pattern) as raised:
        OpenAIAgent.fork(**settings)

    assert "\n" not in str(raised.value)
    assert re.search(pattern, await refusal(**settings))


async def test_settings_of_mutable_state_are_told_in_the_replies():
    async with MiniAgents():
        with pytest.raises(SettingError, match=r"`tools=.*look.*` .* `tools=\[look\]`"):
            await gpt_agent.fork(mutable_state={"tools": look}).inquire("Hi")


async def test_an_agent_class_may_declare_a_parameter_of_the_api_as_something_else():
    @miniagent
    class PatientAgent(ScriptedLLM):
        timeout: str = "long"

    async with MiniAgents():
        assert str(await PatientAgent.inquire("Hi", model="m", timeout="short").as_single_promise()) == "short"


@pytest.mark.parametrize("settings", [{"base_url": "localhost:8000"}, {"timeout": "x"}], ids=["base_url", "timeout"])
async def test_the_agent_for_embeddings_checks_alike(settings: dict[str, Any]):
    async with MiniAgents():
        with pytest.raises(SettingError, match=f"`{next(iter(settings))}="):
            await openai_embedding_agent.inquire("Hi", api_key="any", **settings)


async def test_a_wrong_url_in_the_environment_is_told_with_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")

    assert re.search(r"OPENAI_BASE_URL is 'localhost:8000'.*http://localhost:8000", await refusal())


async def test_right_values_are_taken(server: ProtocolServer):
    right: list[dict[str, Any]] = [
        {"timeout": 5, "extra_headers": {"X-Team": "a"}, "extra_query": {"v": "1"}, "extra_body": None},
        {"tools": None, "base_url": server.openai_base_url},
        {"tools": {look}, "thinking": None, "base_url": None},
    ]

    async with MiniAgents():
        for settings in right:
            await gpt_agent.inquire("Hi", **settings)

    assert len(server.requests) == 3


async def test_a_function_is_no_type_of_an_answer():
    async with MiniAgents():
        with pytest.raises(NotAnOutputTypeError, match="function"):
            await ScriptedAgent.inquire("Hi", script="5", response_model=lambda: 5)


@pytest.mark.parametrize("name", [None, 5], ids=str)
def test_the_name_of_a_model_is_a_text(name: Any):
    with pytest.raises(SettingError, match=rf"`model_agent\({name}\)`.*'openai:gpt-5.5'"):
        model_agent(name)


def test_a_model_is_named_once():
    with pytest.raises(SettingError, match=r"'openai:gpt-4o'.*`model='x'`.*leave one of them out"):
        model_agent("openai:gpt-4o", model="x")


def test_the_agents_for_clouds_check_alike():
    with pytest.raises(SettingError, match=r"`base_url='bedrock.example'`"):
        AnthropicBedrockAgent.fork(base_url="bedrock.example")
