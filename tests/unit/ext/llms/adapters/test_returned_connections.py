"""The end of an answer gives its connection back; what the pool closes on that occasion is closed, however long it takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent
from miniagents.ext.llms._adapters import answers
from miniagents.ext.llms._openai.chat_reader import ChatReader
from miniagents.ext.llms.model_events import ModelEvent, TurnEnded
from miniagents.testing.server import Answer, Gate, ProtocolServer, Raw

IDLE = 20
LONGEST_CLOSING_S = 10
END_MARK = Raw(b"data: [DONE]\n\n")


class HangsUp:
    """A server that answers once on each connection, hangs up when it is told, and sees whether the client does so, too."""

    def __init__(self) -> None:
        self.hang_up = asyncio.Event()
        self.told = asyncio.Barrier(IDLE + 1)
        self.closed = asyncio.Barrier(IDLE + 1)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nHi")
        await self.hang_up.wait()
        writer.write_eof()
        await self.told.wait()
        await reader.read()
        writer.close()
        await self.closed.wait()


@pytest.mark.allow_blocking("the SDK reads files when it is first used")
async def test_connections_that_the_pool_closes_are_closed_though_the_end_of_the_body_is_late(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    # As on a busy loop, where each round takes so long that closing twenty connections exceeds any limit.
    monkeypatch.setattr(answers, "_LONGEST_WAIT_FOR_END_OF_BODY_S", 0.0)
    other = HangsUp()
    async with (
        other.serving() as url,
        httpx2.AsyncClient() as http,
        openai.AsyncOpenAI(http_client=http, base_url=server.openai_base_url, api_key="any") as client,
    ):
        await asyncio.gather(*(http.get(url) for _ in range(IDLE)))
        gate = Gate()
        server.script(Answer(["Hello", gate]))

        async with MiniAgents():
            calling = OpenAIAgent.inquire("Hi", model="gpt-4o", async_client=client)
            await gate.reached()
            other.hang_up.set()
            await other.told.wait()
            gate.open()
            replies = await calling

        assert [str(reply) for reply in replies] == ["Hello"]
        async with asyncio.timeout(LONGEST_CLOSING_S):
            await other.closed.wait()


async def read(server: ProtocolServer) -> list[ModelEvent]:
    """Read an answer in this very task."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        headers = {"authorization": "Bearer any"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            http.stream("POST", f"{server.openai_base_url}/chat/completions", json=body) as response,
        ):
            yield SimpleNamespace(http_response=response)

    names = {"provider": "openai", "model": "gpt-4o"}
    reader = ChatReader("`READING`", **names, done_is_needed=True)
    return [event async for event in answers.read_answer(opening(), reader, who="`READING`", **names)]


async def test_an_answer_whose_body_does_not_end_is_complete_and_its_task_goes_on_as_if_nothing_were(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "_LONGEST_WAIT_FOR_END_OF_BODY_S", 0.0)
    server.script(Answer(["Hello", END_MARK, Gate()]))

    events = await read(server)

    assert events[0] == "Hello"
    assert isinstance(events[-1], TurnEnded)
    assert asyncio.current_task().cancelling() == 0
    assert await server.requests[0].ended() == "closed by the client"


async def test_whoever_cancels_while_the_body_does_not_end_is_heard(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "_LONGEST_WAIT_FOR_END_OF_BODY_S", 3600.0)
    gate = Gate()
    server.script(Answer(["Hello", END_MARK, gate]))

    reading = asyncio.create_task(read(server))
    await gate.reached()
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await server.requests[0].ended() == "closed by the client"
