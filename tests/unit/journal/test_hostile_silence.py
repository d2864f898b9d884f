"""A server of Postgres that says nothing any more, without any error of the network."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from miniagents.journal import Journal, JournalError, _postgres
from miniagents.journal._silence import Silence
from tests.unit.journal.conftest import call, record


class Network:
    """Passes on what is sent, as long as it is not silent."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.tasks: list[asyncio.Task[None]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self.speaks.wait()
        there = await asyncio.open_connection(*self._server)
        self.writers.append(there[1])
        for source, target in ((reader, there[1]), (there[0], writer)):
            self.tasks.append(asyncio.create_task(self._pump(source, target)))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self.speaks.wait()
                target.write(data)
                await target.drain()
        target.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for writer in self.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def network(postgres_url: str) -> AsyncIterator[tuple[Network, str]]:
    parts = urlsplit(postgres_url)
    network = Network(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    yield network, parts._replace(netloc=f"{user}127.0.0.1:{port}").geturl()
    network.speaks.set()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)
    await network.close()


async def test_a_server_that_says_nothing_is_told_of_and_the_journal_can_be_closed(
    network: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, url = network
    journal = await Journal.open(url, busy_timeout_s=0.1)
    run = await journal.begin_run("r")
    await record(run, call("k"), "done")

    monkeypatch.setattr(_postgres, "_SILENT_S", 0.1)
    monkeypatch.setattr(_postgres, "_RECONNECT_S", 0.2)
    wire.speaks.clear()

    async with asyncio.timeout(10):
        with pytest.raises(JournalError, match="The server does not answer"):
            await run.remember("what", 1)
        with pytest.raises(JournalError, match="The server"):
            await journal.close()


async def test_a_busy_event_loop_is_not_taken_for_a_silent_server() -> None:
    cuts: list[str] = []

    with Silence(lambda: cuts.append("cut"), 0.01, late_s=0.02) as silence:
        busy_until = time.monotonic() + 0.05
        while time.monotonic() < busy_until:
            pass
        await asyncio.sleep(0)
        assert not silence.was_cut
        async with asyncio.timeout(5):
            while not cuts:  # noqa: ASYNC110 - who cuts sets no event
                await asyncio.sleep(0)

    assert silence.was_cut
