"""Sends a reply over one connection, in pieces, and breaks the connection where the script says so."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from miniagents.testing.server._http import reset_connection
from miniagents.testing.server._rendering import Protocol, dumps
from miniagents.testing.server.parts import BadJSON, Control, Drop, Gate, Pause, Reset
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer

_LINE_END = re.compile(rb"(?<!\r)\n")


class Connection:
    """The connection on which one request came."""

    def __init__(self, request: RecordedRequest, send: Any, transport: asyncio.Transport) -> None:
        self.request = request
        self.is_started = False
        self._send = send
        self._transport = transport

    async def start(self, status: int, headers: dict[str, str]) -> None:
        """Send the status line and the headers."""
        self.is_started = True
        pairs = {"x-request-id": "req_loopback", "request-id": "req_loopback", **headers}
        encoded = [(name.encode(), value.encode()) for name, value in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.request.bytes_sent += len(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the body in good order."""
        await self._send({"type": "http.response.body", "body": b""})

    async def send_whole(
        self, data: bytes, content_type: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Send a response of one piece."""
        named = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
        await self.start(status, named)
        self.request.bytes_sent += len(data)
        await self._send({"type": "http.response.body", "body": data})

    async def send_json(self, data: object, content_type: str) -> None:
        """Send a response of one piece of JSON."""
        await self.send_whole(dumps(data), content_type)

    async def control(self, part: Control) -> None:
        """Wait, or break the connection; returns only if the answer goes on."""
        if isinstance(part, Gate):
            await part.pass_through()
            return
        if isinstance(part, Pause):
            await asyncio.sleep(part.seconds)
            return
        if isinstance(part, Drop | Reset):
            self.request.end("dropped")
            if isinstance(part, Reset):
                reset_connection(self._transport)
            else:
                self._transport.close()
        # Cancelled when the end of the connection is noticed, or when the server stops.
        await asyncio.get_running_loop().create_future()


async def send_answer(
    connection: Connection, protocol: Protocol, answer: Answer, number: int, server_delay_s: float
) -> None:
    """Send an answer of the model, streamed or whole as the request, or the script, wants it."""
    rendering = protocol.rendering(connection.request, answer, number)
    wire = answer.wire or ("sse" if connection.request.streamed else "json")
    if wire == "json":
        for part in answer.all_parts:
            if isinstance(part, Control):
                await connection.control(part)
        bad = next((part for part in answer.all_parts if isinstance(part, BadJSON)), None)
        data = bad.data.encode() if bad else dumps(rendering.whole())
        await connection.send_whole(data, answer.content_type or protocol.json_type)
        return
    await connection.start(200, {"content-type": answer.content_type or protocol.stream_type})
    delay_s = answer.delay_s or server_delay_s
    for piece in _cut_up(rendering.stream(), answer):
        if isinstance(piece, bytes):
            await connection.write(piece)
            if delay_s:
                await asyncio.sleep(delay_s)
            elif answer.chunk_bytes:
                # The next piece leaves in a packet of its own.
                await asyncio.sleep(0)
        else:
            await connection.control(piece)
    await connection.end()


def _cut_up(pieces: Iterator[bytes | Control], answer: Answer) -> Iterator[bytes | Control]:
    """Join and split the pieces as the answer wants it."""
    size = answer.chunk_bytes
    rest = b""
    for piece in pieces:
        if not isinstance(piece, bytes):
            if rest:
                yield rest
            rest = b""
            yield piece
            continue
        data = _LINE_END.sub(b"\r\n", piece) if answer.crlf else piece
        if size is None:
            if data:
                yield data
            continue
        data = rest + data
        whole = len(data) - len(data) % size
        yield from (data[start : start + size] for start in range(0, whole, size))
        rest = data[whole:]
    if rest:
        yield rest
