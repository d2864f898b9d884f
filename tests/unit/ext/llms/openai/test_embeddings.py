import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import EmbeddingMessage, TokenUsage, openai_embedding_agent
from miniagents.ext.llms.errors import BadRequestError, MissingAPIKeyError, UsageLimitExceededError
from miniagents.testing.server import Failure, Gate, ProtocolServer
from miniagents.testing.server.openai_lists import vector_of
from miniagents.usage import UsageLimits


async def test_each_message_is_answered_with_its_vector_in_order(server: ProtocolServer):
    async with MiniAgents():
        messages = await openai_embedding_agent.inquire(["one", "two words", "three"], model="embedding-1")

    assert all(isinstance(message, EmbeddingMessage) for message in messages)
    assert [str(message) for message in messages] == ["one", "two words", "three"]
    assert [message.embedding for message in messages] == [tuple(vector_of(str(message))) for message in messages]
    assert [message.model for message in messages] == ["embedding-1"] * 3
    assert sorted(request.body["input"][0] for request in server.requests) == ["one", "three", "two words"]


async def test_a_batch_is_one_request_and_its_usage_is_counted_once(server: ProtocolServer):
    async with MiniAgents():
        messages = await openai_embedding_agent.inquire(["one", "two words"], batch_mode=True, dimensions=2)

    assert [request.body["input"] for request in server.requests] == [["one", "two words"]]
    assert [message.embedding for message in messages] == [(3.0, 1.5), (9.0, 4.5)]
    assert [message.usage for message in messages] == [None, TokenUsage(input_tokens=3)]
    assert messages[1].raw_usage.total_tokens == 3


async def test_its_requests_are_counted_and_limited_like_those_of_any_model(server: ProtocolServer):
    async with MiniAgents(usage_limits=UsageLimits(requests=2)) as context:
        await openai_embedding_agent.inquire(["one", "two words"], model="embedding-1")
        with pytest.raises(UsageLimitExceededError):
            await openai_embedding_agent.inquire("three", model="embedding-1")

    assert len(server.requests) == 2
    assert context.usage.by_model["embedding-1"].input_tokens == 3


async def test_vectors_may_be_sent_as_numbers(server: ProtocolServer):
    async with MiniAgents():
        [message] = await openai_embedding_agent.inquire("four", encoding_format="float")

    assert message.embedding == (4.0, 2.0, 1.0, 0.5)


@pytest.mark.parametrize("batch_mode", [False, True], ids=["one by one", "batch"])
async def test_no_messages_are_no_request(server: ProtocolServer, batch_mode: bool):
    async with MiniAgents():
        assert await openai_embedding_agent.inquire(batch_mode=batch_mode) == ()

    assert server.requests == []


async def test_a_message_that_is_there_is_not_kept_waiting_by_one_that_is_not(server: ProtocolServer):
    gate = Gate()

    async def texts():
        yield "one"
        await gate.pass_through()
        yield "two"

    async with MiniAgents():
        replies = openai_embedding_agent.inquire(texts())
        async for promise in replies:
            first = await promise
            break
        gate.open()

        assert str(first) == "one"
        assert len(await replies) == 2


async def test_an_error_of_the_provider_is_raised(server: ProtocolServer):
    server.script(Failure(400, "too long"))

    async with MiniAgents():
        with pytest.raises(BadRequestError, match="too long") as raised:
            await openai_embedding_agent.inquire("one")

    assert (raised.value.provider, raised.value.status_code) == ("openai", 400)


async def test_key_and_server_may_be_given(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable)

    async with MiniAgents():
        await openai_embedding_agent.inquire("one", api_key="its-own", base_url=server.openai_base_url)

    assert server.requests[0].headers["authorization"] == "Bearer its-own"


async def test_a_missing_key_names_the_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")

    async with MiniAgents():
        with pytest.raises(MissingAPIKeyError, match="`OPENAI_EMBEDDING_AGENT` .* OPENAI_API_KEY"):
            await openai_embedding_agent.inquire("one")
