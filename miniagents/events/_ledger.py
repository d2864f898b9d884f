"""The books of a bus: what came in, what became of it, and when nothing is left to do.

In = handled + dead: every delivery is counted once when it is made (`received`), and once when it is over: as handled,
or as dead, in `bury`. A flow has ended when none of its deliveries is open; the bus is idle when no delivery is at all.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from miniagents.events._joins import Round, all_events
from miniagents.events._limits import Limits
from miniagents.events._slots import find_run
from miniagents.events._subscriptions import Delivery, Subscription
from miniagents.events._variables import Variables
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.errors import JoinIncompleteError
from miniagents.events.event import Event, stamp, stamps_of
from miniagents.events.flow import Flow
from miniagents.events.terminate_event import TerminateEvent
from miniagents.events.trace import DEAD, MEMORY, UNROUTED, Trace
from miniagents.promising._failure import storable
from miniagents.promising._reporting import one_line
from miniagents.promising._waiting import Source
from miniagents.promising._wording import shortened, shown

if TYPE_CHECKING:
    from miniagents.events.bus import EventBus
    from miniagents.miniagents import MiniAgents

FRESH: Final = "fresh"
OPEN: Final = "open"
STOPPING: Final = "stopping"
STOPPED: Final = "stopped"

MAX_REPORTED: Final = 1_000
"""How many kinds of failures, and of events without handlers, are told on the log."""


class _Idle(Source):
    """The wait until nothing is left to do."""

    __slots__ = ()

    def describe(self) -> str:
        return "the end of all work of an event bus"


class Ledger:
    """What a bus has taken in, and what became of it."""

    received: int
    handled: int
    dead: int
    unrouted: int
    context: "MiniAgents"
    loop: asyncio.AbstractEventLoop

    def __init__(self, bus: "EventBus", trace: Trace, limits: Limits) -> None:
        self.limits = limits
        self.letters: deque[DeadLetter] = deque(maxlen=limits.max_dead_letters)
        """The last dead letters."""
        # Weakly, as the bus has this.
        self._bus = weakref.ref(bus)
        self.trace = trace
        self.owns_trace = True
        """Whether nobody else ever writes it."""
        self.queue: deque[Any] = deque()
        """What waits: the `DELIVERY_PARTS` parts of each delivery, one after another."""
        self.gone: set[tuple[int, int]] = set()
        """What is in the queue and is over, as its flow was closed: each the identities of subscription and event."""
        self.state = FRESH
        self.refusal: Callable[[], BaseException] | None = None
        """Gives the reason why nothing is delivered any more, when that is so."""
        self.received = 0
        self.handled = 0
        self.dead = 0
        self.unrouted = 0
        self.idle = _Idle()
        self.thread_id = threading.get_ident()
        self.numbers = 0
        self.prefix = ""
        """Ids of events are this and the number of the event."""
        self._reported: set[Any] = set()

    @property
    def bus(self) -> "EventBus":
        """The bus."""
        bus = self._bus()
        assert bus is not None
        return bus

    def new_id(self) -> str:
        """Give an id that no other event has."""
        number = self.numbers = self.numbers + 1
        return self.prefix + hex(number)

    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return self.received == self.handled + self.dead

    def route(self, event: Event, flow: Flow, hops: int, variables: Variables, emitter: str | None) -> None:
        """Put an event into its flow and on its way to everybody who wants it."""
        raise NotImplementedError

    # -- the end of a delivery -----------------------------------------------------------------------------------

    def one_less(self, flow: Flow) -> None:
        """A delivery of `flow` is over, and counted."""
        flow.open -= 1
        if not flow.open:
            self.settle(flow)
        if self.idle.waiters is not None and self.is_idle():
            self.idle.wake()

    def settle(self, flow: Flow) -> None:
        """End `flow`, of which nothing is open; joins that are incomplete now will never be complete."""
        while flow.rounds and not flow.open:
            flow.open = 1
            self.give_up_round(flow, flow.rounds.pop(next(iter(flow.rounds))), "its flow has ended")
            flow.open -= 1
        if not flow.open:
            flow.end()

    def give_up_round(self, flow: Flow, given_up: Round, reason: str) -> None:
        """Make a dead letter of a round, or call the handler that its join has for that."""
        given_up.stop_timer()
        subscription, have = given_up.subscription, given_up.have()
        if not have:
            # What an aggregator collected is complete meanwhile.
            return
        instead = None if subscription.join is None else subscription.join.on_timeout
        tail = (given_up.last, flow, given_up.hops, given_up.variables, monotonic(), (tuple(have),))
        if instead is not None and self.refusal is None and not flow.is_closed:
            self.deliver((instead, *tail))
            return
        self.received += 1
        flow.open += 1
        error = JoinIncompleteError(subscription.name, have, given_up.missing(), reason)
        given_up.tell(error)
        self.bury((subscription, *tail), error, attempt=0)

    def deliver(self, delivery: Delivery) -> None:
        """Count a delivery, and put it into the queue or make a dead letter of it."""
        raise NotImplementedError

    def bury(
        self,
        delivery: Delivery,
        error: BaseException,
        *,
        attempt: int,
        duration_s: float | None = None,
        letter: DeadLetter | None = None,
    ) -> None:
        """Count a delivery as dead, and put its dead letter into its flow (if it is not there) and on its way."""
        subscription: Subscription
        event: Event
        flow: Flow
        subscription, event, flow, hops, variables, _, arguments = delivery
        self.dead += 1
        self.note(DEAD, flow, event, subscription.name, duration_s=duration_s, error=one_line(error))
        if letter is None:
            letter = self.write_letter(subscription, event, flow, error, attempt, arguments)
        is_routed = self.refusal is None and not flow.is_closed and not isinstance(event, DeadLetter)
        if is_routed:
            # One hop back: a chain that was too long ends in a letter that is delivered.
            self.route(letter, flow, min(hops, 0), variables, subscription.name)
        else:
            flow.add(letter)
        self._report(subscription, event, error, is_handled=is_routed and self.has_handler(letter))
        self.one_less(flow)

    def write_letter(
        self,
        subscription: Subscription,
        event: Event,
        flow: Flow,
        error: BaseException,
        attempt: int,
        arguments: tuple[Any, ...] | None,
    ) -> DeadLetter:
        """Give a dead letter that is on the lists of its flow and of the bus."""
        name = subscription.name
        if arguments is None:
            letter = DeadLetter(event=event, handler=name, error=error, attempt=attempt)
        else:
            joined = tuple(all_events(arguments))
            letter = DeadLetter(event=event, handler=name, error=error, attempt=attempt, events=joined)
        event_id, correlation_id, _, _ = stamps_of(event)
        stamp(letter, self.new_id(), correlation_id, event_id, subscription.name)
        flow.know_error(error)
        if flow.letters is None:
            flow.letters = []
        flow.letters.append(letter)
        self.letters.append(letter)
        return letter

    def cause_of(self, error: BaseException) -> BaseException:
        """Give an error as a dead letter has it; an exit is raised as well, when the context ends."""
        if not isinstance(error, Exception | asyncio.CancelledError):
            self.context.errors.add(error)
        return storable(error)

    def has_handler(self, event: Event) -> bool:
        """Whether somebody takes such events."""
        raise NotImplementedError

    def _report(self, subscription: Subscription, event: Event, error: BaseException, *, is_handled: bool) -> None:
        what = (subscription.name, type(error))
        if is_handled or what in self._reported or len(self._reported) >= MAX_REPORTED:
            return
        self._reported.add(what)
        self.context.logger.warning(
            "The handler `%s` did not handle this `%s`: %s\nThe dead letter is in `flow.errors`, and no handler takes "
            "`DeadLetter`. More of the same are not told here; `bus.stats.dead` counts them.",
            subscription.name,
            type(event).__name__,
            one_line(error),
        )

    def note_unrouted(self, event: Event, flow: Flow) -> None:
        """Count an event that nobody handles, and tell of the first of its type."""
        kind = type(event)
        if issubclass(kind, DeadLetter | TerminateEvent):
            return
        self.unrouted += 1
        self.note(UNROUTED, flow, event, None)
        if kind not in self._reported and len(self._reported) < MAX_REPORTED:
            self._reported.add(kind)
            self.context.logger.warning(
                "No handler takes events of the type `%s`. Whoever reads the flow gets them, and nobody else. Register "
                "a handler with `@bus.on(%s)`, or `router.add_route(%s, agent)` where there is a router, if that is a "
                "mistake. More of the type are not told here; `stats.unrouted` counts them.",
                kind.__name__,
                kind.__name__,
                kind.__name__,
            )

    def note(
        self,
        kind: str,
        flow: Flow,
        event: Event,
        handler: str | None,
        at: float | None = None,
        duration_s: float | None = None,
        error: str | None = None,
    ) -> None:
        """Put something into the trace, if there is one."""
        take = self.trace.note
        if take is not None:
            take(
                (
                    *(kind, flow.id, event.id, event.causation_id, event.class_, handler),
                    *(monotonic() if at is None else at, duration_s, error),
                )
            )

    def note_merge(self, changes: Mapping[str, Any]) -> None:
        """Put a merge into the shared memory into the trace."""
        run: Any = find_run()
        note = self.trace.note
        if note is None:
            return
        if run is not None and run.engine is not self:
            if run.bus.shared_memory is self.bus.shared_memory:
                # It is in the trace of the bus whose handler it was.
                return
            run = None
        keys = shortened(", ".join(key if isinstance(cast("object", key), str) else shown(key) for key in changes))
        if run is None:
            note((MEMORY, "", None, None, "", None, monotonic(), None, keys))
            return
        event_id, _, cause_id, _ = stamps_of(run.event)
        name = type(run.event).__name__
        note((MEMORY, run.flow.id, event_id, cause_id, name, run.handler_name, monotonic(), None, keys))


__all__ = ["FRESH", "OPEN", "STOPPED", "STOPPING", "Ledger"]
