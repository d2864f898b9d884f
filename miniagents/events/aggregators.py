"""`AsyncAggregatorAgent` and `BaseAggregatingAgent`: agents that wait for several events and handle them together."""

from collections.abc import Sequence
from typing import Any

from miniagents.events._collector import Collector, needed_types
from miniagents.events._options import seconds
from miniagents.events.agents import BaseAgent, BaseAsyncAgent
from miniagents.events.event import Event


class _Aggregator:
    """What both kinds are made with."""

    def __init__(
        self, event_types_needed: Sequence[type[Event]] | None = None, *, timeout: float | None = None
    ) -> None:
        name = type(self).__name__
        limit_s = None if timeout is None else seconds(timeout, "timeout", name)
        self.collected = Collector(needed_types(event_types_needed, name), limit_s)
        """What it has (for this package)."""


class AsyncAggregatorAgent(_Aggregator, BaseAsyncAgent):
    """Collects one event of each class, by correlation id, and handles them together: override `process_events`.

    A subclass counts as its base; of several events of a class the first counts; other events are passed over. What
    comes when a set was complete begins another one. A set that stays incomplete becomes a dead letter that says what
    is missing: when its `timeout` is over; when its flow has ended, if the bus made the correlation id; and when the
    dispatcher stops. If `process_events` fails, the set stays, without the event that made it complete: dispatch that
    again (it is the `event` of the dead letter) to try again.

    Args:
        event_types_needed: the classes.
        timeout: how many seconds a set may take from its first event on, under a dispatcher; None: any time.

    Raises:
        RegistrationError: there are no classes, or one of them is none.
    """

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        """Take `event`; give what `process_events` makes of the set if it is complete."""
        with self.collected.set_with(event) as events:
            return [] if events is None else await self.process_events(events)

    async def process_events(self, events: list[Any]) -> Sequence[Event] | Event | None:
        """Handle a complete set, one event of each class in the order of `event_types_needed`; give what follows."""
        raise NotImplementedError(f"`{type(self).__name__}` needs a method `async def process_events(self, events)`.")

    async def wait_for_events(self, correlation_id: str, timeout: float | None = None) -> list[Event]:
        """Wait until the set of this correlation id is complete, and give it; at once if it was complete already.

        May be called again, before and after that, from any number of places; the last thousand complete sets are
        kept for it. `dispatch(event).id` is the correlation id of an event that was given none.

        Raises:
            TimeoutError: it took longer than `timeout` seconds; it names what is missing.
            JoinIncompleteError: the set was given up.
            BusStoppedError: the dispatcher was stopped.
            DeadlockError: the agent waits for itself.
        """
        return await self.collected.wait(self, correlation_id, timeout)


class BaseAggregatingAgent(_Aggregator, BaseAgent):
    """As `AsyncAggregatorAgent`, and made as that is, with a plain `process_events` that may block."""

    def receive_event(self, event: Event) -> Sequence[Event] | Event | None:
        """Take `event`; give what `process_events` makes of the set if it is complete."""
        with self.collected.set_with(event) as events:
            return [] if events is None else self.process_events(events)

    def process_events(self, events: list[Any]) -> Sequence[Event] | Event | None:
        """Handle a complete set, one event of each class in the order of `event_types_needed`; give what follows."""
        raise NotImplementedError(f"`{type(self).__name__}` needs a method `def process_events(self, events)`.")


__all__ = ["AsyncAggregatorAgent", "BaseAggregatingAgent"]
