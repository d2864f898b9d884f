"""Whoever stops waiting for a model stops the model: the server sees the connection close."""

import asyncio

import pytest

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.errors import PromiseCancelledError
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.testing.server import Answer, Gate, ProtocolServer

pytestmark = pytest.mark.parametrize(
    "agent",
    [OpenAIAgent.fork(model="gpt-4o"), AnthropicAgent.fork(model="claude-sonnet-5-5")],
    ids=["openai", "anthropic"],
)


async def test_cancelling_the_message_closes_the_response(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in agent.inquire("Hi"):
            tokens = aiter(message)
            assert await anext(tokens) == "Hel"
            assert message.cancel() is True
            with pytest.raises(PromiseCancelledError):
                await anext(tokens)
            assert [token async for token in _until_error(message)] == ["Hel"]

        assert await server.requests[0].ended() == "closed by the client"


async def _until_error(message):
    try:
        async for token in message:
            yield token
    except PromiseCancelledError:
        return


async def test_cancelling_the_reply_sequence_closes_the_response(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        replies = agent.inquire("Hi")
        await gate.reached()
        replies.cancel()

        assert await server.requests[0].ended() == "closed by the client"


async def test_leaving_the_block_of_the_call_closes_the_response(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async with agent.inquire("Hi") as replies:
            async for message in replies:
                async for token in message:
                    assert token == "Hel"
                    break
                break

        assert await server.requests[0].ended() == "closed by the client"


async def test_a_timeout_around_the_block_stops_the_model(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer([gate, "Hello"]))

    async with MiniAgents():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as deadline, agent.inquire("Hi") as replies:
                await gate.reached()
                deadline.reschedule(asyncio.get_running_loop().time())
                await replies

        assert await server.requests[0].ended() == "closed by the client"


async def test_the_call_of_an_agent_that_is_cancelled_is_closed_with_it(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    @miniagent
    async def asks_a_model(ctx: InteractionContext) -> None:
        ctx.reply(await agent.inquire("Hi"))

    async with MiniAgents():
        async with asks_a_model.inquire():
            await gate.reached()

        assert await server.requests[0].ended() == "closed by the client"


async def test_a_context_that_ends_by_an_error_closes_the_response(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    with pytest.raises(ZeroDivisionError):
        async with MiniAgents():
            agent.inquire("Hi")
            await gate.reached()
            raise ZeroDivisionError

    assert await server.requests[0].ended() == "closed by the client"


async def test_a_lazy_answer_that_is_not_read_to_its_end_is_closed_with_the_context(
    agent: MiniAgent, server: ProtocolServer
):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents(start_everything_asap_by_default=False):
        async for message in agent.inquire("Hi"):
            async for token in message:
                assert token == "Hel"
                break
            break

    assert await server.requests[0].ended() == "closed by the client"


async def test_a_reader_that_times_out_leaves_the_answer_to_others(agent: MiniAgent, server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        replies = agent.inquire("Hi")
        await gate.reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await replies
        gate.open()

        assert [str(message) for message in await replies] == ["Hello"]
    assert await server.requests[0].ended() == "complete"


async def test_a_call_is_cancelled_while_its_client_is_built(agent: MiniAgent, server: ProtocolServer):
    async with MiniAgents():
        first, second = agent.inquire("one"), agent.inquire("two")
        await asyncio.sleep(0)
        first.cancel()

        assert str(await second.as_single_promise()).startswith('You said "two"')
