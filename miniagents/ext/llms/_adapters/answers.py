"""Reads the answer of a model from an HTTP response: a stream of events or one JSON body, whatever was sent.

The SDKs serve for authentication, retries before the first byte and the classes of their errors. The body is decoded
here, since building their objects costs 5 to 20 times as much as decoding itself.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast, runtime_checkable

from pydantic_core import from_json

from miniagents.ext.llms._adapters.sse import ServerSentEvent, SSEDecoder, event_of
from miniagents.ext.llms._adapters.token_template import TokenTemplate
from miniagents.ext.llms._common.faults import request_id_of, sdk_fault
from miniagents.ext.llms.errors import BadRequestError, IncompleteStreamError, LLMError, ProviderError
from miniagents.ext.llms.llm_messages import AssistantMessage
from miniagents.ext.llms.model_events import ModelEvent, TurnEnded

# For the end of the body after the protocol's own end mark, so that the connection can be used again.
_LONGEST_WAIT_FOR_END_OF_BODY_S: Final = 1.0
# Kept of a body that turns out to be no event stream, to see what it is instead.
_LONGEST_UNKNOWN_BODY_BYTES: Final = 65536
_SHOWN_CHARACTERS: Final = 200
# Of a reply, whatever a response calls by these names; so are the methods of a message.
_TAKEN_FIELDS: Final = frozenset({"content", "content_template", "class_", *AssistantMessage.model_fields})
# What a reader does with data of another form than its protocol's.
_DATA_ERRORS: Final = (ValueError, LookupError, TypeError, AttributeError)


class HTTPResponse(Protocol):
    """The part of `httpx2.Response` that is used."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers; names in any case."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether it was read to its end, or is not to be read any further."""
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

    def event(self, event: ServerSentEvent) -> Sequence[ModelEvent] | str | None:
        """Take in one event and return what it tells, a token of text by itself.

        Raises:
            ValueError: its data is not what the vendor sends; also LookupError, TypeError, AttributeError.
            LLMError: the event is an error.
        """
        ...

    def body(self, body: Any) -> Iterable[ModelEvent]:
        """Take in a whole answer, decoded, and return what it tells. Raises as `event` does."""
        ...

    def ended(self) -> TurnEnded:
        """The end of the answer that was taken in; asked for once, when it is complete."""
        ...


@runtime_checkable
class ReaderOfPlainTokens(Protocol):
    """A reader that need not see every token."""

    takes_plain_token: Callable[[str], object] | None
    """Set while the last event told a token and nothing else: of one that differs from it in the text alone, the text
    is given to this function, and the event to nobody. None where the next token may tell more."""


async def read_answer(
    opening: AbstractAsyncContextManager[RawResponse], reader: AnswerReader, *, who: str, provider: str, model: str
) -> AsyncIterator[ModelEvent]:
    """Enter `opening`, which sends the request, and yield what the answer tells, a `TurnEnded` at last.

    The response is closed when this generator is.

    Args:
        opening: gives the response, and closes it.
        reader: the vendor's.
        who: names agent and model in errors.
        provider: for errors.
        model: for errors.

    Raises:
        LLMError: the answer is broken, or is an error. What the SDK raises before the first byte passes.
    """
    async with opening as opened:
        response = opened.http_response
        body = _Body(reader, _Source(who, provider, model, request_id_of(response.headers)))
        try:
            content_type = response.headers.get("content-type", "")
            if content_type.startswith(("application/json", "text/html", "application/vnd.amazon.eventstream")):
                # Asked for or not: some servers and gateways do not stream, and report errors in this way.
                for event in body.unstreamed(content_type, await response.aread()):
                    yield event
            else:
                # Closed by hand: a generator that is dropped half-read is closed later, by a task that nobody owns.
                async with aclosing(response.aiter_bytes()) as chunks:
                    async for chunk in chunks:
                        for event in body.events(chunk):
                            yield event
                        if reader.is_complete:
                            await _read_to_the_end(response, chunks)
                            break
                if not reader.is_complete:
                    for event in body.last_events():
                        yield event
            yield body.turn_ended()
        except LLMError as error:
            if error.request_id is None:
                error.request_id = body.source.request_id
            raise
        except Exception as error:
            # What is below the SDKs throws its own while the body is read.
            fault = body.source.fault_of(error)
            if fault is None:
                raise
            raise fault from error


@dataclass(frozen=True, slots=True)
class _Source:
    """Who answers, for errors."""

    who: str
    provider: str
    model: str
    request_id: str | None

    def unreadable(self, what: str, data: bytes) -> ProviderError:
        text = data.decode(errors="replace")
        shown = text.strip()
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[:_SHOWN_CHARACTERS]}..."
        return ProviderError(
            f"{self.who} answered with {what} in place of an answer: {shown!r}. Is `base_url` right, and does the "
            "server speak this protocol?",
            provider=self.provider,
            model=self.model,
            request_id=self.request_id,
            raw_text=text,
        )

    def incomplete(self, end_mark: str, hint: str) -> IncompleteStreamError:
        return IncompleteStreamError(
            f"The answer of {self.who} ended without {end_mark}, so a part of it may be missing."
            + (f" {hint}" if hint else ""),
            provider=self.provider,
            model=self.model,
            request_id=self.request_id,
        )

    def fault_of(self, error: Exception) -> LLMError | None:
        fault = sdk_fault(self.who, error, provider=self.provider, model=self.model)
        if fault is not None:
            fault.request_id = self.request_id
        return fault


class _Body:
    """Takes in the body of one response."""

    def __init__(self, reader: AnswerReader, source: _Source) -> None:
        self.source = source
        self._reader = reader
        self._plain = reader if isinstance(reader, ReaderOfPlainTokens) else None
        self._decoder = SSEDecoder()
        self._template = TokenTemplate()
        # Kept until the first event, as it may be no event stream at all.
        self._unknown: bytes | None = b""

    # Generators, so that what stands before a broken event is out when it raises.
    def events(self, chunk: bytes) -> Iterator[ModelEvent]:
        """What the events that `chunk` completes tell."""
        if self._unknown is not None:
            self._unknown = (self._unknown + chunk)[:_LONGEST_UNKNOWN_BODY_BYTES]
        plain, text_of = self._plain, self._template.text_of
        for block in self._decoder.blocks(chunk):
            # This is paid once per token.
            if plain and (take := plain.takes_plain_token) is not None and (text := text_of(block)) is not None:
                take(text)
                yield text
            elif told := self._read(block):
                if type(told) is str:
                    yield told
                else:
                    yield from told

    def _read(self, block: bytes) -> Sequence[ModelEvent] | str | None:
        event = event_of(block)
        if event is None:
            return None
        self._unknown = None
        try:
            told = self._reader.event(event)
        except _DATA_ERRORS as error:
            # Some errors of ours are also ValueErrors and the like: they are what the provider reported.
            if isinstance(error, LLMError):
                raise
            raise self.source.unreadable(f"an event that makes no sense ({error})", event.data) from error
        if self._plain is not None and self._plain.takes_plain_token is not None and type(told) is str:
            self._template.learn(block, told)
        return told

    def last_events(self) -> Iterator[ModelEvent]:
        """What the end of the body reveals; raises unless the answer is complete now."""
        for event in self._decoder.finish():
            self._unknown = None
            try:
                told = self._reader.event(event)
            except _DATA_ERRORS as error:
                if isinstance(error, LLMError):
                    raise
                # Cut off in the middle of an event is cut off, not unreadable.
                continue
            if told:
                yield from [told] if isinstance(told, str) else told
        unknown = (self._unknown or b"").strip()
        if unknown.startswith(b"{"):
            yield from self._whole(unknown)
        elif unknown:
            raise self.source.unreadable("something that is no event stream", unknown)
        elif not self._reader.may_end_here:
            raise self.source.incomplete(self._reader.end_mark, self._reader.hint)

    def unstreamed(self, content_type: str, data: bytes) -> Iterable[ModelEvent]:
        """What a body that is no event stream tells."""
        if content_type.startswith("text/html"):
            raise self.source.unreadable("a web page", data)
        if content_type.startswith("application/json"):
            return self._whole(data)
        # Of Claude on Bedrock, with clients that do not decode it; sending the same again would not help.
        raise BadRequestError(
            f"{self.source.who} answered with Amazon's binary event stream, for which `stream=False` is needed.",
            provider=self.source.provider,
            model=self.source.model,
        )

    def turn_ended(self) -> TurnEnded:
        """The end of a complete answer."""
        ended = self._reader.ended()
        return replace(
            ended,
            request_id=ended.request_id or self.source.request_id,
            raw_usage=None if ended.raw_usage is None else _storable(ended.raw_usage),
            fields=_reply_fields(ended.fields),
        )

    def _whole(self, data: bytes) -> list[ModelEvent]:
        try:
            return list(self._reader.body(from_json(data)))
        except _DATA_ERRORS as error:
            if isinstance(error, LLMError):
                raise
            raise self.source.unreadable(f"a body that makes no sense ({error})", data) from error


def _reply_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _storable(value)
        for name, value in fields.items()
        if name not in _TAKEN_FIELDS and not hasattr(AssistantMessage, name)
    }


def _storable(value: Any) -> Any:
    # Some servers send `-Infinity` as a log probability; a message holds what JSON can hold.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _storable(item) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[Any]", value)]
    return value


async def _read_to_the_end(response: HTTPResponse, chunks: AsyncIterator[bytes]) -> None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    cancelled_before = task.cancelling()
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        # A closed one has been read. Its connection goes back to the pool, which closes others that nobody needs any
        # more: what a cancellation kept it from closing would stay open for ever.
        if not response.is_closed:
            is_late = True
            task.cancel()

    timer = loop.call_later(_LONGEST_WAIT_FOR_END_OF_BODY_S, give_up)
    try:
        # The answer is complete: what happens to the connection from now on is no error of it.
        with suppress(Exception):
            async for _ in chunks:
                continue
    except asyncio.CancelledError:
        # Somebody else's counts, also where it comes on top of ours.
        if not is_late or task.cancelling() > cancelled_before + 1:
            raise
    finally:
        timer.cancel()
        if is_late:
            task.uncancel()
