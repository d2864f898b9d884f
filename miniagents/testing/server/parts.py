"""What an answer is made of: what the model says, and what happens in the middle of it. No provider's words."""

import asyncio
import concurrent.futures
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")


# ---------------------------------------------------------------------------------------------- what the model says


@dataclass(frozen=True)
class Tokens:
    """The same token `count` times, cheap to serve: for measuring. `per_write` of them leave in one piece."""

    count: int
    text: str = " token"
    per_write: int = 1


@dataclass(frozen=True)
class Thinking:
    """A piece of the model's reasoning; pieces in a row belong to one block, which a `signature` ends."""

    text: str
    signature: str | None = None


@dataclass(frozen=True)
class RedactedThinking:
    """Reasoning that the provider gives out encrypted (Anthropic, Bedrock, OpenAI Responses); others leave it out."""

    data: str = "encrypted"


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool.

    `arguments` are an object, or its JSON as text; both are sent in pieces of eight characters. A list of texts is sent
    in exactly these pieces, also if together they are no JSON. Without `id` the server numbers the calls.
    """

    name: str
    arguments: Mapping[str, Any] | str | Sequence[str] = ""
    id: str | None = None

    @property
    def pieces(self) -> list[str]:
        """The JSON of the arguments as it is sent."""
        if isinstance(self.arguments, Mapping):
            return _pieces(json.dumps(self.arguments, ensure_ascii=False))
        return _pieces(self.arguments) if isinstance(self.arguments, str) else list(self.arguments)

    @property
    def input(self) -> dict[str, Any]:
        """The arguments as an object.

        Raises:
            ValueError: the scripted arguments are no JSON, and this protocol can send only an object.
        """
        return json.loads("".join(self.pieces) or "{}")


@dataclass(frozen=True)
class Interleaved:
    """Parallel calls whose arguments arrive in turns, where the protocol has room for that (OpenAI's two)."""

    calls: Sequence[ToolCall]


@dataclass(frozen=True)
class Refusal:
    """The model declines, with these words. Where a protocol has no place for the words, they are its text."""

    text: str


@dataclass(frozen=True)
class Cited:
    """Text with a citation, as Anthropic sends it; elsewhere it is plain text."""

    text: str
    citation: Mapping[str, Any] = field(default_factory=dict[str, Any])


# ---------------------------------------------------------------------------------------------- time


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
        """Return when the server stands at this gate, or has passed it."""
        await done_in_any_thread(self._reached)

    async def pass_through(self) -> None:
        """Wait until the gate is open; the server's side."""
        if not self._reached.done():
            self._reached.set_result(None)
        await done_in_any_thread(self._opened)


@dataclass(frozen=True)
class Pause:
    """So many seconds of silence; for people at a terminal and for measuring. Tests should use a `Gate`."""

    seconds: float


@dataclass(frozen=True)
class Silence:
    """Nothing more comes, and the connection stays open: the client runs into its read timeout.

    As a whole reply it stands for a server that does not even send a status line.
    """


@dataclass(frozen=True)
class Endless:
    """A token that comes again and again, every `delay_s` seconds, until the client leaves."""

    text: str = " and"
    delay_s: float = 0.001


# ---------------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class ErrorInside:
    """An error after the status line said 200, in the provider's own form; the answer ends there.

    `type` is the provider's name of the error; without it the usual one for a server in trouble is taken. OpenAI's
    Responses know two forms: an `error` event, and `response.failed` (`form="failed"`).
    """

    type: str | None = None
    message: str = "The server had an error while processing your request"
    form: Literal["event", "failed"] = "event"


@dataclass(frozen=True)
class Cut:
    """The body ends in good order, but without the protocol's end mark."""


@dataclass(frozen=True)
class Drop:
    """The connection is closed in the middle of the body; as a whole reply, before the first byte."""


@dataclass(frozen=True)
class Reset:
    """Like `Drop`, but the connection is reset (`ECONNRESET`) instead of closed."""


@dataclass(frozen=True)
class Raw:
    """Bytes on the wire exactly as they are."""

    data: bytes


@dataclass(frozen=True)
class BadJSON:
    """An event whose data is no JSON."""

    data: str = '{"broken": '


@dataclass(frozen=True)
class KeepAlive:
    """A comment line, as servers send while the model is silent. Amazon's streams have none: nothing is sent."""

    text: str = "keep-alive"


@dataclass(frozen=True)
class Ping:
    """Anthropic's `ping` event; elsewhere a comment line."""


@dataclass(frozen=True)
class EmptyChoices:
    """A chunk without any choice, or candidate (chat completions, Gemini); elsewhere nothing is sent."""


@dataclass(frozen=True)
class UnknownEvent:
    """An event of a kind that clients of today have never seen."""

    name: str = "brand_new"


Said = str | Thinking | RedactedThinking | ToolCall | Interleaved | Refusal | Cited
Event = Raw | BadJSON | KeepAlive | Ping | EmptyChoices | UnknownEvent
Control = Gate | Pause | Silence | Drop | Reset
Part = Said | Tokens | Endless | Event | Control | ErrorInside | Cut


async def done_in_any_thread(future: concurrent.futures.Future[_T]) -> _T:
    """Return the result of a future that another thread sets; any number of loops may wait for it."""
    # Shielded: a waiter that is cancelled must not cancel the future under the others.
    return await asyncio.shield(asyncio.wrap_future(future))


def _pieces(text: str) -> list[str]:
    return [text[start : start + 8] for start in range(0, len(text), 8)]
