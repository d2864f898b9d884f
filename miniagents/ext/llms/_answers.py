"""Reads the answer of a model from an HTTP response: a stream of events or one JSON body, whatever was sent.

The SDKs serve for authentication, retries before the first byte and the classes of their errors. The body is decoded
here, since building their objects costs 5 to 20 times as much as decoding itself.
"""

import asyncio
import importlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any, Final, Protocol, cast

from pydantic_core import from_json

from miniagents.ext.llms._sse import ServerSentEvent, SSEDecoder
from miniagents.ext.llms.errors import (
    InterruptedAnswerError,
    TruncatedAnswerError,
    UnreadableAnswerError,
)
from miniagents.messages import Message

# For the end of the body after the protocol's own end mark, so that the connection can be used again.
_LONGEST_WAIT_FOR_END_OF_BODY_S: Final = 1.0
# Kept of a body that turns out to be no event stream, to see what it is instead.
_LONGEST_UNKNOWN_BODY_BYTES: Final = 65536
# Of a reply, whatever a response calls by these names; so are the methods of a message.
_TAKEN_FIELDS: Final = frozenset({"content", "content_template", "class_", "role", "agent_alias"})


class HTTPResponse(Protocol):
    """The part of `httpx2.Response` that is used."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers; names in any case."""
        ...

    async def aread(self) -> bytes:
        """The whole body."""
        ...

    def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives."""
        ...


class RawResponse(Protocol):
    """What the `with_streaming_response` of both SDKs gives."""

    @property
    def http_response(self) -> HTTPResponse:
        """The response below the SDK."""
        ...


class AnswerReader(Protocol):
    """Understands the events and the JSON body of one vendor."""

    end_mark: str
    """What ends a stream, in words."""

    @property
    def hint(self) -> str:
        """One more sentence for the error of a stream that ended without it, may be empty."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the end mark has come, so that nothing more needs to be read."""
        ...

    @property
    def may_end_here(self) -> bool:
        """Whether the answer is whole if the body ends now."""
        ...

    def event(self, event: ServerSentEvent) -> str | None:
        """Take in one event and return the token in it, if any.

        Raises:
            ValueError: its data is not what the vendor sends.
            ReportedError: the event is an error.
        """
        ...

    def body(self, body: Any) -> str:
        """Take in a whole answer, decoded, and return its text. Raises as `event` does."""
        ...

    def fields(self) -> dict[str, Any]:
        """What came, as fields of the reply."""
        ...


async def read_answer(
    opening: AbstractAsyncContextManager[RawResponse],
    reader: AnswerReader,
    answer_fields: dict[str, Any],
    *,
    who: str,
) -> AsyncIterator[str]:
    """Enter `opening`, which sends the request, and yield the tokens; the response is closed when this generator is.

    Args:
        opening: gives the response, and closes it.
        reader: the vendor's.
        answer_fields: gets `reader.fields()` when the answer has ended, but for names that mean something else here.
        who: names agent and model in errors.

    Raises:
        AnswerError: the answer is broken. What the SDK raises before the first byte passes.
    """
    async with opening as opened:
        response = opened.http_response
        body = _Body(reader, who)
        try:
            content_type = response.headers.get("content-type", "")
            if content_type.startswith("text/html"):
                raise UnreadableAnswerError(who, "a web page", await response.aread())
            if content_type.startswith("application/vnd.amazon.eventstream"):
                raise UnreadableAnswerError(
                    who, "Amazon's binary event stream, for which `stream=False` is needed,", b""
                )
            if content_type.startswith("application/json"):
                # Asked for or not: some servers and gateways do not stream, and report errors in this way.
                for token in body.whole(await response.aread()):
                    yield token
                return
            # Closed by hand: a generator that is dropped half-read is closed later, by a task that nobody owns.
            async with aclosing(response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    for token in body.tokens(chunk):
                        yield token
                    if reader.is_complete:
                        await _read_to_the_end(chunks)
                        return
            for token in body.last_tokens():
                yield token
        # Not imported at the top: it comes with the SDKs, and only who uses one has it.
        except importlib.import_module("httpx2").TransportError as error:
            raise InterruptedAnswerError(who, error) from error
        finally:
            answer_fields.update(_reply_fields(reader.fields()))


def _reply_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _storable(value)
        for name, value in fields.items()
        if name not in _TAKEN_FIELDS and not hasattr(Message, name)
    }


def _storable(value: Any) -> Any:
    # Some servers send `-Infinity` as a log probability; a message holds what JSON can hold.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _storable(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[Any]", value)]
    return value


class _Body:
    """Takes in the body of one response."""

    def __init__(self, reader: AnswerReader, who: str) -> None:
        self._reader = reader
        self._who = who
        self._decoder = SSEDecoder()
        # Kept until the first event, as it may be no event stream at all.
        self._unknown: bytes | None = b""

    # Generators, so that the tokens before a broken event are out when it raises.
    def tokens(self, chunk: bytes) -> Iterator[str]:
        """The tokens that `chunk` completes."""
        if self._unknown is not None:
            self._unknown = (self._unknown + chunk)[:_LONGEST_UNKNOWN_BODY_BYTES]
        for event in self._decoder.feed(chunk):
            self._unknown = None
            token = _token(event, self._reader, self._who)
            if token:
                yield token

    def last_tokens(self) -> Iterator[str]:
        """What the end of the body reveals; raises unless the answer is complete now."""
        for event in self._decoder.finish():
            self._unknown = None
            # Cut off in the middle of an event is cut off, not unreadable.
            with suppress(UnreadableAnswerError):
                token = _token(event, self._reader, self._who)
                if token:
                    yield token
        if self._unknown and self._unknown.lstrip()[:1] == b"{":
            yield from self.whole(self._unknown)
        elif self._unknown and self._unknown.strip():
            raise UnreadableAnswerError(self._who, "something that is no event stream", self._unknown)
        elif not self._reader.may_end_here:
            raise TruncatedAnswerError(self._who, self._reader.end_mark, self._reader.hint)

    def whole(self, data: bytes) -> Iterator[str]:
        """The text of an answer that is one JSON body, as one token."""
        text = _whole(data, self._reader, self._who)
        if text:
            yield text


def _token(event: ServerSentEvent, reader: AnswerReader, who: str) -> str | None:
    try:
        return reader.event(event)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadableAnswerError(who, f"an event that makes no sense ({error})", event.data) from error


def _whole(data: bytes, reader: AnswerReader, who: str) -> str:
    try:
        return reader.body(from_json(data))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadableAnswerError(who, f"a body that makes no sense ({error})", data) from error


async def _read_to_the_end(chunks: AsyncIterator[bytes]) -> None:
    # The answer is complete: what happens to the connection from now on is no error of it.
    with suppress(TimeoutError, importlib.import_module("httpx2").TransportError):
        async with asyncio.timeout(_LONGEST_WAIT_FOR_END_OF_BODY_S):
            async for _ in chunks:
                continue
