"""What breaks an answer after it was accepted, for both vendors alike."""

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms.errors import (
    AnswerError,
    InterruptedAnswerError,
    ReportedError,
    TruncatedAnswerError,
    UnreadableAnswerError,
)
from tests.support.protocol_server import Answer, Body, Cut, Drop, ErrorInside, ProtocolServer, Raw

pytestmark = pytest.mark.parametrize(
    "agent",
    [OpenAIAgent.fork(model="gpt-4o"), AnthropicAgent.fork(model="claude-sonnet-5-5")],
    ids=["openai", "anthropic"],
)


async def tokens_and_error(agent: MiniAgent, **settings: object) -> tuple[list[str], BaseException]:
    """What a reader of the tokens gets; a second reader gets the same."""
    async with MiniAgents():
        [message] = [message async for message in agent.inquire("Hi", **settings)]
        readings: list[tuple[list[str], BaseException]] = []
        for _ in range(2):
            tokens: list[str] = []
            with pytest.raises(Exception) as raised:
                async for token in message:
                    tokens += [token]
            readings.append((tokens, raised.value))
        with pytest.raises(type(readings[0][1])):
            await message
    assert readings[0][0] == readings[1][0]
    assert readings[0][1] is readings[1][1]
    return readings[0]


async def test_a_stream_without_its_end_mark_is_an_error_and_no_answer(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", " upon", Cut()]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, TruncatedAnswerError)
    assert f"`{agent.alias}`" in str(error)
    assert "without" in str(error)


async def test_a_stream_that_only_lacks_its_last_event_is_an_error_too(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer("Once upon", done=False))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, TruncatedAnswerError)


async def test_a_stream_that_is_cut_inside_an_event_is_cut_off(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", Raw(b'data: {"choices": [{"ind'), Cut()]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once"]
    assert isinstance(error, TruncatedAnswerError)


async def test_an_empty_stream_is_cut_off(agent: MiniAgent, server: ProtocolServer):
    server.script(Body(b"", content_type="text/event-stream"))

    tokens, error = await tokens_and_error(agent)

    assert tokens == []
    assert isinstance(error, TruncatedAnswerError)


async def test_a_connection_that_breaks_is_an_error_at_its_place(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", " upon", Drop()]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once", " upon"]
    assert isinstance(error, InterruptedAnswerError)
    assert "RemoteProtocolError" in str(error)
    assert error.__cause__ is not None


async def test_an_error_inside_the_stream_is_raised_with_its_type(agent: MiniAgent, server: ProtocolServer):
    server.script(Answer(["Once", ErrorInside("overloaded_error", "Overloaded")]))

    tokens, error = await tokens_and_error(agent)

    assert tokens == ["Once"]
    assert isinstance(error, ReportedError)
    assert error.type == "overloaded_error"
    assert "Overloaded (overloaded_error)" in str(error)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_error_in_a_body_that_was_accepted_is_raised(agent: MiniAgent, server: ProtocolServer, stream: bool):
    server.script(Answer([ErrorInside("overloaded_error", "Overloaded")], wire="json"))

    tokens, error = await tokens_and_error(agent, stream=stream)

    assert tokens == []
    assert isinstance(error, ReportedError)


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

    assert isinstance(error, UnreadableAnswerError)
    assert "<html>Please log in</html>" in str(error)


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

    assert isinstance(error, UnreadableAnswerError)
    assert isinstance(error, AnswerError)
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

    assert raised.group_contains(TruncatedAnswerError)
