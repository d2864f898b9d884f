"""Keys and passwords in settings are not stored, not shown by the agent, and not in the errors of wrong ones."""

import traceback
from typing import Any

import pytest
from pydantic import SecretStr

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent, OpenAICompatibleAgent
from miniagents.ext.llms.errors import AuthenticationError, LLMError, SettingError, WrongClientError
from miniagents.ext.llms.gemini import GeminiAgent
from miniagents.ext.llms.openai import AzureOpenAIAgent
from miniagents.ext.llms.openai_embeddings import openai_embedding_agent
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.promising.ext.frozen import Frozen
from miniagents.testing.server import ProtocolServer

KEY = "sk-hunter2hunter2"
gpt_agent = OpenAIAgent.fork(model="gpt-4o")


async def test_a_password_or_key_in_a_url_is_used_but_neither_stored_nor_shown(server: ProtocolServer):
    stored: list[str] = []
    agent = gpt_agent.fork(base_url=server.openai_base_url.replace("//", f"//me:{KEY}@"))

    async with MiniAgents() as context:

        @context.on_persist_message
        async def store(_: object, message: Message) -> None:
            stored.append(message.full_json)

        await agent.inquire("Hi")

    assert len(server.requests) == 1
    assert stored
    assert not any(KEY in record for record in stored)
    assert KEY not in str(agent)
    assert KEY not in agent.full_json
    assert agent.settings is not None
    assert agent.settings["base_url"] == server.openai_base_url.replace("//", "//***@")


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        (f"https://host/v1?key={KEY}&v=2", "https://host/v1?***"),
        (f"https://{KEY}@host/v1", "https://***@host/v1"),
        ("https://host/@me/v1", "https://host/@me/v1"),
    ],
)
def test_all_of_a_url_that_may_hold_a_key_is_left_out_of_the_record(url: str, recorded: str):
    settings = gpt_agent.fork(base_url=url).settings

    assert settings is not None
    assert settings["base_url"] == recorded


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": [KEY]},
        {"api_key": {"key": KEY}},
        {"api_key": KEY.encode()},
        {"async_client": KEY},
        {"async_client": [KEY]},
        {"extra_query": KEY},
        {"extra_query": {"key": {KEY}}},
        {"extra_headers": [KEY]},
        {"extra_headers": {"X-Key": [KEY]}},
        {"base_url": f"me:{KEY}@localhost"},
        {"base_url": f"http://me:{KEY}@localhost:99999"},
        {"base_url": f"http://me:{KEY}/{KEY}@localhost"},
        {"base_url": f"http:/me:{KEY}?{KEY}@localhost"},
    ],
    ids=lambda settings: str(next(iter(settings))),
)
@pytest.mark.parametrize("agent", [OpenAIAgent, AnthropicAgent, GeminiAgent], ids=lambda agent: agent.alias)
def test_a_secret_of_the_wrong_type_is_refused_at_once_without_showing_it(agent: MiniAgent, settings: dict[str, Any]):
    with pytest.raises((SettingError, ValueError)) as raised:
        agent.fork(**settings)

    assert f"`{next(iter(settings))}" in str(raised.value)
    assert KEY not in told(raised.value)


@pytest.mark.parametrize("name", ["api_key", "async_client"])
async def test_nor_is_it_shown_where_it_came_unchecked(name: str):
    agent = gpt_agent.fork(mutable_state={name: [KEY], **({"api_key": KEY} if name == "async_client" else {})})

    async with MiniAgents():
        with pytest.raises((SettingError, WrongClientError), match=f"`{name}") as raised:
            await agent.inquire("Hi")

    assert KEY not in told(raised.value)


def test_the_secrets_of_other_agents_are_guarded_alike():
    @miniagent
    async def caller(ctx: InteractionContext, token: SecretStr | None = None) -> None: ...

    with pytest.raises(ValueError, match=r"`token` is a secret: give a text or a `SecretStr`, not a list.") as raised:
        caller.fork(token=[KEY])

    assert KEY not in told(raised.value)
    assert KEY not in str(caller.fork(token=KEY))
    assert caller.fork(token=None).settings == Frozen(token=None)


def test_nor_is_a_key_recorded_that_was_given_to_other_agents_for_a_client():
    assert KEY not in str(openai_embedding_agent.fork(async_client=KEY, base_url=f"http://me:{KEY}@host?key={KEY}"))


AGENTS = {
    "chat": gpt_agent,
    "responses": OpenAIResponsesAgent.fork(model="gpt-4o"),
    "compatible": OpenAICompatibleAgent.fork(model="llama"),
    "azure": AzureOpenAIAgent.fork(model="gpt-4o", azure_endpoint="https://n.openai.azure.com", api_version="1"),
    "embeddings": openai_embedding_agent,
    "anthropic": AnthropicAgent.fork(model="claude-sonnet-5-5"),
    "gemini": GeminiAgent.fork(model="gemini-3.8-flash"),
}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=list(AGENTS))
@pytest.mark.parametrize("tail", ["\u20ac", " x", "\nx"], ids=["not ascii", "space", "line end"])
async def test_a_key_that_cannot_be_sent_is_told_without_showing_it(
    agent: MiniAgent, tail: str, server: ProtocolServer
):
    async with MiniAgents():
        with pytest.raises(AuthenticationError, match="copy it again") as raised:
            await agent.inquire("Hi", api_key=KEY + tail)

    assert KEY not in told(raised.value)
    assert server.requests == []


async def test_so_is_one_in_the_environment(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for variable, agent in (("OPENAI_API_KEY", gpt_agent), ("ANTHROPIC_API_KEY", AGENTS["anthropic"])):
        monkeypatch.setenv(variable, f"{KEY}\u20ac")

        async with MiniAgents():
            with pytest.raises(LLMError, match="copy it again") as raised:
                await agent.inquire("Hi")

        assert KEY not in told(raised.value)


async def test_the_line_end_of_a_key_that_was_read_from_a_file_does_no_harm(server: ProtocolServer):
    async with MiniAgents():
        for agent in (gpt_agent, AGENTS["responses"]):
            await agent.inquire("Hi", api_key=f"{KEY}\n")

    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2


def told(error: BaseException) -> str:
    """All that a program, or a log, may print of an error."""
    texts = traceback.format_exception(error)
    seen: BaseException | None = error
    while seen is not None:
        texts.append(repr(seen) + repr(seen.args))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)
