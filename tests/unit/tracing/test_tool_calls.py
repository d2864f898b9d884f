"""Spans of tools."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import StatusCode

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext.llms import Script, ScriptedAgent, tool_call
from tests.unit.tracing.conftest import Recorder


def weather(city: str) -> str:
    """Tells the weather."""
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"sunny in {city}"


async def test_a_call_of_a_tool_is_a_span_between_the_requests(traced: MiniAgents, recorder: Recorder) -> None:
    script = Script([tool_call("weather", {"city": "Ulm"})], "Sunny.")

    called, *_ = await ScriptedAgent.inquire("How is it?", script=script, tools=[weather])

    assert recorder.names == [
        "invoke_agent SCRIPTED_AGENT",
        "chat scripted",
        "execute_tool weather",
        "chat scripted",
    ]
    assert recorder.parent("execute_tool weather") == "invoke_agent SCRIPTED_AGENT"
    assert dict(recorder.span("execute_tool weather").attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.call.id": called.tool_call_id,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Tells the weather.",
        "gen_ai.agent.name": "WEATHER",
    }


async def test_a_tool_that_fails_is_marked_and_the_agent_that_goes_on_is_not(
    traced: MiniAgents, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script([tool_call("weather", {"city": "Atlantis"})], "No idea.")

    await ScriptedAgent.inquire("How is it?", script=script, tools=[weather])

    assert recorder.span("execute_tool weather").attributes["error.type"] == "LookupError"
    assert recorder.span("invoke_agent SCRIPTED_AGENT").status.status_code is StatusCode.UNSET


async def test_what_a_tool_calls_is_no_tool_but_what_its_model_calls_is(traced: MiniAgents, recorder: Recorder) -> None:
    @miniagent
    async def helper(ctx: InteractionContext) -> None:
        ctx.reply("helped")

    async def inner() -> str:
        return str((await helper.inquire())[0])

    expert = ScriptedAgent.fork(alias="EXPERT", script=Script([tool_call("inner")], "It is so."), tools=[inner])
    script = Script([tool_call("expert", {"request": "Is it?"})], "So it is.")

    await ScriptedAgent.inquire("?", script=script, tools=[expert], model="boss")

    assert recorder.names == [
        "invoke_agent SCRIPTED_AGENT",
        "chat boss",
        "execute_tool expert",
        "chat scripted",
        "execute_tool inner",
        "invoke_agent HELPER",
        "chat scripted",
        "chat boss",
    ]
    assert recorder.parent("execute_tool inner") == "execute_tool expert"
    assert recorder.parent("invoke_agent HELPER") == "execute_tool inner"


async def test_a_tool_is_at_work_until_its_result_is_complete(recorder: Recorder) -> None:
    go_on = asyncio.Event()

    async def tokens(_: object) -> AsyncIterator[str]:
        yield "half"
        await go_on.wait()
        yield " done"

    @miniagent
    async def work(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    async with recorder.mini_agents(capture_content=True):
        replies = aiter(
            ScriptedAgent.inquire("go", script=Script([tool_call("work", {"request": "x"})], "ok"), tools=[work])
        )
        await anext(replies)
        assert await anext(aiter(await anext(replies))) == "half"
        assert "execute_tool work" not in recorder.names
        go_on.set()
        assert str(await (await anext(replies))) == "ok"

    span = recorder.span("execute_tool work")
    assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == {"request": "x"}
    assert span.attributes["gen_ai.tool.call.result"] == "half done"


async def test_tools_of_one_turn_side_by_side_have_a_span_each(traced: MiniAgents, recorder: Recorder) -> None:
    script = Script([tool_call("weather", {"city": city}) for city in ("Ulm", "Bonn", "Kiel")], "Sunny.")

    replies = await ScriptedAgent.inquire("How is it?", script=script, tools=[weather])

    spans = [span for span in recorder.spans if span.name == "execute_tool weather"]
    assert [span.attributes["gen_ai.tool.call.id"] for span in spans] == [reply.tool_call_id for reply in replies[:3]]
