"""`BaseAsyncAgent` and `BaseAgent`: agents that a dispatcher hands events to, and that return events.

Any object with their one method is such an agent; to derive from these is a matter of types.
"""

from collections.abc import Sequence
from typing import ClassVar

from miniagents.events.event import Event


class BaseAsyncAgent:
    """An agent that handles events in a coroutine: override `receive_event_async`."""

    concurrent_events: ClassVar[int | None] = 1
    """How many events one object of the class may have in work at once; None: any number."""

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        """Handle `event`; give the events that follow from it: a list, one event, or None.

        What is returned need bear no stamps: the dispatcher puts the ids and the source on the copies that it delivers.
        An exception becomes a dead letter.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` needs a method `async def receive_event_async(self, event)`."
        )


class BaseAgent:
    """An agent that handles events in a plain function, which may block: override `receive_event`.

    Dispatchers call it in a thread of its own, so that it keeps nothing else waiting.
    """

    concurrent_events: ClassVar[int | None] = 1
    """How many events one object of the class may have in work at once; None: any number."""

    def receive_event(self, event: Event) -> Sequence[Event] | Event | None:
        """Handle `event`; give the events that follow from it, as `BaseAsyncAgent.receive_event_async` does."""
        raise NotImplementedError(f"`{type(self).__name__}` needs a method `def receive_event(self, event)`.")


__all__ = ["BaseAgent", "BaseAsyncAgent"]
