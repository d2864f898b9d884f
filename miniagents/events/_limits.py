"""The bounds of a bus."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much there may be of something on a bus, and what happens at its end.

    Attributes:
        max_concurrency: how many are in work at once.
        counts: what these are: running handlers, or events on which any number of handlers are at work.
        max_pending: how many deliveries may wait.
        max_hops: how many events away from the emitted one an event may be.
        max_dead_letters: how many of the last dead letters are kept.
        terminate_event: what a `TerminateEvent` ends.
    """

    max_concurrency: int
    counts: Literal["handlers", "events"]
    max_pending: int
    max_hops: int
    max_dead_letters: int
    terminate_event: Literal["closes_flow", "stops_bus"]


__all__ = ["Limits"]
