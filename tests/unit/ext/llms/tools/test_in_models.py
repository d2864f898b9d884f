"""Tools in the hands of a model."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.ext.llms import Script, ScriptedAgent, ToolCallMessage, ToolResultMessage, tool_call
from miniagents.ext.llms.tools import ToolError


def weather(city: str) -> str:
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"sunny in {city}"


async def test_results_follow_the_calls_in_their_order_and_the_model_goes_on_from_there(
    mini_agents: MiniAgents,
) -> None:
    script = Script(
        [tool_call("weather", {"city": "Ulm"}), tool_call("weather", {"city": "Bonn"})], "Sunny everywhere."
    )

    replies = await ScriptedAgent.inquire("How is it?", script=script, tools=[weather])

    assert [type(reply) for reply in replies[:4]] == [ToolCallMessage] * 2 + [ToolResultMessage] * 2
    assert [str(reply) for reply in replies[2:]] == ["sunny in Ulm", "sunny in Bonn", "Sunny everywhere."]
    assert [reply.tool_call_id for reply in replies[:2]] == [reply.tool_call_id for reply in replies[2:4]]


async def test_a_model_can_mend_its_mistake(mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture) -> None:
    script = Script([tool_call("weather", {"city": "Atlantis"})], [tool_call("weather", {"town": "Ulm"})], "I give up.")

    replies = await ScriptedAgent.inquire("How is it?", script=script, tools=[weather])

    assert [str(reply) for reply in replies if isinstance(reply, ToolResultMessage)] == [
        "The tool `weather` failed: LookupError: no such city",
        "The arguments are not valid: `city`: Field required; `town`: there is no such argument. The function "
        "`weather` takes `city`.",
    ]
    assert str(replies[-1]) == "I give up."


async def test_an_error_that_is_raised_comes_after_what_was_said(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(["Let me see. ", tool_call("weather", {"city": "Atlantis"})])
    replies = ScriptedAgent.inquire("?", script=script, tools=[weather], tool_errors="raise")

    reader = aiter(replies)
    assert str(await (await anext(reader))) == "Let me see. "
    assert isinstance(await (await anext(reader)), ToolCallMessage)
    with pytest.raises(ToolError, match="no such city"):
        await (await anext(reader))


async def test_what_a_tool_says_is_seen_while_it_is_still_at_work(mini_agents: MiniAgents) -> None:
    go_on = asyncio.Event()

    async def work() -> AsyncIterator[str]:
        yield "half"
        await go_on.wait()
        yield " done"

    replies = aiter(ScriptedAgent.inquire("go", script=Script([tool_call("work")], "ok"), tools=[work]))
    await anext(replies)

    result = await anext(replies)
    tokens = aiter(result)

    assert await anext(tokens) == "half"
    go_on.set()
    assert str(await result) == "half done"


async def test_an_expert_with_tools_of_its_own_is_a_tool(mini_agents: MiniAgents) -> None:
    expert = ScriptedAgent.fork(
        alias="EXPERT", script=Script([tool_call("weather", {"city": "Ulm"})], "It is sunny."), tools=[weather]
    )
    script = Script([tool_call("expert", {"request": "Ulm?"})], "Go out!")

    replies = await ScriptedAgent.inquire("Shall I go out?", script=script, tools=[expert])

    assert [str(reply) for reply in replies[1:]] == ["It is sunny.", "Go out!"]


async def test_an_agent_that_is_a_tool_belongs_to_the_model_that_called_it(mini_agents: MiniAgents) -> None:
    trace: list[str] = []

    @miniagent
    async def helper(ctx: InteractionContext) -> None:
        trace.extend(agent.alias for agent in ctx.get_agent_trace())

    await ScriptedAgent.inquire("go", script=Script([tool_call("helper", {"request": "?"})], "ok"), tools=[helper])

    assert trace == ["HELPER", "SCRIPTED_AGENT"]


async def test_leaving_the_replies_stops_the_tools(mini_agents: MiniAgents) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with ScriptedAgent.inquire("go", script=Script([tool_call("work")]), tools=[work]):
        await started.wait()

    async with asyncio.timeout(5):
        await stopped.wait()
