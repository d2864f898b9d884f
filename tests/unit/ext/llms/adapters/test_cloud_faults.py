"""Faults of Gemini and of Bedrock's Converse: every one has the same type in both, streamed or whole."""

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms.bedrock import BedrockAgent
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    IncompleteStreamError,
    LLMError,
    ModelNotFoundError,
    ModelTimeoutError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitedError,
)
from miniagents.ext.llms.gemini import GeminiAgent
from miniagents.testing.server import (
    Answer,
    BadJSON,
    Body,
    Cut,
    Drop,
    EmptyChoices,
    ErrorInside,
    Failure,
    Gate,
    KeepAlive,
    ProtocolServer,
    Reset,
    Silence,
    UnknownEvent,
)
from tests.unit.ext.llms.cloud_support import begun, how_the_last_request_ended

AGENTS = {
    "gemini": GeminiAgent.fork(model="gemini-3.8-flash", max_retries=0),
    "bedrock": BedrockAgent.fork(model="amazon.nova-pro-v1:0", max_retries=0),
}
NAMES = {"GEMINI_AGENT": ("gemini", "gemini-3.8-flash"), "BEDROCK_AGENT": ("bedrock", "amazon.nova-pro-v1:0")}
ALL_AGENTS = pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(autouse=True)
def _of_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)


async def fault_of(agent: MiniAgent, **settings: object) -> LLMError:
    async with MiniAgents():
        with pytest.raises(LLMError) as raised:
            await agent.inquire("Hi", **settings)
    return raised.value


@ALL_AGENTS
@BOTH_WAYS
@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, ModelNotFoundError),
        (413, BadRequestError),
        (429, RateLimitedError),
        (500, ProviderError),
        (503, OverloadedError),
        (504, ModelTimeoutError),
    ],
)
async def test_a_status_has_its_type(server: ProtocolServer, agent, stream, status, error_class):
    server.script(Failure(status, "no way"))

    fault = await fault_of(agent, stream=stream)

    assert type(fault) is error_class
    assert (fault.status_code, (fault.provider, fault.model)) == (status, NAMES[agent.alias])
    assert "no way" in str(fault)
    assert fault.code
    assert fault.__cause__ is not None


@ALL_AGENTS
async def test_an_error_inside_a_stream_has_the_type_that_it_has_as_a_status(server: ProtocolServer, agent):
    server.script(Answer(["Hel", ErrorInside()]))

    fault = await fault_of(agent)

    assert type(fault) is OverloadedError
    assert fault.partial_text == "Hel"


@ALL_AGENTS
@BOTH_WAYS
@pytest.mark.parametrize("reply", [Drop(), Reset()], ids=["dropped", "reset"])
async def test_a_connection_that_breaks_before_the_first_byte(server: ProtocolServer, agent, stream, reply):
    server.script(reply)

    assert type(await fault_of(agent, stream=stream)) is ConnectionLostError


@ALL_AGENTS
@pytest.mark.parametrize("part", [Drop(), Reset()], ids=["dropped", "reset"])
async def test_a_connection_that_breaks_in_the_middle(server: ProtocolServer, agent, part):
    server.script(Answer(["Hel", part]))

    fault = await fault_of(agent)

    assert type(fault) is ConnectionLostError
    assert fault.partial_text == "Hel"


@pytest.mark.allow_blocking("the server that stops listening is told so from here")
@ALL_AGENTS
@BOTH_WAYS
async def test_nobody_there(server: ProtocolServer, agent, stream):
    with server.refusing_connections():
        assert type(await fault_of(agent, stream=stream)) is ConnectionLostError


@ALL_AGENTS
@pytest.mark.parametrize("reply", [Silence(), Answer(["Hel", Silence()])], ids=["from the first byte", "in the middle"])
async def test_silence_ends_with_the_timeout(server: ProtocolServer, agent, reply):
    server.script(reply)

    assert type(await fault_of(agent, timeout=0.2)) is ModelTimeoutError


@ALL_AGENTS
async def test_a_stream_without_its_end_mark_is_incomplete(server: ProtocolServer, agent):
    server.script(Answer(["Hel", Cut()]))

    fault = await fault_of(agent)

    assert type(fault) is IncompleteStreamError
    assert fault.partial_text == "Hel"


@ALL_AGENTS
@BOTH_WAYS
async def test_a_web_page_is_no_answer(server: ProtocolServer, agent, stream):
    server.script(Body(b"<html><body>Please log in</body></html>"))

    fault = await fault_of(agent, stream=stream)

    assert type(fault) is ProviderError
    assert "Please log in" in (fault.raw_text or "")


@ALL_AGENTS
async def test_an_event_that_cannot_be_read(server: ProtocolServer, agent):
    server.script(Answer(["Hel", BadJSON()]))

    fault = await fault_of(agent)

    assert type(fault) is ProviderError
    assert fault.partial_text == "Hel"


@ALL_AGENTS
async def test_comments_empty_chunks_and_unknown_events_are_nothing(server: ProtocolServer, agent):
    server.script(Answer([KeepAlive(), "Hel", EmptyChoices(), UnknownEvent(), KeepAlive(), "lo"], chunk_bytes=7))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in agent.inquire("Hi")]

    assert tokens == ["Hel", "lo"]


@ALL_AGENTS
async def test_one_body_where_a_stream_was_asked_for_is_an_answer(server: ProtocolServer, agent):
    server.script(Answer("Hello there", wire="json"))

    async with MiniAgents():
        assert str(await agent.inquire("Hi").as_single_promise()) == "Hello there"


@ALL_AGENTS
async def test_a_failure_that_passes_is_asked_again_when_the_provider_says(server: ProtocolServer, agent):
    server.script(Failure(429, retry_after_s=0.01), Failure(503, retry_after_s=0.01), "Hello")

    async with MiniAgents():
        assert str(await agent.inquire("Hi", max_retries=2).as_single_promise()) == "Hello"

    assert len(server.requests) == 3


@ALL_AGENTS
async def test_when_to_come_back_is_known(server: ProtocolServer, agent):
    server.script(Failure(429, retry_after_s=7.0))

    fault = await fault_of(agent)

    assert fault.retry_after_s == 7


# ---------------------------------------------------------------------------------------------------- cancellation


@ALL_AGENTS
async def test_a_cancelled_answer_closes_its_connection(server: ProtocolServer, agent):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        replies = agent.inquire("Hi")
        async for message in replies:
            assert await anext(aiter(message)) == "Hel"
            replies.cancel()
            break

        assert await how_the_last_request_ended(server) == "closed by the client"


@ALL_AGENTS
@BOTH_WAYS
async def test_so_does_one_that_waits_for_its_first_byte(server: ProtocolServer, agent, stream):
    server.script(Silence())

    async with MiniAgents():
        replies = agent.inquire("Hi", stream=stream)
        await begun(server)
        replies.cancel()

        assert await how_the_last_request_ended(server) == "closed by the client"


@ALL_AGENTS
async def test_leaving_the_block_closes_the_connection(server: ProtocolServer, agent):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async with agent.inquire("Hi") as replies:
            async for message in replies:
                assert await anext(aiter(message)) == "Hel"
                break

        assert await how_the_last_request_ended(server) == "closed by the client"


@ALL_AGENTS
async def test_the_connection_serves_the_next_question(server: ProtocolServer, agent):
    async with MiniAgents():
        await agent.inquire("one")
        await agent.inquire("two")

    assert len({request.client_port for request in server.requests}) == 1


@ALL_AGENTS
async def test_many_questions_at_once(server: ProtocolServer, agent):
    async with MiniAgents():
        answers = [agent.inquire(f"question {number}") for number in range(40)]
        texts = [str(await answer.as_single_promise()) for answer in answers]

    assert [text.split('"')[1] for text in texts] == [f"question {number}" for number in range(40)]
