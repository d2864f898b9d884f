"""What an aggregator has collected: for each correlation id one event of each class that it needs."""

import asyncio
import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, cast

from miniagents.errors import DeadlockError
from miniagents.events._joins import Round
from miniagents.events._options import seconds
from miniagents.events._registration import is_class_of_events
from miniagents.events._slots import find_run, outside_of_handler
from miniagents.events._subscriptions import JoinRule, Subscription
from miniagents.events.errors import BusStoppedError, RegistrationError
from miniagents.events.event import Event
from miniagents.promising._wording import shown

KEPT_RESULTS: Final = 1_000
"""How many complete sets are kept for those who ask for them later."""

Group = dict[type[Event], Event]
CorrelationId = str | None


class Collector:
    """Collects events by their correlation id, and tells those who wait for a complete set. For any thread."""

    def __init__(self, types: tuple[type[Event], ...], timeout_s: float | None) -> None:
        self.types = types
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._groups: dict[CorrelationId, Group] = {}
        self._results: OrderedDict[CorrelationId, list[Event]] = OrderedDict()
        self._waiters: dict[CorrelationId, list[asyncio.Future[list[Event]]]] = {}
        self._sources: weakref.WeakSet[Any] = weakref.WeakSet()
        self._ended_with: BaseException | None = None

    @contextmanager
    def set_with(self, event: Event) -> Generator[list[Event] | None]:
        """Add `event`; give the events if the set is complete with it, in the order of the classes.

        The first event of a class counts. What comes when a set was complete begins another one. If the block fails,
        the set stays, without `event`: whoever sends that again, or has it tried again, completes the set again.
        """
        events = self._take(event)
        try:
            yield events
        except BaseException:
            if events is not None:
                self._restore(event, events)
            raise

    def _take(self, event: Event) -> list[Event] | None:
        correlation_id = event.correlation_id
        with self._lock:
            group = self._groups.get(correlation_id, {})
            missing = [kind for kind in self.types if kind not in group and isinstance(event, kind)]
            if not missing:
                return None
            # Rather where it is the very class.
            group[type(event) if type(event) in missing else missing[0]] = event
            if len(group) < len(self.types):
                self._groups[correlation_id] = group
                return None
            self._groups.pop(correlation_id, None)
            events = [group[kind] for kind in self.types]
            self._results.pop(correlation_id, None)
            self._results[correlation_id] = events
            while len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)
            waiters = self._waiters.pop(correlation_id, [])
        for waiter in waiters:
            _settle(waiter, list(events))
        return list(events)

    def _restore(self, event: Event, events: Iterable[Event]) -> None:
        kept = [other for other in events if other is not event]
        with self._lock:
            self._results.pop(event.correlation_id, None)
            group: Group = {}
            for kind in self.types:
                found = next((other for other in kept if isinstance(other, kind) and other not in group.values()), None)
                if found is not None:
                    group[kind] = found
            if group:
                self._groups.setdefault(event.correlation_id, group)

    def group_of(self, correlation_id: CorrelationId) -> Group | None:
        """Give what there is so far of a set; None if there is nothing."""
        return self._groups.get(correlation_id)

    def drop(self, correlation_id: CorrelationId, error: BaseException) -> None:
        """Give a set up, and tell those who wait for it why."""
        with self._lock:
            self._groups.pop(correlation_id, None)
            waiters = self._waiters.pop(correlation_id, [])
        for waiter in waiters:
            _settle(waiter, error)

    def begin(self, source: object) -> None:
        """Take note that `source` hands events to this, until `drop_waiters`, or until it is freed."""
        with self._lock:
            self._sources.add(source)
            self._ended_with = None

    def drop_waiters(self, source: object, error: BaseException) -> None:
        """Tell all who wait, and from now on those who will, that nothing comes from `source` any more."""
        with self._lock:
            self._sources.discard(source)
            if not self._sources:
                self._ended_with = error
            waiting, self._waiters = self._waiters, {}
        for waiters in waiting.values():
            for waiter in waiters:
                _settle(waiter, error)

    async def wait(self, owner: object, correlation_id: CorrelationId, timeout_s: float | None) -> list[Event]:
        """Give the complete set of a correlation id; see `AsyncAggregatorAgent.wait_for_events`."""
        if timeout_s is not None:
            timeout_s = seconds(timeout_s, "timeout", "wait_for_events", zero_is_fine=True)
        run: Any = find_run()
        if run is not None and getattr(run.subscription.target, "agent", None) is owner:
            raise DeadlockError(
                f"`{type(owner).__name__}` waits for its own events, of which it gets no more while it waits. Use "
                "`process_events()`, which is called with them, or wait in another place."
            )
        with self._lock:
            result = self._results.get(correlation_id)
            if result is not None:
                return list(result)
            if self._ended_with is not None:
                raise BusStoppedError(
                    f"Nothing more comes of the correlation id {shown(correlation_id)}: the dispatcher was stopped. "
                    "Wait before it is, or give the agent to another dispatcher."
                ) from self._ended_with
            waiter: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(correlation_id, []).append(waiter)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await outside_of_handler(waiter)
        except TimeoutError as error:
            if not limit.expired():
                raise
            there = self._groups.get(correlation_id, {})
            missing = ", ".join(f"`{kind.__name__}`" for kind in self.types if kind not in there)
            raise TimeoutError(
                f"The events of the correlation id {shown(correlation_id)} were not all there within {timeout_s:g} s: "
                f"{missing or 'all'} missing."
            ) from error
        finally:
            self._forget(correlation_id, waiter)

    def _forget(self, correlation_id: CorrelationId, waiter: "asyncio.Future[list[Event]]") -> None:
        with self._lock:
            kept = [other for other in self._waiters.get(correlation_id, ()) if other is not waiter]
            if kept:
                self._waiters[correlation_id] = kept
            else:
                self._waiters.pop(correlation_id, None)


def _settle(waiter: "asyncio.Future[list[Event]]", outcome: list[Event] | BaseException) -> None:
    def settle() -> None:
        if waiter.done():
            return
        if isinstance(outcome, BaseException):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)

    loop = waiter.get_loop()
    if not loop.is_closed():
        # Whoever completes the set may be on another loop, or in a thread.
        loop.call_soon_threadsafe(settle)


class CollectedRound(Round):
    """What an aggregator has of one set, for the books of the bus: given up with its flow, or when its time is over."""

    __slots__ = ("_collector", "_correlation_id", "_group")

    def __init__(self, subscription: Subscription, collector: Collector, event: Event, group: Group) -> None:
        super().__init__(subscription, JoinRule(collector.types, 1, "first", collector.timeout_s, None))
        self.last = event
        self._collector = collector
        self._correlation_id = event.correlation_id
        self._group = group

    def is_of(self, group: Group | None) -> bool:
        """Whether this is the round of `group`."""
        return self._group is group

    def have(self) -> list[Event]:
        """Give what is there; nothing if the set is complete meanwhile."""
        return list(self._group.values()) if self._collector.group_of(self._correlation_id) is self._group else []

    def missing(self) -> list[type[Event]]:
        """Give the classes of which no event is there."""
        return [kind for kind in self._collector.types if kind not in self._group]

    def tell(self, error: BaseException) -> None:
        """It was given up, for this reason."""
        self._collector.drop(self._correlation_id, error)


def needed_types(types: Any, owner: str) -> tuple[type[Event], ...]:
    """Give the classes that an aggregator needs.

    Raises:
        RegistrationError: there are none, one is no class of events, or one is there twice.
    """
    needed = tuple(cast("Iterable[Any]", types)) if isinstance(types, Iterable) else ()
    if not needed:
        raise RegistrationError(
            f"`{owner}` must know which events it collects: give their classes, "
            "`super().__init__(event_types_needed=[TextEvent, SummaryEvent])`."
        )
    for kind in needed:
        if not is_class_of_events(kind):
            raise RegistrationError(
                f"`event_types_needed` of `{owner}` has {shown(kind)}, which is no class of events."
            )
    if len(set(needed)) < len(needed):
        raise RegistrationError(f"`event_types_needed` of `{owner}` has a class twice; one event of each is collected.")
    return needed


__all__ = ["CollectedRound", "Collector", "needed_types"]
