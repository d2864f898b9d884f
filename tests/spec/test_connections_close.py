"""Whoever stops waiting for a model stops the model: the server sees its connection closed within 0.3 seconds."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from miniagents import MessageSequencePromise, MiniAgent, MiniAgents
from miniagents.errors import PromiseCancelledError
from miniagents.testing.server import Answer, Gate, ProtocolServer, RecordedRequest, Silence, Thinking, ToolCall
from tests.spec.providers import OF_EVERY_PROVIDER, agent_of
from tests.support.delays import Delays

pytestmark = pytest.mark.allow_blocking("SDKs of clouds read files when they sign")

LONGEST_CLOSING_S = 0.3
PROGRAM = Path(__file__).parent / "streaming_models.py"
ROOT = PROGRAM.parents[2]

BEGINNINGS: dict[str, list[Any]] = {
    "text": ["Hel"],
    "thinking": [Thinking("Let me")],
    # The second call is not over; Gemini sends its arguments in one piece, and so has begun nothing more.
    "arguments": [ToolCall("look", {"at": "this"}), ToolCall("look", ['{"at"', ': "th'])],
    "nothing": [],
}


def beginning_of(provider: str, name: str) -> list[Any]:
    parts = BEGINNINGS[name]
    return parts[:1] if provider.startswith("gemini") else parts


def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


class Stopping:
    """Ways to stop a call in the middle; each notes when it was."""

    def __init__(self) -> None:
        self.at = 0.0
        self.delays = Delays()

    async def by_cancel(self, agent: MiniAgent, begun: Callable[[], Awaitable[object]]) -> None:
        async with MiniAgents():
            replies = agent.inquire("Hi")
            await begun()
            self.now()
            assert replies.cancel()
            with pytest.raises(PromiseCancelledError):
                await replies

    async def by_cancelling_a_message(self, agent: MiniAgent, begun: Callable[[], Awaitable[object]]) -> None:
        async with MiniAgents():
            replies = agent.inquire("Hi")
            messages = aiter(replies)
            message = await anext(messages)
            await begun()
            self.now()
            while not message.cancel():
                message = await anext(messages)

    async def by_leaving_the_block(self, agent: MiniAgent, begun: Callable[[], Awaitable[object]]) -> None:
        async with MiniAgents():
            async with agent.inquire("Hi"):
                await begun()
                self.now()

    async def by_a_timeout(self, agent: MiniAgent, begun: Callable[[], Awaitable[object]]) -> None:
        async with MiniAgents():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as deadline, agent.inquire("Hi") as replies:
                    await begun()
                    self.now()
                    deadline.reschedule(asyncio.get_running_loop().time())
                    await replies

    async def by_an_error_in_the_context(self, agent: MiniAgent, begun: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ZeroDivisionError):
            async with MiniAgents():
                agent.inquire("Hi")
                await begun()
                self.now()
                raise ZeroDivisionError

    def now(self) -> None:
        self.at = time.monotonic()
        self.delays.start()

    async def took_s(self, request: RecordedRequest) -> float:
        """Give how long it took, without the time for which this machine let nobody work, idle as they were."""
        async with asyncio.timeout(5):
            assert await request.ended() == "closed by the client"
        assert request.ended_at is not None
        return request.ended_at - self.at - self.delays.stop()


WAYS = ["by_cancel", "by_leaving_the_block", "by_a_timeout", "by_an_error_in_the_context"]


@OF_EVERY_PROVIDER
@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_is_left_is_closed(
    model_server: ProtocolServer, provider: str, beginning: str, way: str
) -> None:
    gate = Gate()
    model_server.script(Answer([*beginning_of(provider, beginning), gate, "never sent"]))
    stopping = Stopping()

    await getattr(stopping, way)(agent_of(provider, model_server.url, tools=[look], max_retries=0), gate.reached)

    assert await stopping.took_s(model_server.requests[0]) < LONGEST_CLOSING_S


@OF_EVERY_PROVIDER
@pytest.mark.parametrize("beginning", ["text", "thinking", "arguments"])
async def test_cancelling_one_message_closes_the_stream(
    model_server: ProtocolServer, provider: str, beginning: str
) -> None:
    if (provider, beginning) == ("openai", "thinking") or (provider.startswith("gemini") and beginning == "arguments"):
        pytest.skip("this provider's protocol has no such message that is unfinished")
    gate = Gate()
    model_server.script(Answer([*beginning_of(provider, beginning), gate, "never sent"]))
    stopping = Stopping()

    await stopping.by_cancelling_a_message(agent_of(provider, model_server.url, max_retries=0), gate.reached)

    assert await stopping.took_s(model_server.requests[0]) < LONGEST_CLOSING_S


@OF_EVERY_PROVIDER
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_nothing_has_answered_yet_is_closed(
    model_server: ProtocolServer, provider: str, stream: bool, way: str
) -> None:
    arrived = Gate()

    async def silent(request: RecordedRequest) -> Silence:
        arrived.open()
        return Silence()

    model_server.script(silent)
    stopping = Stopping()
    agent = agent_of(provider, model_server.url, stream=stream, max_retries=0)

    await getattr(stopping, way)(agent, arrived.pass_through)

    assert await stopping.took_s(model_server.requests[0]) < LONGEST_CLOSING_S


@OF_EVERY_PROVIDER
@pytest.mark.parametrize("way", WAYS)
async def test_a_model_that_a_tool_asks_is_closed_with_the_one_that_called_the_tool(
    model_server: ProtocolServer, provider: str, way: str
) -> None:
    gate = Gate()
    model_server.script(Answer([ToolCall("expert", {"question": "Why?"})]))
    model_server.script(Answer(["Be", gate, "cause"]), key="Why?")
    model = agent_of(provider, model_server.url, max_retries=0)
    ended: list[str] = []

    async def expert(question: str) -> str:
        """Ask somebody who knows."""
        try:
            return str(await model.inquire(question).as_single_promise())
        finally:
            ended.append(question)

    stopping = Stopping()

    await getattr(stopping, way)(model.fork(tools=[expert]), gate.reached)

    asked_by_the_tool = model_server.requests[1]
    assert asked_by_the_tool.first_user_text == "Why?"
    assert await stopping.took_s(asked_by_the_tool) < LONGEST_CLOSING_S
    assert ended == ["Why?"]


@OF_EVERY_PROVIDER
async def test_all_of_thirty_streams_are_closed_at_once(model_server: ProtocolServer, provider: str) -> None:
    gates = [Gate() for _ in range(30)]
    model_server.script(*[Answer(["Hel", gate, "lo"]) for gate in gates])
    agent = agent_of(provider, model_server.url, max_retries=0)
    stopping = Stopping()

    with pytest.raises(ZeroDivisionError):
        async with MiniAgents():
            calls: list[MessageSequencePromise] = [agent.inquire(f"Hi {number}") for number in range(30)]
            for gate in gates:
                await gate.reached()
            stopping.now()
            raise ZeroDivisionError

    assert all(call.done() for call in calls)
    took_s = [await stopping.took_s(request) for request in model_server.requests]
    assert len(took_s) == 30
    assert max(took_s) < LONGEST_CLOSING_S


@pytest.mark.parametrize(("sent", "exit_codes"), [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {143})])
def test_ctrl_c_closes_the_connections_to_all_providers(
    model_server: ProtocolServer, sent: signal.Signals, exit_codes: set[int]
) -> None:
    def answer(request: RecordedRequest) -> Answer:
        return Answer([*beginning_of(request.protocol, request.first_user_text), Gate(), "never sent"])

    model_server.answer_with(answer)
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), model_server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "reading\n", program.communicate()
        delays, interrupted_at = Delays(), time.monotonic()
        delays.start()
        program.send_signal(sent)
        output, complaints = program.communicate(timeout=10)
    finally:
        program.kill()
        program.communicate()

    assert program.returncode in exit_codes
    assert output == "cleaned up\n"
    assert "never awaited" not in complaints
    assert complaints.count("Traceback") <= 1
    assert {request.how_ended for request in model_server.requests} == {"closed by the client"}
    assert len(model_server.requests) == 30
    last_ended_at = max(request.ended_at or 1e9 for request in model_server.requests)
    assert last_ended_at - interrupted_at - delays.until(last_ended_at) < LONGEST_CLOSING_S
