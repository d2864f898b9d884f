"""`DeadLetter`: the event that tells of another one that could not be handled."""

from miniagents.events.event import Event


class DeadLetter(Event):
    """An event that a handler failed on, or that was never delivered to it.

    It is an event of its flow, and routed like any other: `@bus.on(DeadLetter)`. One that comes from handling a dead
    letter is kept in `flow.errors` and not routed, so that nothing goes in a circle.
    """

    event: Event
    """What could not be handled; of a join the event that came last."""
    events: tuple[Event, ...] = ()
    """Of a join: all the events that it had, in the order of its classes. So they can be emitted again."""
    handler: str
    """The name of the handler that was to handle it."""
    error: BaseException
    """Why: the exception itself. Read from JSON it is a `RestoredError`."""
    attempt: int = 0
    """How often the handler was tried; 0 if it never began."""


__all__ = ["DeadLetter"]
