"""The errors of the event bus, below the one root `MiniAgentsError`.

MiniAgentsError
+-- EventError                  the root of what goes wrong with events
    +-- QueueFullError          `emit` while `max_pending` deliveries wait
    +-- BusStoppedError         an event for a bus that takes none any more; in the dead letters of what was left over
    +-- FlowClosedError         an event of a flow that was closed; it is not delivered
    +-- FlowFailedError         `ask` found no event of the wanted type: what failed is in `dead_letters`
    +-- AskTimeoutError         `ask` took longer than its `timeout` (a `TimeoutError`)
    +-- JoinIncompleteError     a join did not get all that it waits for
    +-- HandlerTimeoutError     a handler took longer than its `timeout` (a `TimeoutError`)
    +-- TooManyHopsError        a chain of events is longer than `max_hops`
    +-- RegistrationError       what was given to `on`, `join` or `off` cannot be that (a `TypeError`)
    +-- UnresolvedEventError    a field is a promise that is still pending, where its content is needed (a `ValueError`)
    +-- RestoredError           stands for an error that was read from JSON
"""

from collections.abc import Sequence
from typing import Any

from miniagents.errors import MiniAgentsError
from miniagents.promising._reporting import one_line


class EventError(MiniAgentsError):
    """The root of what goes wrong with events."""


class QueueFullError(EventError):
    """There are as many deliveries waiting as the bus may have."""

    def __init__(self, max_pending: int) -> None:
        super().__init__(
            f"The bus cannot take this event: `max_pending={max_pending}` deliveries are waiting already. Write "
            "`await bus.publish(event)`, which waits for room, or give the bus a larger `max_pending`."
        )


class BusStoppedError(EventError, RuntimeError):
    """The bus takes no events any more, or delivers those no more that it has."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(
            text
            or "The bus takes no events: it is stopped, or was never entered. Emit inside its `async with` block and "
            "before `stop()`."
        )

    @classmethod
    def of_context(cls) -> "BusStoppedError":
        """Give the error of a bus that is open while its context is not."""
        return cls(
            "The bus takes no events: the `MiniAgents` context that it was entered in has ended. Leave the block of "
            "the bus before that of the context."
        )

    @classmethod
    def of_leftover(cls) -> "BusStoppedError":
        """Give the error of what was in a bus when that stopped."""
        return cls(
            "The bus was stopped before this was done. To let it finish, stop with `drain=True` and a longer "
            "`timeout`, or give the bus a longer `drain_timeout_s`."
        )


class FlowClosedError(EventError):
    """The flow was closed, or cancelled, before this delivery was made."""

    def __init__(self) -> None:
        super().__init__("This event was not delivered: its flow was closed, or cancelled, before its turn came.")


class FlowFailedError(EventError):
    """A flow ended without the event that it was asked for.

    Attributes:
        dead_letters: what failed on the way, a tuple of `DeadLetter`.
    """

    def __init__(self, wanted: type[Any], dead_letters: Sequence[Any]) -> None:
        if dead_letters:
            listed = "; ".join(_failed_line(letter) for letter in dead_letters[:5])
            more = f"; and {len(dead_letters) - 5} more" if len(dead_letters) > 5 else ""
            reason = f"What failed: {listed}{more}."
        else:
            reason = f"Nothing failed. Does a handler reply with `{wanted.__name__}`, and do its conditions hold?"
        super().__init__(f"The flow ended without an event of the type `{wanted.__name__}`. {reason}")
        self.dead_letters = tuple(dead_letters)


class AskTimeoutError(EventError, TimeoutError):
    """The event that was asked for did not come in time.

    Attributes:
        dead_letters: what failed until then, a tuple of `DeadLetter`.
    """

    def __init__(self, wanted: type[Any], timeout_s: float, dead_letters: Sequence[Any]) -> None:
        failed = "; ".join(_failed_line(letter) for letter in dead_letters[:5])
        super().__init__(
            f"No event of the type `{wanted.__name__}` came within {timeout_s:g} s. "
            + (f"What failed until then: {failed}." if failed else "Nothing failed until then.")
        )
        self.dead_letters = tuple(dead_letters)


class JoinIncompleteError(EventError):
    """A join did not get all that it waits for.

    Attributes:
        have: the events that were there.
        missing: the types of those that were not, one for each event.
    """

    def __init__(self, name: str, have: Sequence[Any], missing: Sequence[type[Any]], reason: str) -> None:
        there = ", ".join(f"`{type(event).__name__}`" for event in have)
        lacking = ", ".join(f"`{kind.__name__}`" for kind in missing)
        super().__init__(f"The join `{name}` is incomplete: {reason}. It got {there} and misses {lacking}.")
        self.have = tuple(have)
        self.missing = tuple(missing)


class HandlerTimeoutError(EventError, TimeoutError):
    """A handler took longer than its `timeout`."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(
            f"The handler `{name}` was stopped: it took longer than its `timeout` of {timeout_s:g} s. Register it with "
            "a longer one if that is to be expected."
        )


class TooManyHopsError(EventError):
    """A chain of events, each the cause of the next, is longer than it may be."""

    def __init__(self, max_hops: int) -> None:
        super().__init__(
            f"This event was not delivered: it is more than `max_hops={max_hops}` events away from the one that was "
            "emitted. Handlers that reply with each other's events go in a circle; break it with `when=`, or give the "
            "bus a larger `max_hops` if the chain is meant to be that long."
        )


class RegistrationError(EventError, TypeError):
    """A handler, or what it is to handle, cannot be that."""


class UnresolvedEventError(EventError, ValueError):
    """The content of an event is needed, and a field of it is a promise that is still pending."""

    def __init__(self, event_type: str, field: str) -> None:
        super().__init__(
            f"`{field}` of this `{event_type}` is a promise that is still pending, so the event has no JSON and no "
            f"hash yet. Resolve it first: `event = await event.resolved()`."
        )


class RestoredError(EventError):
    """Stands for an error that was read from JSON, where its class is not known for certain.

    Attributes:
        error_type: the name of the class that it had.
        text: its text.
    """

    def __init__(self, error_type: str, text: str) -> None:
        super().__init__(f"{error_type}: {text}" if text else error_type)
        self.error_type = error_type
        self.text = text


def _failed_line(letter: Any) -> str:
    return f"`{letter.handler}` on `{type(letter.event).__name__}` with {one_line(letter.error).rstrip('.')}"


__all__ = [
    "AskTimeoutError",
    "BusStoppedError",
    "EventError",
    "FlowClosedError",
    "FlowFailedError",
    "HandlerTimeoutError",
    "JoinIncompleteError",
    "QueueFullError",
    "RegistrationError",
    "RestoredError",
    "TooManyHopsError",
    "UnresolvedEventError",
]
