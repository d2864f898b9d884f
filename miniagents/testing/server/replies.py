"""The replies that a script is made of: an `Answer` of the model, or something that only a server can say."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from miniagents.testing.server.parts import Cited, Drop, Gate, Part, Refusal, Reset, Silence
from miniagents.testing.server.recording import RecordedRequest


@dataclass(frozen=True)
class Usage:
    """What an answer is said to have cost, in tokens; each protocol reports it under its own names.

    `input_tokens` are all of the prompt, the cached ones included; `output_tokens` include the reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model answers, in parts; it is told in whichever protocol the request came.

    A `str` part is one token; a plain string instead of the list of parts is split into words.

    Args:
        parts: see `parts.py`: texts, `Thinking`, `ToolCall`, `Gate`, `Drop` and others.
        finish: why the model stopped: `"stop"`, `"length"`, `"tool_calls"`, `"refusal"`, `"content_filter"`,
            `"stop_sequence"`, `"pause"`, `"context_window"`; any other text is sent as it is. `"auto"` finds it in the
            parts; with `None` the reason is never told.
        usage: a `Usage`, a mapping that replaces fields of what is counted (in the provider's words), or `None` to
            report none.
        fields: added to the top level of the response, or of each chunk (of the first event, where there are several).
        logprobs: one entry per text token, sent as it is by OpenAI's chat completions.
        delay_s: seconds between two pieces of a stream.
        wire: `"json"` sends one JSON body even where a stream was asked for, `"sse"` the other way round.
        content_type: replaces the header of that name.
        end_mark: `False` leaves out what ends the stream: `[DONE]`, `message_stop`, `response.completed`.
        crlf: lines of the stream end as on Windows.
        chunk_bytes: the body leaves in chunks of so many bytes, wherever that splits a line or a character.
    """

    parts: str | Sequence[Part] = field(kw_only=False)
    finish: str | None = "auto"
    usage: Usage | Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    logprobs: Sequence[Mapping[str, Any]] = ()
    delay_s: float = 0.0
    wire: Literal["json", "sse"] | None = None
    content_type: str | None = None
    end_mark: bool = True
    crlf: bool = False
    chunk_bytes: int | None = None

    @property
    def all_parts(self) -> list[Part]:
        """The parts, a plain text split into words."""
        return list(words(self.parts)) if isinstance(self.parts, str) else list(self.parts)

    @property
    def gates(self) -> list[Gate]:
        """The gates among the parts."""
        return [] if isinstance(self.parts, str) else [part for part in self.parts if isinstance(part, Gate)]


@dataclass(frozen=True)
class Failure:
    """An HTTP error, with the body and the headers that the provider of the protocol sends with this status.

    Args:
        status: 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 504, 529 and any other.
        message: what the body says.
        type: the provider's kind of error; if not given, the one that belongs to the status.
        code: OpenAI's code; if not given, the one that belongs to the status.
        param: the parameter that OpenAI names.
        headers: sent along.
        retry_after_s: when to come again: `retry-after` in whole seconds, else `retry-after-ms`; Google says it in the
            body.
    """

    status: int
    message: str = "scripted failure"
    type: str | None = None
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_after_s: float | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers, and when to come again."""
        if self.retry_after_s is None:
            return dict(self.headers)
        if float(self.retry_after_s).is_integer():
            return {"retry-after": str(int(self.retry_after_s)), **self.headers}
        return {"retry-after-ms": str(round(self.retry_after_s * 1000)), **self.headers}


@dataclass(frozen=True)
class Body:
    """A response that is none of the protocol's: any status, type and bytes. By default an empty body."""

    data: bytes = b""
    content_type: str = "text/html"
    status: int = 200


HTML_PAGE = Body(b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>", "text/html; charset=utf-8")
"""What a proxy or a hotel's network answers instead of the model."""

PlainReply = str | Answer | Failure | Body | Silence | Drop | Reset
Reply = PlainReply | Callable[[RecordedRequest], PlainReply | Awaitable[PlainReply]]


def words(text: str) -> list[str]:
    """Split as models do, roughly: each word with the white space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def text_of(part: Part) -> str:
    """The words that a part says to the user, if any."""
    if isinstance(part, str):
        return part
    return part.text if isinstance(part, Refusal | Cited) else ""


def echo(request: RecordedRequest) -> Answer:
    """What the server says when nothing was scripted.

    It echoes, so that a person sees that the whole dialog arrives; "count to N" counts, as something long to interrupt.
    """
    last = request.last_user_text
    count = re.fullmatch(r"\s*count to (\d+)\W*", last, re.IGNORECASE)
    if count:
        return Answer(" ".join(str(number) for number in range(1, int(count[1]) + 1)))
    return Answer(f'You said "{last}" (I am {request.model}, this was message {len(request.dialog)})')
