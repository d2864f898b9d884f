"""`BusStats`: the counts of a bus at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BusStats:
    """The counts of a bus at one moment. What is counted are deliveries: one event for one handler, or one full join.

    At every moment `received == pending + running + handled + dead`; when the bus has stopped,
    `received == handled + dead`.

    Attributes:
        received: how many deliveries there were so far; an event that two handlers take makes two.
        pending: how many of them wait for their turn.
        running: how many are in work, those between two attempts included.
        handled: how many ended well.
        dead: how many failed or were never delivered; each has a `DeadLetter`. So has a join that stayed incomplete.
        unrouted: how many events no handler took; they are in none of the other counts.
        oldest_age_s: for how many seconds the oldest of the pending ones has been waiting; 0.0 if there is none.
    """

    received: int
    pending: int
    running: int
    handled: int
    dead: int
    unrouted: int
    oldest_age_s: float


__all__ = ["BusStats"]
