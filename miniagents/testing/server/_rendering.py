"""How an answer becomes the bytes of a protocol: what the protocols have in common."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast

from miniagents.testing.server.parts import (
    BadJSON,
    Control,
    Cut,
    Endless,
    ErrorInside,
    Event,
    Interleaved,
    Pause,
    Raw,
    Refusal,
    Said,
    Tokens,
    ToolCall,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Failure, Usage, text_of, words

JSON = dict[str, Any]

# What stands for the text in a rendered token until the text is known; escaped by JSON, hence found again.
_PLACEHOLDER = "\x01"


class Rendering(ABC):
    """One answer to one request, in one protocol. Made anew for every answer: it may count and remember."""

    reasons: ClassVar[Mapping[str, str]]
    """The protocol's words for the reasons for which an answer ends."""

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        self.request = request
        self.answer = answer
        self.number = number
        self._call_count = 0

    # ------------------------------------------------------------------------------------------ for the server

    def stream(self) -> Iterator[bytes | Control]:
        """The body of a streamed answer, piece by piece; gates, pauses and drops are left to the server."""
        yield from self.start()
        for part in self.answer.all_parts:
            if isinstance(part, str):
                yield from self.render(part)
            elif isinstance(part, Cut):
                return
            elif isinstance(part, ErrorInside):
                yield self.error(part)
                return
            elif isinstance(part, Tokens):
                yield from self._tokens(part)
            elif isinstance(part, Endless):
                while True:
                    yield from self.render(part.text)
                    yield Pause(part.delay_s)
            elif isinstance(part, Control):
                yield part
            elif isinstance(part, Event):
                yield self.event_of(part)
            else:
                yield from self.render(part)
        yield from self.end()

    def _tokens(self, tokens: Tokens) -> Iterator[bytes]:
        rest = tokens.count
        while rest > 0:
            lot = min(rest, tokens.per_write)
            yield b"".join(piece for _ in range(lot) for piece in self.render(tokens.text))
            rest -= lot

    # ------------------------------------------------------------------------------------------ of the protocol

    def start(self) -> list[bytes]:
        """What comes before the first part."""
        return []

    @abstractmethod
    def render(self, part: Said) -> list[bytes]:
        """What the model says, as events."""

    @abstractmethod
    def end(self) -> list[bytes]:
        """What comes after the last part: the reason, the usage, the end mark."""

    @abstractmethod
    def error(self, error: ErrorInside) -> bytes:
        """An error inside the stream."""

    @abstractmethod
    def event_of(self, part: Event) -> bytes:
        """An event that says nothing, or nothing that can be understood."""

    @abstractmethod
    def whole(self) -> JSON:
        """The JSON body of an answer that is not streamed."""

    # ------------------------------------------------------------------------------------------ shared

    def finish_reason(self) -> str | None:
        """Why the answer ends, in the protocol's word; `None` if the script wants that untold."""
        reason = self.neutral_finish()
        return None if reason is None else self.reasons.get(reason, reason)

    def neutral_finish(self) -> str | None:
        """Why the answer ends, in the script's word."""
        if self.answer.finish != "auto":
            return self.answer.finish
        parts = self.answer.all_parts
        if any(isinstance(part, ToolCall | Interleaved) for part in parts):
            return "tool_calls"
        return "refusal" if any(isinstance(part, Refusal) for part in parts) else "stop"

    def usage(self) -> Usage:
        """What the script says of the usage, else what can be counted."""
        if isinstance(self.answer.usage, Usage):
            return self.answer.usage
        parts = self.answer.all_parts
        output = sum(part.count if isinstance(part, Tokens) else bool(text_of(part)) for part in parts)
        return Usage(input_tokens=prompt_tokens(self.request), output_tokens=output)

    def usage_fields(self) -> Mapping[str, Any]:
        """Fields of the usage that the script gives in the provider's words."""
        usage = self.answer.usage
        return {} if usage is None or isinstance(usage, Usage) else usage

    def call_id(self, call: ToolCall, prefix: str) -> str:
        """The id of a call: its own, else a new one."""
        self._call_count += 1
        return call.id or f"{prefix}{self.number}_{self._call_count}"

    def error_in_parts(self) -> ErrorInside | None:
        """The error that a whole answer consists of, if the script has one."""
        return next((part for part in self.answer.all_parts if isinstance(part, ErrorInside)), None)

    def said(self) -> Iterator[Said]:
        """What the model says, without what happens on the wire; calls one by one."""
        for part in self.answer.all_parts:
            if isinstance(part, Tokens):
                yield part.text * part.count
            elif isinstance(part, Interleaved):
                yield from part.calls
            elif isinstance(part, Said):
                yield part


class Template:
    """An event that is rendered once and then filled with one text after another."""

    def __init__(self, event: bytes) -> None:
        self._before, self._after = event.split(dumps(_PLACEHOLDER))

    placeholder = _PLACEHOLDER

    def fill(self, text: str) -> bytes:
        """Return the event with this text."""
        return self._before + dumps(text) + self._after


def dumps(data: object) -> bytes:
    """Return JSON as providers send it: compact, and without ASCII escapes, so that U+2028 arrives as it is."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def sse(data: object, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    line = b"data: " + dumps(data) + b"\n\n"
    return line if name is None else b"event: " + name.encode() + b"\n" + line


def sse_comment(text: str) -> bytes:
    """Return a comment line, as servers send to keep the connection open."""
    return b": " + text.encode() + b"\n\n"


def sse_bad(part: BadJSON | Raw, name: str | None = None) -> bytes:
    """Return an event that cannot be parsed."""
    if isinstance(part, Raw):
        return part.data
    start = b"" if name is None else b"event: " + name.encode() + b"\n"
    return start + b"data: " + part.data.encode() + b"\n\n"


class Protocol(ABC):
    """One provider's protocol: how its requests are read, and refused, and who renders the answers."""

    name: ClassVar[str]
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    json_type: ClassVar[str] = "application/json"
    rendering: ClassVar[type[Rendering]]

    @abstractmethod
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        """`(role, text)` of every message."""

    @abstractmethod
    def error_body(self, failure: Failure) -> JSON:
        """The body of an HTTP error."""

    def error_headers(self, failure: Failure) -> dict[str, str]:
        """The headers of an HTTP error."""
        return failure.all_headers

    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        """What the real server would refuse about this request, if anything."""
        del request
        return None

    def count(self, request: RecordedRequest) -> JSON:
        """The answer to a request that only counts the tokens of a prompt."""
        return {"input_tokens": prompt_tokens(request)}


def prompt_tokens(request: RecordedRequest) -> int:
    """What the server counts as the tokens of a prompt: its words."""
    return sum(len(words(text)) for _, text in request.dialog)


def objects_in(body: JSON, name: str) -> list[JSON]:
    """The objects in a list of the body; what is none is left out."""
    value = body.get(name)
    items: list[Any] = cast(list[Any], value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def dialog_of(body: JSON, messages: str, content: str) -> list[tuple[str, str]]:
    """`(role, text)` of every message, by the names that the protocol gives to the list and to the content."""
    return [(str(one.get("role") or ""), plain_text(one.get(content))) for one in objects_in(body, messages)]


def plain_text(content: Any) -> str:
    """The text of a message's content, in any of the protocols: a text, or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = cast(list[Any], content) if isinstance(content, list) else []
    return "".join(block if isinstance(block, str) else str(block.get("text") or "") for block in blocks)
