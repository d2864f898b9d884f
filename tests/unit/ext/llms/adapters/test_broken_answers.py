"""What breaks an answer after it was accepted, alike for every provider whose raw lines we read."""

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms.errors import (
    ConnectionLostError,
    IncompleteStreamError,
    LLMError,
    ModelTimeoutError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import (
    Answer,
    BadJSON,
    Body,
    Cut,
    Drop,
    EmptyChoices,
    ErrorInside,
    KeepAlive,
    ProtocolServer,
    Raw,
    Reset,
    Silence,
    UnknownEvent,
)

pytestmark = pytest.mark.parametrize(
    "agent",
    [
        OpenAIAgent.fork(model="gpt-4o", max_retries=0),
        OpenAIResponsesAgent.fork(model="gpt-4o", max_retries=0),
        AnthropicAgent.fork(model="claude-sonnet-5-5", max_retries=0),
    ],
    ids=["openai", "responses", "anthropic"],
)


async def tokens_and_error(agent: MiniAgent, **settings: object) -> tuple[list[str], LLMError]:
    """What a reader of the tokens gets; a second reader gets the same."""
    async with MiniAgents():
        replies = agent.inquire("Hi", **settings)
        readings: list[tuple[list[str], BaseException]] = []
        for _ in range(2):
            tokens: list[str] = []
            with pytest.raises(LLMError) as raised:
                async for message in replies:
                    async for token in message:
                        tokens += [token]
            readings.append((tokens, raised.value))
    assert readings[0][0] == readings[1][0]
    assert readings[0][1] is readings[1][1]
    error = raised.value
    assert error.provider in ("openai", "anthropic")
    assert error.model in ("gpt-4o", "claude-sonnet-5-5")
    return readings[0][0], error


async def test_a_stream_without_its_end_mark_is_an_error_and_no_answer(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", " upon", Cut()]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, IncompleteStreamError)
    assert f"`{agent.alias}`" in str(error)
    assert "without" in str(error)
    assert error.partial_text == "Once upon"
    assert error.request_id == "req_loopback"


async def test_a_stream_that_only_lacks_its_last_event_is_an_error_too(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer("Once upon", end_mark=False))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, IncompleteStreamError)


async def test_a_stream_that_is_cut_inside_an_event_is_cut_off(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", Raw(b'data: {"choices": [{"ind'), Cut()]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once"]
    assert isinstance(error, IncompleteStreamError)


async def test_an_empty_stream_is_cut_off(agent: MiniAgent, server: ProtocolServer):
    server.script(Body(b"", content_type="text/event-stream"))

    tokens, error = await tokens_and_error(agent)

    assert tokens == []
    assert isinstance(error, IncompleteStreamError)


@pytest.mark.parametrize("how", [Drop(), Reset()], ids=["closed", "reset"])
async def test_a_connection_that_breaks_is_an_error_at_its_place(
    agent: MiniAgent, server: ProtocolServer, how: Drop | Reset
):
    server.script(Answer(["Once", " upon", how]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, ConnectionLostError)
    assert error.partial_text == "Once upon"
    assert error.request_id == "req_loopback"
    assert error.__cause__ is not None


async def test_a_connection_that_breaks_before_the_first_byte_is_the_same_error(
    agent: MiniAgent, server: ProtocolServer
):
    server.script(Drop())

    tokens, error = await tokens_and_error(agent)

    assert tokens == []
    assert isinstance(error, ConnectionLostError)


@pytest.mark.parametrize("reply", [Answer(["Once", Silence()]), Silence()], ids=["inside", "at once"])
async def test_silence_is_a_timeout(agent: MiniAgent, server: ProtocolServer, reply: Answer | Silence):
    server.script(reply)

    _, error = await tokens_and_error(agent, timeout=0.2)

    assert isinstance(error, ModelTimeoutError)
    assert "`timeout=`" in str(error)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", OverloadedError),
        ("rate_limit_error", RateLimitedError),
        ("server_error", ProviderError),
        ("brand_new_error", ProviderError),
    ],
)
async def test_an_error_inside_the_stream_has_the_type_that_it_has_as_a_status(
    agent: MiniAgent, server: ProtocolServer, kind: str, expected: type[LLMError]
):
    server.script(Answer(["Once", ErrorInside(kind, "Something happened")]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once"]
    assert type(error) is expected
    assert error.partial_text == "Once"
    assert error.request_id == "req_loopback"
    assert "Something happened" in str(error)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_error_in_a_body_that_was_accepted_is_raised(agent: MiniAgent, server: ProtocolServer, stream: bool):
    server.script(Answer([ErrorInside("overloaded_error", "Overloaded")], wire="json"))

    tokens, error = await tokens_and_error(agent, stream=stream)

    assert tokens == []
    assert isinstance(error, OverloadedError)


async def test_an_event_that_is_no_json_is_an_error_at_its_place(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", BadJSON('{"broken": '), " upon"]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once"]
    assert type(error) is ProviderError
    assert error.raw_text == '{"broken": '


async def test_what_says_nothing_is_passed_over(agent: MiniAgent, server: ProtocolServer):
    nothing = [KeepAlive(), UnknownEvent(), EmptyChoices()]
    server.script(Answer([*nothing, "Hel", *nothing, "lo", *nothing]))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in agent.inquire("Hi")]

    assert tokens == ["Hel", "lo"]


@pytest.mark.parametrize("content_type", [None, "text/event-stream", "text/plain"])
async def test_one_json_body_in_place_of_a_stream_is_an_answer(
    agent: MiniAgent, server: ProtocolServer, content_type: str | None
):
    server.script(Answer("Hello there", wire="json", content_type=content_type))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in agent.inquire("Hi")]

    assert tokens == ["Hello there"]


async def test_a_stream_in_place_of_one_json_body_is_an_answer(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer("Hello there", wire="sse"))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in agent.inquire("Hi", stream=False)]

    assert tokens == ["Hello there"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_web_page_is_no_answer(agent: MiniAgent, server: ProtocolServer, stream: bool):
    server.script(Body(b"<html>Please log in</html>"))

    _, error = await tokens_and_error(agent, stream=stream)

    assert type(error) is ProviderError
    assert "<html>Please log in</html>" in str(error)
    assert error.raw_text == "<html>Please log in</html>"


@pytest.mark.parametrize(
    "body",
    [
        Body(b"not json", content_type="application/json"),
        Body(b'["a list"]', content_type="application/json"),
        Body(b'{"neither": "nor"}', content_type="application/json"),
        Body(b"data: {broken json}\n\n", content_type="text/event-stream"),
        Body(b"data: 7\n\n", content_type="text/event-stream"),
        Body(b"hello", content_type="text/plain"),
    ],
    ids=lambda body: body.data.decode().strip(),
)
async def test_what_is_not_the_protocol_is_shown(agent: MiniAgent, server: ProtocolServer, body: Body):
    server.script(body)

    _, error = await tokens_and_error(agent)

    assert type(error) is ProviderError
    assert body.data.decode().strip().removeprefix("data: ") in str(error)


async def test_an_answer_that_failed_can_be_had_as_a_message(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", Cut()]))

    async with MiniAgents():
        [message] = await agent.inquire("Hi", errors_to_messages=True)

    assert message.is_error is True
    assert str(message).startswith("Once\n")


@pytest.mark.allow_errors_in_log("it says at once that nobody received the error")
async def test_a_failed_answer_that_nobody_reads_fails_the_program(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", Cut()]))

    with pytest.raises(ExceptionGroup) as raised:
        async with MiniAgents():
            agent.kick_off("Hi")

    assert raised.group_contains(IncompleteStreamError)
