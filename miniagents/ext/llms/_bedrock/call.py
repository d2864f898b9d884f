"""One Converse call through boto3, which blocks: made in a thread, and ended from outside if nobody wants the rest."""

import importlib
import json
import socket
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, suppress
from operator import attrgetter
from typing import Any, Final

from miniagents.ext.llms._bedrock.blocking import BlockingCall

_LONGEST_BODY_BYTES: Final = 10_000_000


class NotAnAnswerError(Exception):
    """In place of the answer came something else; `data` is it, or the beginning of it."""

    def __init__(self, content_type: str, data: bytes) -> None:
        super().__init__(content_type)
        self.data = data


async def converse(client: Any, arguments: dict[str, Any], *, stream: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the response (without its stream), then the events; the connection is closed when this generator is."""
    call = _Call(client, arguments, stream=stream)
    lots = BlockingCall(call.iterate, call.interrupt, name=f"Converse {arguments.get('modelId')}").lots()
    async with aclosing(lots):
        async for lot in lots:
            for event in lot:
                yield event


class _Call:
    """What runs in the thread, and what it can be reached by."""

    def __init__(self, client: Any, arguments: dict[str, Any], *, stream: bool) -> None:
        self._client = client
        self._arguments = arguments
        self._stream = stream
        self._body: Any = None
        self._is_unwanted = False
        self.socket: socket.socket | None = None
        self.raw_body = b""

    def iterate(self) -> Generator[dict[str, Any]]:
        """Make the call and give what comes; runs in the thread."""
        _here.call = self
        try:
            if not self._stream:
                whole: dict[str, Any] = self._client.converse(**self._arguments)
                if "output" not in whole:
                    # boto3 takes anything for an answer.
                    raise NotAnAnswerError("", self.raw_body)
                yield whole
                return
            response = self._client.converse_stream(**self._arguments)
            events = response.pop("stream")
            self._body = getattr(events, "_raw_stream", None)
            try:
                yield response
                yield from self._events(events, response)
            finally:
                events.close()
        finally:
            self.socket = None
            _here.call = None

    def _events(self, events: Any, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
        headers: dict[str, str] = response["ResponseMetadata"].get("HTTPHeaders") or {}
        content_type = headers.get("content-type", "")
        if self._body is None or not content_type or "eventstream" in content_type:
            yield from events
            return
        # Some gateways do not stream, or answer with a page of their own.
        data: bytes = self._body.read(_LONGEST_BODY_BYTES)
        try:
            whole: Any = json.loads(data)
        except ValueError:
            whole = None
        if not isinstance(whole, dict) or "output" not in whole:
            raise NotAnAnswerError(content_type, data)
        yield whole

    def connected(self, connection: Any) -> None:
        """Note which connection the request was sent on; called in the thread, before the response is waited for."""
        if self._is_unwanted:
            raise ConnectionAbortedError("nobody wants the answer any more")
        self.socket = connection.sock

    def interrupt(self) -> None:
        """Make the thread's waiting end; called on the loop."""
        self._is_unwanted = True
        connection, body = self.socket, self._body
        # Closing is for the thread, which may be reading at this moment: here its socket is only shut down, upon which
        # its reading ends and it closes everything.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)
            elif body is not None:
                body.shutdown()


class _Here(threading.local):
    call: _Call | None = None


_here = _Here()

# Which class makes the connections for "http" and "https"; boto3 has no public way to it.
_pools_of = attrgetter("_endpoint.http_session._pool_classes_by_scheme")


def make_tell(client: Any) -> None:
    """Make a boto3 client tell the calls above what came, and on which connection they wait for it.

    boto3 has no way to end a call that waits for the first byte. Where its inside has changed, such a call ends when
    the first byte is there.
    """
    client.meta.events.register("before-parse.bedrock-runtime.Converse", _tell_body)
    connections = importlib.import_module("botocore.awsrequest")
    with suppress(AttributeError):
        _pools_of(client).update(
            http=_telling(connections.AWSHTTPConnectionPool), https=_telling(connections.AWSHTTPSConnectionPool)
        )


def _tell_body(response_dict: dict[str, Any], **_: Any) -> None:
    if _here.call is not None and isinstance(response_dict.get("body"), bytes):
        _here.call.raw_body = response_dict["body"]


def _telling(pool_class: Any) -> Any:
    def getresponse(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if _here.call is not None:
            _here.call.connected(self)
        return original(self, *arguments, **keywords)

    original: Any = pool_class.ConnectionCls.getresponse
    connection_class = type("TellingConnection", (pool_class.ConnectionCls,), {"getresponse": getresponse})
    return type("TellingPool", (pool_class,), {"ConnectionCls": connection_class})
