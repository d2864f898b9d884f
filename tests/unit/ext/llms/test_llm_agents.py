"""What holds for the agents of all vendors alike."""

import asyncio

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.testing.server import Answer, Body, Gate, ProtocolServer

pytestmark = pytest.mark.parametrize(
    "agent",
    [OpenAIAgent.fork(model="gpt-4o"), AnthropicAgent.fork(model="claude-sonnet-5-5")],
    ids=["openai", "anthropic"],
)


async def test_nothing_is_sent_before_the_next_task_switch(agent: MiniAgent, server: ProtocolServer):
    async with MiniAgents():
        replies = agent.inquire("Hi")
        assert server.requests == []
        await replies
    assert len(server.requests) == 1


async def test_a_lazy_call_sends_nothing_until_somebody_reads(agent: MiniAgent, server: ProtocolServer):
    async with MiniAgents():
        replies = agent.inquire("Hi", start_asap=False)
        await agent.inquire("Another question")
        assert [request.body["messages"][-1]["content"] for request in server.requests] == ["Another question"]

        assert str(await replies.as_single_promise()).startswith('You said "Hi"')


async def test_all_works_where_everything_is_lazy(agent: MiniAgent, server: ProtocolServer):
    async with MiniAgents(start_everything_asap_by_default=False):
        answer = agent.inquire(agent.inquire("Hi"))

        assert str(await answer.as_single_promise()).startswith('You said "You said "Hi"')


async def test_an_error_in_the_input_reaches_the_reader_and_nothing_is_sent(agent: MiniAgent, server: ProtocolServer):
    @miniagent
    async def fails(ctx: InteractionContext) -> None:
        ctx.reply("so far so good")
        raise ZeroDivisionError("no further")

    async with MiniAgents():
        with pytest.raises(ZeroDivisionError, match="no further"):
            await agent.inquire(fails.inquire())

    assert server.requests == []


async def test_answers_arrive_side_by_side(agent: MiniAgent, server: ProtocolServer):
    gates = [Gate(), Gate()]
    server.script(Answer(["a", gates[0], "b"]), Answer(["c", gates[1], "d"]))

    async with MiniAgents():
        answers = [agent.inquire("one"), agent.inquire("two")]
        # Each has sent its first token while neither can go on.
        await asyncio.gather(*(gate.reached() for gate in gates))
        for gate in gates:
            gate.open()

        texts = {str(await answer.as_single_promise()) for answer in answers}

    assert texts == {"ab", "cd"}


async def test_a_connection_is_used_again_after_a_stream(agent: MiniAgent, server: ProtocolServer):
    async with MiniAgents():
        for _ in range(3):
            await agent.inquire("Hi")

    assert len({request.client_port for request in server.requests}) == 1


async def test_an_answer_is_persisted_under_the_hash_of_its_content(agent: MiniAgent, server: ProtocolServer):
    persisted: dict[str, str] = {}
    mini_agents = MiniAgents()

    @mini_agents.on_persist_message
    async def persist(_: object, message: Message) -> None:
        persisted[message.hash_key] = type(message).__name__

    async with mini_agents:
        [answer] = await agent.inquire("Hi")

    assert persisted[answer.hash_key] == type(answer).__name__
    assert {"TokenUsage"} & set(persisted.values()) == set()


async def test_a_stream_that_is_not_one_of_text_says_what_to_do(agent: MiniAgent, server: ProtocolServer):
    server.script(Body(b"\x00\x00\x00\x8f", content_type="application/vnd.amazon.eventstream"))

    async with MiniAgents():
        with pytest.raises(Exception, match="binary event stream, for which `stream=False` is needed"):
            await agent.inquire("Hi")
