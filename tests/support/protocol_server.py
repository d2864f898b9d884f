"""A server on the loopback interface that speaks the wire protocols of OpenAI and of Anthropic.

In a test:

```python
with start_protocol_server() as server:
    server.script("Hello there!", Failure(429), Answer(["Hel", gate, "lo"]))
    client = openai.AsyncOpenAI(base_url=server.openai_base_url, api_key="any")
    ...
    assert server.requests[0].body["model"] == "gpt-4o"
```

Replies are given out in the order in which requests arrive; when none is left, the server echoes. At a terminal:

```
python -m tests.support.protocol_server --port 8123 --delay 0.05
```
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import json
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.support import protocol_anthropic, protocol_openai
from tests.support.protocol_script import (
    Answer,
    Body,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    Gate,
    Pause,
    Raw,
    Reply,
    Thinking,
    ToolCall,
    default_text,
)

__all__ = [
    "Answer", "Body", "Cut", "Drop", "ErrorInside", "Failure", "Gate", "Pause", "ProtocolServer", "Raw",
    "RecordedRequest", "Thinking", "ToolCall", "start_protocol_server",
]  # fmt: skip

MODELS = ["loopback-large", "loopback-small"]


class _ConnectionDropped(Exception):
    """Makes uvicorn close the connection without finishing the body."""


@dataclass
class RecordedRequest:
    """One request as it arrived. `sent` grows while it is answered; `client_port` tells connections apart."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    client_port: int = 0
    sent: list[bytes] = field(default_factory=list[bytes])
    _end: concurrent.futures.Future[str] = field(default_factory=concurrent.futures.Future)

    async def ended(self) -> str:
        """How it ended, once it has: `"complete"`, `"dropped"` by the script, or `"closed by the client"`."""
        return await asyncio.shield(asyncio.wrap_future(self._end))

    def end(self, how: str) -> None:
        if not self._end.done():
            self._end.set_result(how)


class ProtocolServer:
    """The running server; made by `start_protocol_server()`."""

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.openai_base_url = f"{self.url}/v1"
        self.anthropic_base_url = self.url
        self.requests: list[RecordedRequest] = []
        self._replies: deque[Reply] = deque()
        self._delay_s = delay_s
        self._gates: list[Gate] = []

    def script(self, *replies: Reply) -> None:
        """Answer the next requests for a chat, a message or an embedding with these, in this order."""
        for reply in replies:
            if isinstance(reply, Answer):
                self._gates += [step for step in reply.all_steps if isinstance(step, Gate)]
            self._replies.append(reply)

    def reset(self) -> None:
        """Forget requests and replies, and open every gate that a test left closed."""
        self.open_gates()
        self.requests.clear()
        self._replies.clear()

    def open_gates(self) -> None:
        for gate in self._gates:
            gate.open()
        self._gates.clear()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which both SDKs talk to this server."""
        return {
            "OPENAI_BASE_URL": self.openai_base_url,
            "OPENAI_API_KEY": "loopback-key",
            "ANTHROPIC_BASE_URL": self.anthropic_base_url,
            "ANTHROPIC_API_KEY": "loopback-key",
        }

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        raw = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        request = RecordedRequest(scope["method"], scope["path"], headers, json.loads(raw) if raw else {})
        request.client_port = scope["client"][1]
        self.requests.append(request)
        await self._answer_unless_closed(request, receive, send)

    async def _answer_unless_closed(self, request: RecordedRequest, receive: Any, send: Any) -> None:
        answering = asyncio.create_task(self._answer(request, send))
        listening = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                request.end("closed by the client")
                answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
        except _ConnectionDropped:
            request.end("dropped")
            raise
        finally:
            answering.cancel()
            listening.cancel()
        request.end("complete")

    async def _answer(self, request: RecordedRequest, send: Any) -> None:
        vendor = protocol_anthropic if "anthropic-version" in request.headers else protocol_openai
        reply = self._reply_to(request, vendor)
        if isinstance(reply, Failure):
            data = json.dumps(vendor.error_body(reply)).encode()
            await _send_whole(send, request, data, status=reply.status, headers=reply.headers)
        elif isinstance(reply, Body):
            await _send_whole(send, request, reply.data, status=reply.status, content_type=reply.content_type)
        elif isinstance(reply, dict):
            await _send_whole(send, request, json.dumps(reply).encode())
        else:
            await self._send_answer(send, request, reply, vendor)

    def _reply_to(self, request: RecordedRequest, vendor: Any) -> Reply | dict[str, Any]:
        key = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        if not key or key == "wrong-key":
            return Failure(401, "Incorrect API key provided", "authentication_error", "invalid_api_key")
        if request.path == "/v1/models":
            return vendor.models(MODELS)
        if request.path not in {"/v1/chat/completions", "/v1/messages", "/v1/embeddings"}:
            return Failure(404, f"Invalid URL ({request.method} {request.path})", "not_found_error")
        if self._replies and isinstance(self._replies[0], Failure | Body):
            return self._replies.popleft()
        if request.path == "/v1/embeddings":
            return protocol_openai.embeddings(request.body)
        if vendor is protocol_anthropic:
            refusal = protocol_anthropic.refusal_of(request.body, request.headers.get("anthropic-version"))
        else:
            refusal = protocol_openai.refusal_of(request.body)
        if refusal:
            return refusal
        return self._replies.popleft() if self._replies else self._default_answer(request.body, vendor)

    def _default_answer(self, body: dict[str, Any], vendor: Any) -> Answer:
        messages = body["messages"]
        last = next((message for message in reversed(messages) if message["role"] == "user"), {"content": ""})
        text = default_text(vendor.text_of(last["content"]), model=body["model"], message_count=len(messages))
        return Answer(text)

    async def _send_answer(self, send: Any, request: RecordedRequest, reply: Any, vendor: Any) -> None:
        answer = Answer(reply) if isinstance(reply, str) else reply
        number = len(self.requests)
        wire = answer.wire or ("sse" if request.body.get("stream") else "json")
        if wire == "json":
            for step in answer.all_steps:
                if isinstance(step, Gate):
                    await step.pass_through()
            data = json.dumps(vendor.whole(request.body, number, answer), ensure_ascii=False).encode()
            await _send_whole(send, request, data, content_type=answer.content_type or "application/json")
            return
        await _start(send, 200, answer.content_type or "text/event-stream; charset=utf-8")
        pieces: AsyncIterator[bytes | Gate | Pause | Drop] = vendor.stream(request.body, number, answer)
        async for piece in pieces:
            if isinstance(piece, Gate):
                await piece.pass_through()
            elif isinstance(piece, Pause):
                await asyncio.sleep(piece.seconds)
            elif isinstance(piece, Drop):
                raise _ConnectionDropped
            elif piece:
                request.sent.append(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _start(send: Any, status: int, content_type: str, headers: dict[str, str] | None = None) -> None:
    pairs = {"content-type": content_type, "x-request-id": "req_loopback", **(headers or {})}
    encoded = [(name.encode(), value.encode()) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _send_whole(
    send: Any,
    request: RecordedRequest,
    data: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> None:
    request.sent.append(data)
    await _start(send, status, content_type, headers)
    await send({"type": "http.response.body", "body": data})


@contextlib.contextmanager
def start_protocol_server(*, port: int = 0, delay_s: float = 0.0) -> Iterator[ProtocolServer]:
    """Serve from a thread of its own until the block is left. Port 0 takes a free one."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = ProtocolServer(listener.getsockname()[1], delay_s=delay_s)
        runner = uvicorn.Server(
            uvicorn.Config(
                server, lifespan="off", loop="asyncio", http="h11", ws="none", log_config=None, log_level="critical",
                # A test that leaves a stream open must not wait for it here.
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.open_gates()
            runner.should_exit = True
            thread.join(timeout=10)


def main() -> None:
    """Serve until interrupted, and say how to point the SDKs here."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.protocol_server", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two pieces of a stream")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(start_protocol_server(port=options.port, delay_s=options.delay))
        except OSError as error:
            parser.error(f"cannot listen on port {options.port} ({error}); take another, or 0 for a free one")
        for name, value in server.environment.items():
            print(f"export {name}={value}")
        print(f"# process {os.getpid()}, Ctrl+C ends it; say `count to 100` for a long answer", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    sys.exit(0)


if __name__ == "__main__":
    main()
