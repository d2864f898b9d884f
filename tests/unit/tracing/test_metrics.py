"""Metrics of agents, tools and requests to models."""

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import Script, ScriptedAgent, tool_call
from miniagents.ext.llms.errors import ProviderError
from tests.unit.tracing.conftest import Recorder

OF_A_CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "scripted",
    "gen_ai.request.model": "scripted",
}


def now() -> str:
    return "noon"


async def test_durations_and_tokens_are_counted(traced: MiniAgents, recorder: Recorder) -> None:
    script = Script([tool_call("now")], "It is noon.")

    await ScriptedAgent.inquire("What time is it?", script=script, tools=[now])

    metrics = recorder.metrics()
    assert sorted(metrics) == [
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
        "gen_ai.execute_tool.duration",
        "gen_ai.invoke_agent.duration",
    ]
    (duration,) = metrics["gen_ai.client.inference.duration"]
    assert (duration.count, dict(duration.attributes)) == (2, OF_A_CHAT)
    assert duration.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    (first,) = metrics["gen_ai.client.inference.time_to_first_chunk"]
    assert first.count == 2
    chats = [span.attributes for span in recorder.spans if span.name == "chat scripted"]
    for kind in ("input_tokens", "output_tokens"):
        (used,) = metrics[f"gen_ai.client.inference.usage.{kind}"]
        (each,) = metrics[f"gen_ai.client.inference.operation.{kind}"]
        total = sum(chat[f"gen_ai.usage.{kind}"] for chat in chats)
        assert (used.value, each.sum, each.count) == (total, total, 2)
        assert dict(used.attributes) == {**OF_A_CHAT, "gen_ai.token.modality": "unknown"}
        assert dict(each.attributes) == OF_A_CHAT
    (tool,) = metrics["gen_ai.execute_tool.duration"]
    assert dict(tool.attributes) == {
        "gen_ai.tool.name": "now",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "NOW",
    }
    (agent,) = metrics["gen_ai.invoke_agent.duration"]
    assert dict(agent.attributes) == {"gen_ai.agent.name": "SCRIPTED_AGENT"}
    assert agent.sum >= duration.sum


async def test_errors_are_told_apart_by_their_type(traced: MiniAgents, recorder: Recorder) -> None:
    with pytest.raises(ProviderError):
        await ScriptedAgent.inquire("Hi", script=Script(ProviderError("down")), max_retries=0)

    metrics = recorder.metrics()
    (duration,) = metrics["gen_ai.client.inference.duration"]
    assert duration.attributes["error.type"] == "ProviderError"
    (agent,) = metrics["gen_ai.invoke_agent.duration"]
    assert agent.attributes["error.type"] == "ProviderError"
    assert "gen_ai.client.inference.usage.input_tokens" not in metrics
