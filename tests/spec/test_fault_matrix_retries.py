"""Fault x provider, the other half: what is asked again and how often, what a restart looks like, and what stays secret."""

import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llms import AssistantMessage, ThinkingMessage, ToolCallMessage
from miniagents.ext.llms.errors import ConnectionLostError, LLMError, OverloadedError, RateLimitedError
from miniagents.testing.server import (
    HTML_PAGE,
    Answer,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    ProtocolServer,
    Thinking,
    ToolCall,
)
from tests.spec.providers import AGENTS, KEY, OF_EVERY_PROVIDER, STREAMED_AND_WHOLE, agent_of, tokens_and_fault

pytestmark = pytest.mark.allow_blocking("SDKs of clouds read files when they sign; servers are told to stop from here")


@OF_EVERY_PROVIDER
@STREAMED_AND_WHOLE
async def test_what_may_pass_is_asked_again_as_often_as_max_retries_says_and_no_more(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, stream: bool
) -> None:
    agent = agent_of(provider, model_server.url, stream=stream)
    sent: dict[tuple[int, int], int] = {}
    for status in (429, 500, 503, 529, 408, 504):
        for max_retries in (0, 1, 3):
            model_server.reset()
            model_server.script(*[Failure(status, retry_after_s=0.001)] * 9)
            await tokens_and_fault(agent, max_retries=max_retries)
            sent[status, max_retries] = len(model_server.requests)
    assert sent == {(status, retries): 1 + retries for status, retries in sent}


@OF_EVERY_PROVIDER
async def test_what_will_not_pass_is_asked_once(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    agent = agent_of(provider, model_server.url)
    replies: list[Any] = [Failure(status) for status in (400, 401, 402, 403, 404, 413, 422)]
    sent: dict[str, int] = {}
    for reply in [*replies, HTML_PAGE]:
        model_server.reset()
        model_server.script(*[reply] * 9)
        await tokens_and_fault(agent, max_retries=3)
        sent[repr(reply)] = len(model_server.requests)
    assert set(sent.values()) == {1}, sent


@OF_EVERY_PROVIDER
@pytest.mark.parametrize(
    "reply",
    [Drop(), Answer([Drop()]), Answer([Cut()]), Answer([ErrorInside()])],
    ids=["no response", "broken before a token", "cut off before a token", "error before a token"],
)
async def test_what_breaks_before_the_first_token_is_asked_again(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, reply: Any
) -> None:
    model_server.script(reply, "Hello!")

    replies = await agent_of(provider, model_server.url, max_retries=1).inquire("Hi")

    assert [str(message) for message in replies] == ["Hello!"]
    assert len(model_server.requests) == 2


@OF_EVERY_PROVIDER
async def test_the_next_request_comes_when_the_provider_says(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    # Longer than one would wait by oneself before the second request, and much shorter before the fourth.
    model_server.script(*[Failure(429, retry_after_s=seconds) for seconds in (0.6, 0.001, 0.001)], "Hello!")

    replies = await agent_of(provider, model_server.url, max_retries=3).inquire("Hi")

    assert [str(message) for message in replies] == ["Hello!"]
    first, second, _, fourth = [request.began_at for request in model_server.requests]
    assert second - first >= 0.6
    assert fourth - second < 0.75


@OF_EVERY_PROVIDER
async def test_nobody_sits_in_silence_for_an_hour_because_the_provider_says_so(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    model_server.script(*[Failure(429, retry_after_s=3600.0)] * 9)

    _, error = await tokens_and_fault(agent_of(provider, model_server.url, max_retries=1))

    assert (type(error), error.retry_after_s) == (RateLimitedError, 3600.0)
    # The SDKs of OpenAI and Anthropic ask again soon, in spite of that; either way nobody waits.
    assert len(model_server.requests) <= 2


BEGINNINGS = {
    "text": ([Thinking("Hm."), "Once"], AssistantMessage, "Once"),
    "thinking": ([Thinking("Let me"), Thinking(" see")], ThinkingMessage, "Let me see"),
    "a tool call": ([ToolCall("look", ['{"at"', ': "th'])], ToolCallMessage, '{"at": "th'),
}
"""What is visible when the stream breaks: its parts, the class of the torn message, and its text."""
OF_EVERY_BEGINNING = pytest.mark.parametrize("beginning", BEGINNINGS)


def can_tear(provider: str, beginning: str) -> bool:
    # Chat completions have no thoughts, and Gemini sends the arguments of a call in one piece.
    return (provider, beginning) != ("openai", "thinking") and not (
        provider.startswith("gemini") and beginning == "a tool call"
    )


@OF_EVERY_PROVIDER
@OF_EVERY_BEGINNING
async def test_what_breaks_after_the_first_visible_token_is_raised_at_its_place_and_not_asked_again(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, beginning: str
) -> None:
    if not can_tear(provider, beginning):
        pytest.skip("this provider's protocol does not have it")
    parts, _, text = BEGINNINGS[beginning]
    model_server.script(Answer([*parts, Drop()]), "never sent")

    tokens, error = await tokens_and_fault(agent_of(provider, model_server.url, max_retries=3))

    assert type(error) is ConnectionLostError
    assert "".join(tokens).endswith(text)
    assert error.partial_text == ("Once" if beginning == "text" else "")
    assert len(model_server.requests) == 1


@OF_EVERY_PROVIDER
@OF_EVERY_BEGINNING
async def test_a_restart_marks_the_torn_message_and_goes_on_with_a_new_one(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, beginning: str
) -> None:
    if not can_tear(provider, beginning):
        pytest.skip("this provider's protocol does not have it")
    parts, kind, text = BEGINNINGS[beginning]
    model_server.script(Answer([*parts, Drop()]), "Once upon a time")
    agent = agent_of(provider, model_server.url, max_retries=1, on_midstream_failure="restart")

    replies = await agent.inquire("Hi")

    *_, torn, whole = replies
    assert isinstance(torn, kind)
    assert (str(torn), torn.interrupted) == (text, True)
    assert (str(whole), whole.interrupted, whole.finish_reason) == ("Once upon a time", None, "stop")
    # What the torn attempt cost is not known; the other one says what it cost.
    assert torn.usage is None
    assert whole.usage.output_tokens > 0
    assert len(model_server.requests) == 2


@OF_EVERY_PROVIDER
async def test_restarts_end_with_the_error_of_the_last_one(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    model_server.script(*[Answer(["Once", Drop()])] * 9)
    agent = agent_of(provider, model_server.url, max_retries=1, on_midstream_failure="restart")

    tokens, error = await tokens_and_fault(agent)

    assert (tokens, type(error), error.partial_text) == (["Once", "Once"], ConnectionLostError, "Once")
    assert len(model_server.requests) == 2


# ------------------------------------------------------------------------------------------------------------ secrets


def everything_in(error: BaseException) -> str:
    """Give all that a log, a debugger's view of the attributes, or a copy on another machine would show."""
    shown = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    return "\n".join([*shown, repr(pickle.dumps(vars(error)))])


@OF_EVERY_PROVIDER
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Failure(401, "Incorrect API key provided"), LLMError),
        (Failure(429), RateLimitedError),
        (Answer(["Once", Drop()]), ConnectionLostError),
        (Answer([ErrorInside()]), LLMError),
        (Drop(), ConnectionLostError),
        (HTML_PAGE, LLMError),
    ],
    ids=["401", "429", "broken", "error inside", "no response", "a web page"],
)
async def test_a_key_is_in_no_error_and_in_no_log(
    model_server: ProtocolServer, provider: str, reply: Any, kind: type[LLMError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "miniagents")
    model_server.script(reply)

    async with MiniAgents() as context:
        agent = agent_of(provider, model_server.url, max_retries=0)
        _, error = await tokens_and_fault(agent)
        as_text = await agent.inquire("Hi", errors_to_messages=True)
        agent.kick_off("Hi")
        shown = [everything_in(error), repr(agent), repr(as_text), repr(context)]

    assert isinstance(error, kind)
    assert KEY not in "\n".join(shown)
    assert KEY not in caplog.text


MORE_SECRETS: dict[str, dict[str, Any]] = {
    "openai-azure": {"api_key": None, "azure_ad_token": KEY},
    "bedrock": {"api_key": None, "aws_access_key_id": "id", "aws_secret_access_key": KEY, "aws_session_token": KEY},
}


def prompt_logs(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*.md")]


@pytest.mark.parametrize(
    ("provider", "settings"),
    [*((provider, {}) for provider in AGENTS), *MORE_SECRETS.items()],
    ids=[*AGENTS, *(f"{provider}, other secrets" for provider in MORE_SECRETS)],
)
async def test_a_secret_is_in_nothing_that_is_stored_or_logged(
    model_server: ProtocolServer,
    provider: str,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "miniagents")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURE_OPENAI_API_KEY")
    model_server.script("Hello!", Failure(401))
    stored: list[Message] = []
    agent = agent_of(provider, model_server.url, max_retries=0, **settings)

    async with MiniAgents(llm_logger_agent=True) as context:

        @context.on_persist_message
        async def store(_: object, message: Message) -> None:
            stored.append(message)

        assert str(await agent.inquire("Hi").as_single_promise()) == "Hello!"
        await agent.inquire("Hi", errors_to_messages=True)

    assert KEY in str(model_server.requests[0].headers)
    logs = prompt_logs(tmp_path)
    assert len(logs) == 2
    assert any(type(message).__name__ == "AgentCallNode" for message in stored)
    everything = [*logs, caplog.text, *map(repr, stored), *(message.serialized for message in stored)]
    assert KEY not in "\n".join(everything)
    assert "Hello!" in "\n".join(everything)


@OF_EVERY_PROVIDER
async def test_a_key_that_a_server_repeats_is_not_shown_either(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    model_server.script(Failure(401, f"Incorrect API key provided: {KEY}. Get one at the desk."))

    _, error = await tokens_and_fault(agent_of(provider, model_server.url, max_retries=0))

    assert KEY not in everything_in(error)
    assert "Incorrect API key provided" in str(error)


async def test_an_overloaded_provider_says_so_in_the_words_that_a_person_can_act_upon(
    model_server: ProtocolServer, mini_agents: MiniAgents
) -> None:
    model_server.script(Failure(529, "Overloaded", retry_after_s=7.0))

    _, error = await tokens_and_fault(agent_of("anthropic", model_server.url, max_retries=0))

    assert isinstance(error, OverloadedError)
    assert str(error) == (
        "`ANTHROPIC_AGENT` (claude-sonnet-5-5) reported an error (status 529): Overloaded [overloaded_error]"
    )
