"""`TerminateEvent`: the event that ends what it is part of."""

from miniagents.events.event import Event


class TerminateEvent(Event):
    """Ends what it is part of; a subclass does so as well.

    On an `EventBus` it closes its flow, on a dispatcher it stops the dispatcher: what runs is let finish, what waits
    becomes dead letters. Handlers of the event itself still get it.
    """


__all__ = ["TerminateEvent"]
