"""`Network`: what stands between a journal and its server, and fails where a test wants it to."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

Loses = Literal["nothing", "answer", "commit"]


class Network:
    """Passes on what is sent, as long as it is not silent, and is there.

    Attributes:
        speaks: clear it, and nothing is passed on any more.
        loses: of each transaction that writes the answer to its commit, or of every other one the commit itself; the
            connection with it.
        lost: how often it has done that.
        asked: how often somebody has asked for a connection.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.loses: Loses = "nothing"
        self.lost = 0
        self.asked = 0
        self._is_there = True
        self._is_sparing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Begin to listen; give the URL that leads through it to the server."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._url.netloc.rpartition('@')[0]}@" if "@" in self._url.netloc else ""
        return self._url._replace(netloc=f"{user}127.0.0.1:{port}").geturl()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self._writers.append(writer)
        if not self._is_there:
            writer.close()
            return
        await self.speaks.wait()
        there = await asyncio.open_connection(self._url.hostname or "127.0.0.1", self._url.port or 5432)
        self._writers.append(there[1])
        wire = _Wire(self, writer)
        self._tasks.append(asyncio.create_task(self._pump(reader, there[1], wire, wire.sent)))
        self._tasks.append(asyncio.create_task(self._pump(there[0], writer, wire, wire.answered)))

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        wire: "_Wire",
        passes: Callable[[bytes], bool],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self.speaks.wait()
                if passes(data):
                    target.write(data)
                    await target.drain()
        if not wire.is_cut:
            target.close()

    def loses_this(self) -> bool:
        """Whether this one is lost, and not the next."""
        self._is_sparing = not self._is_sparing
        return self._is_sparing

    def break_off(self) -> None:
        """Cut all connections, and refuse new ones, until `come_back()`."""
        self._is_there = False
        for writer in self._writers:
            writer.close()

    def come_back(self) -> None:
        """Pass on again what is sent."""
        self._is_there = True

    async def close(self) -> None:
        self.speaks.set()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Wire:
    """One connection, and what is lost of it."""

    def __init__(self, network: Network, client: asyncio.StreamWriter) -> None:
        self._network = network
        self._client = client
        self._writes = False
        self._is_committing = False
        self.is_cut = False
        """The server's end stays open then: it does not hear that there is nobody any more."""

    def sent(self, data: bytes) -> bool:
        """Whether what the journal sends is passed on."""
        if b"BEGIN" in data:
            self._writes = b"READ ONLY" not in data
        if b"COMMIT;" in data and self._writes:
            if self._network.loses == "commit" and self._network.loses_this():
                self._cut()
            self._is_committing = self._network.loses == "answer"
        return not self.is_cut

    def answered(self, data: bytes) -> bool:
        """Whether what the server sends is passed on."""
        if self._is_committing and not self.is_cut:
            self._cut()
        return not self.is_cut

    def _cut(self) -> None:
        self.is_cut = True
        self._network.lost += 1
        self._client.close()
