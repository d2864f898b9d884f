"""What a test tells the protocol server to answer: text, and what happens in the middle of it."""

import asyncio
import concurrent.futures
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class Gate:
    """A place in an answer at which the server waits until the test opens it. Both sides may wait, on any loop.

    `await gate.reached()` returns when everything that stands before the gate was sent.
    """

    def __init__(self) -> None:
        self._reached: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()

    def open(self) -> None:
        """Let the server go on; a second call does nothing."""
        if not self._opened.done():
            self._opened.set_result(None)

    async def reached(self) -> None:
        await _done_in_any_thread(self._reached)

    async def pass_through(self) -> None:
        """The server's side."""
        if not self._reached.done():
            self._reached.set_result(None)
        await _done_in_any_thread(self._opened)


async def _done_in_any_thread(future: concurrent.futures.Future[Any]) -> Any:
    # Shielded: a waiter that is cancelled must not cancel the future under the others.
    return await asyncio.shield(asyncio.wrap_future(future))


@dataclass(frozen=True)
class Thinking:
    """A piece of the model's reasoning; pieces in a row belong to one block, `signature` ends it (Anthropic)."""

    text: str
    signature: str | None = None


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool, its arguments sent in the given pieces of JSON."""

    id: str
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Raw:
    """Bytes on the wire exactly as they are, for example a comment `b": keep-alive\\n\\n"` or an unknown event."""

    data: bytes


@dataclass(frozen=True)
class ErrorInside:
    """An error after the status line said 200; the answer ends there."""

    type: str = "server_error"
    message: str = "The server had an error while processing your request"


@dataclass(frozen=True)
class Cut:
    """The body ends in good order, but without the protocol's end mark."""


@dataclass(frozen=True)
class Drop:
    """The connection breaks in the middle of the body."""


@dataclass(frozen=True)
class Pause:
    """So many seconds of silence; for people at a terminal, not for tests."""

    seconds: float


Step = str | Gate | Thinking | ToolCall | Raw | ErrorInside | Cut | Drop | Pause


@dataclass(frozen=True)
class Answer:
    """An answer in steps. A `str` step is one token; a plain string for `steps` is split into words.

    `stop` is the protocol's reason for the end (`None`: the usual one). `usage` replaces fields of the usage that is
    reported; `usage=None` reports none. `fields` go to the top level of the response (of the first chunk or event).
    `wire="json"` answers with one JSON body even where a stream was asked for, `wire="sse"` the other way round.
    `content_type` replaces the header of that name. `finish=False` leaves out what tells why the answer ended,
    `done=False` the `[DONE]` of OpenAI's stream.
    """

    steps: str | Sequence[Step]
    stop: str | None = None
    usage: dict[str, Any] | None = field(default_factory=dict[str, Any])
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    wire: str | None = None
    content_type: str | None = None
    finish: bool = True
    done: bool = True

    @property
    def all_steps(self) -> list[Step]:
        return list(words(self.steps)) if isinstance(self.steps, str) else list(self.steps)

    @property
    def text(self) -> str:
        return "".join(step for step in self.all_steps if isinstance(step, str))


@dataclass(frozen=True)
class Failure:
    """An HTTP error in the vendor's own form."""

    status: int
    message: str = "scripted failure"
    type: str = "scripted_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Body:
    """A response that is neither: any status, type and bytes."""

    data: bytes
    content_type: str = "text/html"
    status: int = 200


Reply = str | Answer | Failure | Body


def words(text: str) -> list[str]:
    """Split as models do, roughly: each word with the white space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def default_text(last_user_text: str, *, model: str, message_count: int) -> str:
    """What the server says when nothing was scripted.

    It echoes, so that a person sees that the whole dialog arrives; "count to N" counts, as something long to interrupt.
    """
    count = re.fullmatch(r"\s*count to (\d+)\W*", last_user_text, re.IGNORECASE)
    if count:
        return " ".join(str(number) for number in range(1, int(count[1]) + 1))
    return f'You said "{last_user_text}" (I am {model}, this was message {message_count})'
