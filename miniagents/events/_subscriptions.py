"""Who wants which events: subscriptions, and the routes that follow from them."""

import inspect
import math
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

from miniagents.events._options import seconds, whole_number
from miniagents.events._registration import FUNCTION, kind_of_handler, plain_function
from miniagents.events.errors import RegistrationError
from miniagents.events.event import Event
from miniagents.events.terminate_event import TerminateEvent
from miniagents.events.trace import handler_name

Duplicates = Literal["first", "last", "list"]

Delivery: TypeAlias = tuple[Any, ...]
"""One event on its way to one handler: (subscription, event, flow, hops, variables, since, arguments).

A bare tuple, as there may be a great many of them, and in the queue not even that: `arguments` are those of a join,
else None; `since` is when it began to wait; `variables` are the context variables of the place that emitted.
"""


DELIVERY_PARTS: Final = 7
EVENT_PART: Final = 1
"""Where the event is among them."""
FLOW_PART: Final = 2
SINCE_PART: Final = 5


class JoinRule:
    """What a join waits for."""

    __slots__ = ("count", "duplicates", "on_timeout", "timeout_s", "types")

    def __init__(
        self,
        types: tuple[type[Event], ...],
        count: int,
        duplicates: Duplicates,
        timeout_s: float | None,
        on_timeout: "Subscription | None",
    ) -> None:
        self.types = types
        self.count = count
        self.duplicates: Duplicates = duplicates
        self.timeout_s = timeout_s
        self.on_timeout = on_timeout


class Subscription:
    """One handler and which events it gets, how many at once, and what happens when it fails.

    Of deliveries beyond its `concurrency`, or of a key that is in work, it keeps those that came first in line.
    """

    __slots__ = (
        "_called",
        "_keys",
        "_lanes",
        "_line",
        "backoff_s",
        "concurrency",
        "held",
        "is_limited",
        "is_plain",
        "is_simple",
        "join",
        "key",
        "kind",
        "name",
        "retries",
        "running",
        "target",
        "timeout_s",
        "types",
        "when",
    )

    def __init__(
        self, handler: Any, types: tuple[type[Event], ...], *, arguments: int = 1, join: JoinRule | None = None
    ) -> None:
        self.target = handler
        self.kind = kind_of_handler(handler, arguments)
        self.name = handler_name(handler)
        self.types = types
        self.when: Callable[[Any], Any] | None = None
        self.concurrency: int | None = None
        self.key: Callable[[Any], Any] | None = None
        self.retries = 0
        self.backoff_s = 0.0
        self.timeout_s: float | None = None
        self.join = join
        self.is_plain = join is None
        """Whether every event of its types makes a delivery at once."""
        self.is_limited = False
        self.is_simple = self.kind == FUNCTION
        """Whether one call of a function is all that there is to it."""
        self.running = 0
        self.held = 0
        # In line for a place among the running; each has its key in `_lanes`, where others of that key wait behind it.
        self._line: deque[Delivery] = deque()
        self._lanes: dict[Any, deque[Delivery]] = {}
        # The keys of all of them, and of those that run, by the identity of the event.
        self._keys: dict[int, Any] = {}
        # Those whose place is taken, and that have not begun, each with since when it has been waiting.
        self._called: dict[int, float] = {}

    def configure(
        self,
        *,
        when: Any = None,
        concurrency: Any = None,
        key: Any = None,
        retries: Any = 0,
        backoff_s: Any = 0.0,
        timeout: Any = None,
    ) -> None:
        """Take the options of `bus.on`.

        Raises:
            RegistrationError: one of them cannot be that.
        """
        self.when = plain_function(
            when, "when", self.name, "a predicate, such as `when=lambda event: event.priority > 5`"
        )
        self.key = plain_function(
            key, "key", self.name, "a function that gives the key, such as `key=lambda event: event.user`"
        )
        self.concurrency = (
            None if concurrency is None else whole_number(concurrency, "concurrency", self.name, at_least=1)
        )
        self.retries = whole_number(retries, "retries", self.name, at_least=0)
        self.backoff_s = seconds(backoff_s, "backoff_s", self.name, zero_is_fine=True)
        self.timeout_s = None if timeout is None else seconds(timeout, "timeout", self.name)
        self.is_limited = self.concurrency is not None or self.key is not None
        self.is_plain = self.when is None and self.join is None
        self.is_simple = self.kind == FUNCTION and not self.retries and self.timeout_s is None

    @property
    def identity(self) -> Any:
        """What tells this handler from others, as long as it lives."""
        # Equal ones may be two. Bound methods are made anew each time they are looked up.
        return self.target if inspect.ismethod(self.target) else id(self.target)

    # -- how many at once ----------------------------------------------------------------------------------------

    def admits(self, delivery: Delivery) -> bool:
        """Whether the delivery may begin now; else it is kept until `next_after` gives it.

        Raises:
            Exception: what the `key` function raised.
        """
        if id(delivery[1]) in self._called:
            del self._called[id(delivery[1])]
            return True
        if self.key is not None and not self._takes_key(delivery):
            return False
        if self.concurrency is not None and (self.running >= self.concurrency or self._line):
            self._line.append(delivery)
            self.held += 1
            return False
        self.running += 1
        return True

    def _takes_key(self, delivery: Delivery) -> bool:
        assert self.key is not None
        key = self.key(delivery[1])
        lane = self._lanes.get(key)
        self._keys[id(delivery[1])] = key
        if lane is not None:
            lane.append(delivery)
            self.held += 1
            return False
        self._lanes[key] = deque()
        return True

    def next_after(self, delivery: Delivery) -> list[Delivery]:
        """Take note that `delivery` is done; give those that may begin now, their place among the running taken."""
        self.running -= 1
        self._called.pop(id(delivery[1]), None)
        if self.key is not None:
            key = self._keys.pop(id(delivery[1]))
            if lane := self._lanes[key]:
                # The key stays in work: the next of it gets in line behind those that wait for a place.
                self._line.append(lane.popleft())
            else:
                del self._lanes[key]
        free: list[Delivery] = []
        while self._line and (self.concurrency is None or self.running < self.concurrency):
            self.held -= 1
            self.running += 1
            free.append(self._line.popleft())
            self._called[id(free[-1][1])] = free[-1][SINCE_PART]
        return free

    def has_turn(self, delivery: Delivery) -> bool:
        """Whether `next_after` gave it, so that its place among the running is taken though it has not begun."""
        return id(delivery[1]) in self._called

    def is_crowded(self) -> bool:
        """Whether it keeps something waiting, or has called what has not begun."""
        return bool(self.held or self._called)

    def oldest(self) -> float:
        """Give since when that waits which has been waiting longest; infinity if nothing does."""
        # Those of one key come one after the other, and without keys all do.
        firsts = [lane[0] for lane in self._lanes.values() if lane]
        firsts += self._line if self.key is not None else islice(self._line, 1)
        sinces = [delivery[SINCE_PART] for delivery in firsts]
        return min((*sinces, *self._called.values()), default=math.inf)

    def have_same_key(self, event: Event, other: Event) -> bool:
        """Whether both have been given a key by now, and the same."""
        keys = self._keys
        return id(event) in keys and id(other) in keys and keys[id(event)] == keys[id(other)]

    def waiting(self) -> list[Delivery]:
        """Give what is kept, in the order in which it came."""
        return sorted((*self._line, *(kept for lane in self._lanes.values() for kept in lane)), key=_since)

    def drop_flow(self, flow: Any, spared: Event | None, most: int) -> list[Delivery]:
        """Forget, and give, what is kept of `flow`, `spared` aside; there are at most so many."""
        dropped: list[Delivery] = []
        # The line last, as what is behind one of a key takes its place there.
        for lane in (*self._lanes.values(), self._line):
            found: list[int] = []
            for index, delivery in enumerate(lane):
                if len(dropped) + len(found) >= most:
                    break
                if delivery[FLOW_PART] is flow and delivery[EVENT_PART] is not spared:
                    found.append(index)
            # From behind, so that the others stay where they are.
            for index in reversed(found):
                dropped.append(lane[index])
                self._drop_from(lane, index)
        return sorted(dropped, key=_since)

    def _drop_from(self, lane: deque[Delivery], index: int) -> None:
        event: Event = lane[index][EVENT_PART]
        self.held -= 1
        if self.key is not None:
            key = self._keys.pop(id(event))
            if lane is self._line:
                # It stands there for its key: the next of that takes its place.
                if behind := self._lanes[key]:
                    lane[index] = behind.popleft()
                    return
                del self._lanes[key]
        del lane[index]

    def drop(self, is_dropped: Callable[[Delivery], bool]) -> list[Delivery]:
        """Forget, and give, what is kept and fits."""
        waiting = self.waiting()
        in_line = {id(delivery[1]) for delivery in waiting}
        self._lanes = {key: deque() for number, key in self._keys.items() if number not in in_line}
        self._line.clear()
        self.held = 0
        dropped: list[Delivery] = []
        for delivery in waiting:
            if is_dropped(delivery):
                self._keys.pop(id(delivery[1]), None)
                dropped.append(delivery)
                continue
            self.held += 1
            key = self._keys.get(id(delivery[1]))
            if self.key is not None and key in self._lanes:
                self._lanes[key].append(delivery)
                continue
            if self.key is not None:
                self._lanes[key] = deque()
            self._line.append(delivery)
        return dropped


def _since(delivery: Delivery) -> float:
    return delivery[SINCE_PART]


class Routes:
    """All subscriptions of a bus, and for each type of events those that take it."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.of_type: dict[type[Event], tuple[Subscription, ...]] = {}
        """What was looked up already."""
        # By the name that they would have alone: the handlers, each with its number and how often it is there.
        self._numbers: dict[str, dict[int, list[int]]] = {}
        self.with_repeats: set[type[Event]] = set()
        """Types for which a handler is there more than once, of which only one may get an event; and those that end
        something, so that all others need not be looked at for that."""

    def add(self, subscription: Subscription) -> None:
        """Add a subscription; it gets events that are emitted from now on.

        Of handlers of one name each but the first has a number: `W`, `W #2`.
        """
        known = self._numbers.setdefault(subscription.name, {})
        entry = known.get(_key(subscription))
        if entry is None:
            # One more than the last that was given: there may be many.
            last = known[next(reversed(known))][0] if known else 0
            entry = known[_key(subscription)] = [last + 1, 0]
        entry[1] += 1
        number = entry[0]
        if number > 1:
            subscription.name = f"{subscription.name} #{number}"
        self.subscriptions.append(subscription)
        self._forget()

    def set_types(self, handler: Any, types: tuple[type[Event], ...]) -> None:
        """Let a handler get events of these classes from now on; it keeps its limits, and what is in work counts."""
        mine = [known for known in self.subscriptions if known.target is handler or _is_same(known.target, handler)]
        # A join is called with events of its classes, whatever else it might get.
        found = [known for known in mine if known.join is None]
        if not found:
            raise _not_registered(handler)
        for known in found:
            known.types = types
        self._forget()

    def remove(self, handler: Any) -> None:
        """Take every subscription of `handler` away.

        Raises:
            RegistrationError: it has none.
        """
        gone = [known for known in self.subscriptions if known.target is handler or _is_same(known.target, handler)]
        if not gone:
            raise _not_registered(handler)
        for subscription in gone:
            self._forget_number(subscription)
        self.subscriptions = [known for known in self.subscriptions if known not in gone]
        self._forget()

    def _forget_number(self, subscription: Subscription) -> None:
        name = handler_name(subscription.target)
        known = self._numbers[name]
        entry = known[_key(subscription)]
        entry[1] -= 1
        if not entry[1]:
            del known[_key(subscription)]
            if not known:
                del self._numbers[name]

    def _forget(self) -> None:
        self.of_type.clear()
        self.with_repeats.clear()

    def look_up(self, kind: type[Event]) -> tuple[Subscription, ...]:
        """Give the subscriptions for events of this very class, in the order of registration."""
        found = self.of_type.get(kind)
        if found is None:
            # A class is looked up along its bases once.
            found = self.of_type[kind] = tuple(known for known in self.subscriptions if issubclass(kind, known.types))
            identities = [known.identity for known in found]
            is_repeated = any(identity in identities[:index] for index, identity in enumerate(identities))
            if is_repeated or issubclass(kind, TerminateEvent):
                self.with_repeats.add(kind)
        return found


def _key(subscription: Subscription) -> int:
    """Give what tells this handler from others, as long as it lives."""
    # Bound methods are made anew each time they are looked up.
    target = subscription.target
    return hash((id(target.__self__), id(target.__func__))) if inspect.ismethod(target) else id(target)


def _not_registered(handler: Any) -> RegistrationError:
    return RegistrationError(
        f"`{handler_name(handler)}` is not registered on this bus, so nothing can be taken from it. Give the very "
        "function or agent that was given to `on()` or `join()`."
    )


def _is_same(one: Any, other: Any) -> bool:
    # Bound methods are made anew each time they are looked up, and are equal.
    return inspect.ismethod(one) and one == other


__all__ = ["DELIVERY_PARTS", "EVENT_PART", "FLOW_PART", "SINCE_PART", "Delivery", "JoinRule", "Routes", "Subscription"]
