"""The way of an event: taken in, put into its flow, and delivered to everybody who wants it."""

import asyncio
import contextvars
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from miniagents._segments import SequenceBuffer
from miniagents.events._joins import Round
from miniagents.events._ledger import OPEN, STOPPING, Ledger
from miniagents.events._limits import Limits
from miniagents.events._runs import HandlerRun
from miniagents.events._slots import find_run, outside_of_handler
from miniagents.events._subscriptions import DELIVERY_PARTS, Routes, Subscription
from miniagents.events._variables import Variables
from miniagents.events.errors import BusStoppedError, FlowClosedError, QueueFullError, TooManyHopsError
from miniagents.events.event import Event, stamped, stamps_of
from miniagents.events.flow import Flow
from miniagents.events.terminate_event import TerminateEvent
from miniagents.events.trace import EMITTED, IGNORED, JOINED, Trace
from miniagents.promising._waiting import AnyTask, check_thread

if TYPE_CHECKING:
    from miniagents.events._subscriptions import Delivery
    from miniagents.events.bus import EventBus


class Routing(Ledger):
    """Takes events in and finds out who gets them."""

    def __init__(self, bus: "EventBus", trace: Trace, limits: Limits) -> None:
        super().__init__(bus, trace, limits)
        self.max_pending = limits.max_pending
        self.max_hops = limits.max_hops
        self.routes = Routes()
        self.limited: dict[Subscription, None] = {}
        """Subscriptions that keep deliveries waiting because of their limits."""
        self.held: int = 0
        """How many they keep."""
        self.is_at_work = False
        """Whether a worker is between two handlers, or in one that has not waited yet: it will look at the queue."""
        self.now = 0.0
        """When the last handler was over, while a worker is at work."""
        self.ready: set[AnyTask] = set()
        """Workers that will look at the queue as soon as the loop comes to them."""
        self.waiting_for_room: deque[asyncio.Future[None]] = deque()
        # One for all that is emitted in one place: there may be a great many flows.
        self._emitted_with = Variables(contextvars.Context())

    # -- taking events in ----------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse an event if none are taken; while the bus drains, those of its handlers are.

        Raises:
            BusStoppedError: none are.
        """
        if self.state != OPEN and not (self.state == STOPPING and self.refusal is None and self.is_in_handler()):
            raise BusStoppedError
        if not self.context.is_active:
            raise BusStoppedError.of_context()

    def is_in_handler(self) -> bool:
        """Whether this code is part of a handler of this bus."""
        run = find_run()
        # What a handler has left behind is no part of it when it has ended.
        return isinstance(run, HandlerRun) and run.engine is self and not run.is_over

    def pending(self) -> int:
        """How many deliveries wait for their turn."""
        return len(self.queue) // DELIVERY_PARTS - len(self.gone) + self.held

    def emit(self, event: Event) -> Flow:
        """Begin a flow; see `EventBus.emit`."""
        self.check_open()
        check_thread(self.thread_id, "emit an event")
        if self.pending() >= self.max_pending:
            raise QueueFullError(self.max_pending)
        new_id = self.new_id()
        old_id, correlation_id, causation_id, source = stamps_of(event)
        run = find_run()
        if isinstance(run, HandlerRun):
            # A flow inside of another one: it says where it comes from.
            causation_id, correlation_id = run.event.id, correlation_id or run.event.correlation_id
            source = source or run.subscription.name
        elif old_id is not None:
            causation_id = old_id
        here = contextvars.copy_context()
        if not self._emitted_with.are(here):
            self._emitted_with = Variables(here)
        engine: Any = self
        flow = Flow(engine, new_id)
        copy = stamped(event, new_id, correlation_id or new_id, causation_id, source)
        # Held open until all its first deliveries are made.
        flow.open = 1
        self.route(copy, flow, 0, self._emitted_with, source)
        flow.open -= 1
        if not flow.open:
            self.settle(flow)
        return flow

    async def publish(self, event: Event) -> Flow:
        """Wait for room, then emit; see `EventBus.publish`."""
        check_thread(self.thread_id, "publish an event")
        pending = self.pending()
        try:
            # Again, as a handler that gets its place back later may find no room any more.
            while self.pending() >= self.max_pending:
                self.check_open()
                await outside_of_handler(self._wait_for_room())
            pending = self.pending()
            return self.emit(event)
        finally:
            if self.pending() <= pending:
                # The room that this one was told of is still there, and nobody else tells the next.
                self.tell_room()

    async def _wait_for_room(self) -> None:
        while self.pending() >= self.max_pending:
            waiter = self.room_waiter()
            self.waiting_for_room.append(waiter)
            await waiter

    def room_waiter(self) -> "asyncio.Future[None]":
        """Give a future for one who waits for room."""
        raise NotImplementedError

    def tell_room(self) -> None:
        """Let one of those who wait for room look, if there is any."""
        while self.waiting_for_room and self.pending() < self.max_pending:
            waiter = self.waiting_for_room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def take_reply(self, run: HandlerRun, event: Event, into: SequenceBuffer | None = None) -> None:
        """Route an event that a handler replied with."""
        name = run.subscription.name
        number = self.numbers = self.numbers + 1
        cause = run.event
        copy = stamped(
            event,
            self.prefix + hex(number),
            event.correlation_id or cause.correlation_id,
            cause.id,
            event.source or name,
        )
        self.route(copy, run.flow, run.hops + 1, run.variables_for(copy), name, into)

    # -- finding out who gets them -------------------------------------------------------------------------------

    def has_handler(self, event: Event) -> bool:
        """Whether somebody takes such events."""
        return bool(self.routes.look_up(type(event)))

    def route(
        self,
        event: Event,
        flow: Flow,
        hops: int,
        variables: Variables,
        emitter: str | None,
        into: SequenceBuffer | None = None,
    ) -> None:
        """Put an event into its flow and on its way to everybody who wants it."""
        flow.add(event, into)
        # A handler that has not waited yet is taken to take no time.
        now = self.now if self.is_at_work else monotonic()
        note, kind = self.trace.note, type(event)
        if note is not None:
            note((EMITTED, flow.id, event.id, event.causation_id, event.class_, emitter, now, None, None))
        is_watched = flow.watchers is not None and flow.tell_watchers(event)
        routes = self.routes
        subscriptions = routes.of_type.get(kind) or routes.look_up(kind)
        if not subscriptions and not is_watched:
            self.note_unrouted(event, flow)
        seen: list[object] | None = [] if kind in routes.with_repeats else None
        for subscription in subscriptions:
            delivery = (subscription, event, flow, hops, variables, now, None)
            if seen is None and subscription.is_plain:
                if self.refusal is not None or flow.is_closed or hops > self.max_hops:
                    self.deliver(delivery)
                    continue
                # `deliver`, written out, as it is what nearly every event comes to.
                self.received += 1
                flow.open += 1
                self.queue.extend(delivery)
                if not self.ready and not self.is_at_work:
                    self.ensure_worker()
                continue
            if seen is not None and subscription.identity in seen:
                continue
            if subscription.when is not None and not self._is_wanted(subscription, delivery):
                continue
            if seen is not None:
                seen.append(subscription.identity)
            if subscription.join is not None:
                self._take_to_join(subscription, event, flow, hops, variables)
            else:
                self.deliver(delivery)
        if seen is not None and issubclass(kind, TerminateEvent):
            self.end_by(event, flow)

    def end_by(self, event: Event, flow: Flow) -> None:
        """End what a `TerminateEvent` ends; its own deliveries are made."""
        raise NotImplementedError

    def deliver(self, delivery: "Delivery") -> None:
        """Count a delivery, and put it into the queue or make a dead letter of it."""
        flow: Flow = delivery[2]
        self.received += 1
        flow.open += 1
        if self.refusal is not None:
            self.bury(delivery, self.refusal(), attempt=0)
        elif flow.is_closed:
            self.bury(delivery, FlowClosedError(), attempt=0)
        elif delivery[3] > self.max_hops:
            self.bury(delivery, TooManyHopsError(self.max_hops), attempt=0)
        else:
            self.queue.extend(delivery)
            self.ensure_worker()

    def ensure_worker(self) -> None:
        """See to it that somebody takes the next delivery out of the queue."""
        raise NotImplementedError

    def _is_wanted(self, subscription: Subscription, delivery: "Delivery") -> bool:
        assert subscription.when is not None
        try:
            return bool(subscription.when(delivery[1]))
        except BaseException as error:  # noqa: BLE001 - the handler does not get the event, and that is told
            self.received += 1
            delivery[2].open += 1
            self.bury(delivery, self.cause_of(error), attempt=0)
            return False

    # -- joins -----------------------------------------------------------------------------------------------------

    def _take_to_join(
        self, subscription: Subscription, event: Event, flow: Flow, hops: int, variables: Variables
    ) -> None:
        rule = subscription.join
        assert rule is not None
        rounds = flow.rounds
        if rounds is None:
            rounds = flow.rounds = {}
        current = rounds.get(subscription)
        if current is None:
            current = rounds[subscription] = Round(subscription, rule)
            if rule.timeout_s is not None:
                self.limit_round(flow, subscription, current, rule.timeout_s)
        if not current.take(event, hops, variables):
            self.note(IGNORED, flow, event, subscription.name)
        elif current.is_complete():
            del rounds[subscription]
            current.stop_timer()
            for other in current.have():
                if other is not event:
                    self.note(JOINED, flow, other, subscription.name, error=stamps_of(event)[0])
            self.deliver((subscription, event, flow, current.hops, variables, monotonic(), current.arguments()))

    def limit_round(self, flow: Flow, key: object, limited: Round, timeout_s: float) -> None:
        """Give a round up when its time is over."""
        # In an empty context, as a timer would keep alive whatever the variables of this task lead to.
        limited.timer = self.loop.call_later(
            timeout_s, self._round_is_late, flow, key, limited, timeout_s, context=contextvars.Context()
        )

    def _round_is_late(self, flow: Flow, key: object, late: Round, timeout_s: float) -> None:
        if flow.rounds is not None and flow.rounds.get(key) is late:
            del flow.rounds[key]
        self.give_up_round(flow, late, f"its `timeout` of {timeout_s:g} s is over")


__all__ = ["Routing"]
