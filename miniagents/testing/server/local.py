"""The server itself: takes a request, finds its reply, and sends it in the words of its protocol."""

import asyncio
import contextlib
import inspect
import itertools
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl

from typing_extensions import override

from miniagents.testing.server import _http, anthropic, gemini, openai_lists
from miniagents.testing.server._rendering import Protocol
from miniagents.testing.server._routes import Route, protocol_of_stranger, route_of
from miniagents.testing.server._sending import Connection, send_answer
from miniagents.testing.server.control import ProtocolServer, first_user_text
from miniagents.testing.server.parts import Drop, Gate, Reset, Silence
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Body, Failure, PlainReply, Reply, echo

MODELS = ["loopback-large", "loopback-small"]


class LocalServer(ProtocolServer):
    """The server in a thread of this process."""

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        listener = _http.listen_on(port)
        self._http = _http.HTTPServer(listener, self._serve)
        super().__init__(self._http.port)
        self._delay_s = delay_s
        self._requests: list[RecordedRequest] = []
        self._errors: list[Exception] = []
        self._gates: list[Gate] = []
        self._forget()

    def _forget(self) -> None:
        self._requests.clear()
        self._errors.clear()
        self._replies: deque[Reply] = deque()
        self._replies_of: dict[str, deque[Reply]] = defaultdict(deque)
        self._otherwise: Reply = echo
        self._key_of: Callable[[RecordedRequest], str] = first_user_text
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------------------------ for the test

    def start(self) -> None:
        """Accept requests."""
        self._http.start()

    def stop(self) -> None:
        """Break off what is being answered, and end."""
        self.open_gates()
        self._http.stop()

    @property
    @override
    def requests(self) -> list[RecordedRequest]:
        """Every request so far."""
        return self._requests

    @property
    @override
    def errors(self) -> list[Exception]:
        """What went wrong with the script itself."""
        return self._errors

    @override
    def script(self, *replies: Reply, key: str | None = None) -> None:
        for reply in replies:
            if isinstance(reply, Answer):
                self._gates += reply.gates
            (self._replies if key is None else self._replies_of[key]).append(reply)

    @override
    def answer_with(self, reply: Reply) -> None:
        self._otherwise = reply

    @override
    def key_by(self, function: Callable[[RecordedRequest], str]) -> None:
        self._key_of = function

    @override
    def reset(self) -> None:
        self.open_gates()
        self._forget()

    @override
    def open_gates(self) -> None:
        for gate in self._gates:
            gate.open()
        self._gates.clear()

    @override
    def wait_for_ends(self, *, timeout_s: float = 30.0) -> None:
        requests = list(self._requests)
        deadline = time.monotonic() + timeout_s
        open_ones = [request for request in requests if not request.wait_for_end(deadline - time.monotonic())]
        if open_ones:
            raise TimeoutError(
                f"{len(open_ones)} of {len(requests)} requests have not ended in {timeout_s:g} s, the first of them "
                f"`{open_ones[0].method} {open_ones[0].path}`: close its client, or open the gate of its answer."
            )

    @override
    def stop_listening(self) -> None:
        self._http.stop_listening()

    @override
    def listen_again(self) -> None:
        self._http.listen_again()

    # ------------------------------------------------------------------------------------------ for the client

    async def _serve(self, scope: Any, receive: Any, send: Any, transport: asyncio.Transport) -> None:
        raw = await _body_of(receive)
        if scope["type"] != "http" or raw is None:
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = _object_in(raw)
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        request = RecordedRequest(scope["method"], scope["path"], headers, body, query, scope["client"][1])
        route = route_of(request.path, headers)
        if route:
            request.protocol = route.protocol.name
            request.model = route.model or str(body.get("model") or "")
            request.streamed = bool(body.get("stream")) if route.streamed is None else route.streamed
            request.dialog = route.protocol.dialog(body)
        self._requests.append(request)
        connection = Connection(request, send, transport)
        await _unless_closed(self._answer(connection, route, next(self._numbers)), request, receive)

    async def _answer(self, connection: Connection, route: Route | None, number: int) -> None:
        request = connection.request
        reply = await self._reply_to(request, route)
        protocol = route.protocol if route else protocol_of_stranger(request.path, request.headers)
        if isinstance(reply, dict):
            await connection.send_json(reply, protocol.json_type)
        elif isinstance(reply, Failure):
            data = json.dumps(protocol.error_body(reply)).encode()
            await connection.send_whole(data, protocol.json_type, reply.status, protocol.error_headers(reply))
        elif isinstance(reply, Body):
            await connection.send_whole(reply.data, reply.content_type, reply.status)
        elif isinstance(reply, Silence | Drop | Reset):
            await connection.control(reply)
        else:
            answer = Answer(reply) if isinstance(reply, str) else reply
            self._gates += answer.gates
            await self._send_answer(connection, protocol, answer, number)

    async def _send_answer(self, connection: Connection, protocol: Protocol, answer: Answer, number: int) -> None:
        try:
            await send_answer(connection, protocol, answer, number, self._delay_s)
        except Exception as error:  # noqa: BLE001 - a script that cannot be told in this protocol; for the test to judge
            self._errors.append(error)
            if connection.is_started:
                await connection.control(Drop())
            failure = Failure(500, f"the scripted answer cannot be sent: {error!r}")
            data = json.dumps(protocol.error_body(failure)).encode()
            await connection.send_whole(data, protocol.json_type, 500, protocol.error_headers(failure))

    async def _reply_to(self, request: RecordedRequest, route: Route | None) -> PlainReply | dict[str, Any]:
        if _key_in(request) in {"", "wrong-key"}:
            return Failure(401, "Incorrect API key provided")
        if route is None:
            return Failure(404, f"Invalid URL ({request.method} {request.path})", "not_found_error")
        if route.task == "list":
            return _models(route)
        replies = self._replies_for(request)
        if replies and isinstance(replies[0], Failure | Body | Silence | Drop | Reset):
            return replies.popleft()  # pyright: ignore[reportReturnType] - it is the very object that was looked at
        if route.task == "embed":
            return openai_lists.embeddings(request.body)
        refusal = route.protocol.refusal_of(request) if route.task == "answer" else None
        if refusal:
            return refusal
        if route.task == "count":
            return route.protocol.count(request)
        return await self._called(replies.popleft() if replies else self._otherwise, request)

    def _replies_for(self, request: RecordedRequest) -> deque[Reply]:
        own = self._replies_of.get(self._key_of(request)) if self._replies_of else None
        return own or self._replies

    async def _called(self, reply: Reply, request: RecordedRequest) -> PlainReply:
        try:
            while callable(reply):
                result = reply(request)
                reply = await result if inspect.isawaitable(result) else result
        except Exception as error:  # noqa: BLE001 - it is for the test to judge
            self._errors.append(error)
            return Failure(500, f"a function in the script raised {error!r}")
        return reply


def _models(route: Route) -> dict[str, Any]:
    vendors = {"anthropic": anthropic.models, "gemini": gemini.models}
    return vendors.get(route.protocol.name, openai_lists.models)(MODELS)


async def _body_of(receive: Any) -> bytes | None:
    """The whole body, `None` if the client left before."""
    raw: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        raw.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(raw)


def _object_in(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty one if it is none, which every protocol then refuses in its own way."""
    try:
        body: Any = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return cast(dict[str, Any], body) if isinstance(body, dict) else {}


def _key_in(request: RecordedRequest) -> str:
    """The key of the API, wherever the protocols have it; of Amazon's signature the id of the key."""
    headers = request.headers
    authorization = headers.get("authorization", "")
    if authorization.startswith("AWS4-HMAC-SHA256"):
        return authorization.partition("Credential=")[2].partition("/")[0]
    named = (headers.get(name, "") for name in ("x-api-key", "api-key", "x-goog-api-key"))
    return authorization.removeprefix("Bearer ") or next(filter(None, named), "") or request.query.get("key", "")


async def _unless_closed(answer: Any, request: RecordedRequest, receive: Any) -> None:
    """Answer until it is done, or until the client leaves."""
    answering = asyncio.ensure_future(answer)
    listening = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            request.end("closed by the client")
            answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        request.end("complete")
    finally:
        answering.cancel()
        listening.cancel()
        request.end("dropped")
        await asyncio.gather(answering, listening, return_exceptions=True)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
