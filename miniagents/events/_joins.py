"""One round of a join: the events that it has so far. It lives in the flow, and is gone when the flow has ended."""

import asyncio
from collections.abc import Iterator
from typing import Any

from miniagents.events._subscriptions import JoinRule, Subscription
from miniagents.events._variables import Variables
from miniagents.events.event import Event


class Round:
    """What one join has in one flow, from the first event of a round until it fires or is given up."""

    __slots__ = ("_events", "_rule", "hops", "last", "subscription", "timer", "variables")

    def __init__(self, subscription: Subscription, rule: JoinRule) -> None:
        self.subscription = subscription
        self._rule = rule
        self._events: list[list[Event]] = [[] for _ in rule.types]
        self.hops = 0
        """How far from the first event of the flow the furthest of them is."""
        self.last: Event | None = None
        """The event that came last."""
        self.variables: Variables | None = None
        """The context variables of the place that emitted that."""
        self.timer: asyncio.TimerHandle | None = None

    def take(self, event: Event, hops: int, variables: Variables) -> bool:
        """Add `event`; whether it was wanted, and not one too many."""
        rule = self._rule
        fits = [index for index, kind in enumerate(rule.types) if isinstance(event, kind)]
        # Rather where it is the very class, and where something is missing.
        exact = [index for index in fits if rule.types[index] is type(event)] or fits
        index = next((index for index in exact if len(self._events[index]) < rule.count), exact[0])
        events = self._events[index]
        if len(events) >= rule.count:
            if rule.duplicates == "first":
                return False
            if rule.duplicates == "last":
                del events[0]
        events.append(event)
        self.hops = max(self.hops, hops)
        self.last = event
        self.variables = variables
        return True

    def is_complete(self) -> bool:
        """Whether everything is there."""
        return all(len(events) >= self._rule.count for events in self._events)

    def arguments(self) -> tuple[object, ...]:
        """Give what the handler gets: for each type the event, or a tuple where there may be several."""
        rule = self._rule
        if rule.count == 1 and rule.duplicates != "list":
            return tuple(events[0] for events in self._events)
        return tuple(tuple(events) for events in self._events)

    def have(self) -> list[Event]:
        """Give what is there."""
        return [event for events in self._events for event in events]

    def missing(self) -> list[type[Event]]:
        """Give the types of what is not, each as often as it is missing."""
        count = self._rule.count
        return [
            kind
            for kind, events in zip(self._rule.types, self._events, strict=True)
            for _ in range(count - len(events))
        ]

    def tell(self, error: BaseException) -> None:
        """It was given up, for this reason."""

    def stop_timer(self) -> None:
        """Give up waiting."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def all_events(arguments: tuple[Any, ...]) -> Iterator[Event]:
    """Give the events among the arguments of a join, each of which may be a tuple of them."""
    for argument in arguments:
        if isinstance(argument, Event):
            yield argument
        else:
            yield from argument


__all__ = ["Round", "all_events"]
