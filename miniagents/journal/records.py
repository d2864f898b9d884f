"""What the journal tells about runs, calls, questions and messages: plain values, read once, never changed after."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import UsageTotals

RunState = Literal["running", "finished", "failed", "interrupted"]
"""`interrupted`: the process ended, or let go of the run, before the run did. A process that was killed leaves its run
as `running`; it can be resumed all the same."""
EndState = Literal["finished", "failed", "interrupted"]
"""How a run has ended."""
CallState = Literal["started", "finished", "failed"]
"""`started`: no result was recorded; the call is going on, or was cut off."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """What a call failed with, as text."""

    type: str
    """The name of the exception's class, with its module."""
    text: str
    traceback: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a program."""

    run_id: str
    state: RunState
    started_at: datetime
    """When it began for the first time; in UTC, as all times here."""
    ended_at: datetime | None
    calls: int
    """How many calls of agents are recorded."""
    usage: UsageTotals
    """What its calls have used, added up."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of an agent."""

    run_id: str
    key: str
    """What the call is named by, unique in its run."""
    parent: str | None
    """The key of the call that made it; None for the outermost ones."""
    agent: str
    version: str
    settings: str | None
    """The hash of its settings."""
    state: CallState
    attempts: int
    """How many times it was started."""
    started_at: datetime
    ended_at: datetime | None
    usage: UsageTotals | None
    """What the call itself has used, without the calls that it made; None if nothing was said of that."""
    error: CallFailure | None
    inputs: tuple[str, ...] | None
    """The hashes of the messages that it was called with; None if they were not complete, or not stored."""
    replies: tuple[str, ...]
    """The hashes of the messages that it replied with, so far as they are recorded."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a person was asked."""

    run_id: str
    key: str
    text: str
    asked_at: datetime
    answer: Any = None
    """None until it is answered."""
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it is stored: no class of it is needed to look at it, and what is inside it is not loaded."""

    hash: str
    class_name: str
    body: dict[str, Any]
    """Its fields as JSON has them; nested messages are there as `<field>__hash_key` or `<field>__hash_keys`."""
    references: tuple[str, ...]
    """The hashes of the messages directly inside it."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """One message that a call replied with, and the tokens that it came in."""

    message: Message
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """The answer of a call, whole."""

    run_id: str
    key: str
    ended_at: datetime
    usage: UsageTotals | None
    replies: tuple[StoredReply, ...]


@dataclass(frozen=True, slots=True)
class FailedCall(FinishedCall):
    """The answer of a call that failed, from a cassette: its replies come first, and then the error is raised."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was removed."""

    runs: int
    calls: int
    messages: int


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call that begins: what is to be recorded of it."""

    key: str
    parent: str | None
    agent: str
    version: str = ""
    settings: Frozen | None = None
    inputs: tuple[Message, ...] | None = None
    """All messages that it is called with, in order; None if they are not known yet."""
