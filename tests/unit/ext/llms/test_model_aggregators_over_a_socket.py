"""Fallback, race, gate and limits with real SDKs and a server that fails."""

from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.ext import Retry, VerdictMessage, fallback_agent, gate_agent, limited, race_agent
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent, parse_reply, stream_parsed
from miniagents.ext.llms.errors import ConnectionLostError, OverloadedError, ProviderError
from miniagents.testing.server import Answer, Drop, Failure, Gate, ProtocolServer

GPT = OpenAIAgent.fork(alias="GPT", model="gpt-4o", max_retries=0)
CLAUDE = AnthropicAgent.fork(alias="CLAUDE", model="claude-sonnet-5-5", max_tokens=100, max_retries=0)


async def texts(replies: Any) -> list[str]:
    return [str(message) for message in await replies]


class City(BaseModel):
    name: str
    people: int


async def test_a_provider_that_is_down_is_replaced_by_the_other(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    server.script(Failure(503), Answer(["Hel", "lo"]))

    assert await texts(fallback_agent.inquire("Hi", agents=[GPT, CLAUDE])) == ["Hello"]
    assert [request.path for request in server.requests] == ["/v1/chat/completions", "/v1/messages"]


async def test_an_answer_that_breaks_off_is_followed_by_the_other_providers(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    server.script(Answer(["Once ", Drop()]), Answer(["Long ", "ago"]))

    torn, whole = await fallback_agent.inquire("Tell me", agents=[CLAUDE, GPT], mid_stream=True)

    assert (str(torn), torn.interrupted, torn.agent_alias) == ("Once ", True, "CLAUDE")
    assert (str(whole), whole.interrupted, whole.agent_alias) == ("Long ago", None, "GPT")


async def test_if_all_providers_are_down_the_last_error_tells_of_the_others(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    server.script(Failure(503), Failure(500))

    with pytest.raises(ProviderError) as caught:
        await fallback_agent.inquire("Hi", agents=[GPT, CLAUDE])

    assert caught.value.provider == "anthropic"
    assert "`GPT` failed too: OverloadedError: " in caught.value.__notes__[0]


@pytest.mark.parametrize(("slow", "fast"), [(GPT, CLAUDE), (CLAUDE, GPT)], ids=["claude is faster", "gpt is faster"])
async def test_the_connection_of_who_loses_a_race_closes_at_once(
    mini_agents: MiniAgents, server: ProtocolServer, slow: MiniAgent, fast: MiniAgent
) -> None:
    silence = Gate()

    @miniagent
    async def asks_when_the_other_waits(ctx: InteractionContext) -> None:
        await silence.reached()
        server.script(Answer("first"))
        ctx.reply(fast.inquire(ctx.message_promises))

    server.script(Answer([silence, "late"]))

    assert await texts(race_agent.inquire("Hi", agents=[slow, asks_when_the_other_waits])) == ["first"]
    assert await server.requests[0].ended() == "closed by the client"


async def test_the_connection_of_an_answer_that_is_not_released_closes_at_once(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    more = Gate()
    server.script(Answer(["a ", "secret", more]))

    @miniagent
    async def guard(ctx: InteractionContext) -> None:
        await more.reached()
        ctx.reply(VerdictMessage(passed=False, reason="no secrets"))

    assert await texts(gate_agent.inquire("Hi", agent=GPT, guard=guard)) == ["no secrets"]
    assert await server.requests[0].ended() == "closed by the client"


async def test_a_limited_model_is_asked_again_until_it_answers(mini_agents: MiniAgents, server: ProtocolServer) -> None:
    server.script(Failure(429, retry_after_s=0.01), Failure(503), Answer(["Hel", "lo"]))

    assert await texts(limited(CLAUDE, retry=Retry(attempts=3, wait_s=0)).inquire("Hi")) == ["Hello"]
    assert len(server.requests) == 3


async def test_a_limited_model_is_not_asked_again_when_it_has_begun(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    server.script(Answer(["Hel", Drop()]))

    with pytest.raises(ConnectionLostError):
        await limited(GPT, retry=Retry(attempts=3, wait_s=0)).inquire("Hi")
    assert len(server.requests) == 1


async def test_the_connection_of_a_call_that_takes_too_long_closes(
    mini_agents: MiniAgents, server: ProtocolServer
) -> None:
    more = Gate()
    server.script(Answer(["Hel", more]))

    with pytest.raises(TimeoutError, match="`GPT` took longer than 0.2 seconds"):
        await limited(GPT, timeout_s=0.2).inquire("Hi")
    assert await server.requests[0].ended() == "closed by the client"


@pytest.mark.parametrize("model", [GPT, CLAUDE], ids=["openai", "anthropic"])
async def test_a_structured_answer_is_streamed_and_parsed(
    mini_agents: MiniAgents, server: ProtocolServer, model: MiniAgent
) -> None:
    first, second = Gate(), Gate()
    server.script(Answer(['{"name": "Ro', first, 'me", "peo', second, 'ple": 2800000}']))

    replies = model.inquire("Which city?", response_model=City)
    stream = stream_parsed(replies, City)

    assert await anext(stream) == {"name": "Ro"}
    first.open()
    assert await anext(stream) == {"name": "Rome"}
    second.open()
    rest = [value async for value in stream]
    assert rest == [{"name": "Rome", "people": 2800000}, City(name="Rome", people=2800000)]
    assert await parse_reply(replies, City) is rest[-1]


async def test_a_fallback_keeps_what_was_validated(mini_agents: MiniAgents, server: ProtocolServer) -> None:
    server.script(Failure(503), Answer('{"name": "Rome", "people": 1}'))
    members = [agent.fork(response_model=City) for agent in (GPT, CLAUDE)]

    (message,) = await fallback_agent.inquire("Which city?", agents=members, mid_stream=True)

    assert message.parsed == City(name="Rome", people=1)


async def test_one_provider_is_the_guard_of_the_other(mini_agents: MiniAgents, server: ProtocolServer) -> None:
    class Safety(BaseModel):
        passed: bool
        reason: str | None = None

    server.script(Answer('{"passed": true, "reason": null}'), Answer('{"passed": true, "reason": null}'))
    gate = gate_agent.fork(agent=GPT, guard=CLAUDE.fork(response_model=Safety))

    assert await texts(gate.inquire("Hi")) == ['{"passed": true, "reason": null}']
    assert sorted(request.path for request in server.requests) == ["/v1/chat/completions", "/v1/messages"]


async def test_an_error_that_is_no_reason_to_go_on_is_raised(mini_agents: MiniAgents, server: ProtocolServer) -> None:
    server.script(Failure(401), Answer("no"))

    with pytest.raises(Exception, match="401"):
        await fallback_agent.inquire("Hi", agents=[GPT, CLAUDE], on=OverloadedError)
    assert len(server.requests) == 1
