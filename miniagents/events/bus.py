"""`EventBus`: takes events in, delivers them to whoever wants them, and keeps the books.

async with EventBus() as bus:
    result = await bus.ask(Text(text="..."), Summary)
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from types import NoneType, TracebackType
from typing import Any, Final, Literal, NoReturn, Self, TypeVar, cast

from miniagents.errors import DeadlockError, SyncWithError
from miniagents.events._engine import Engine
from miniagents.events._ledger import FRESH, OPEN
from miniagents.events._limits import Limits
from miniagents.events._options import check_choice, check_class, seconds, whole_number
from miniagents.events._registration import checked_event, checked_types
from miniagents.events._slots import outside_of_handler
from miniagents.events._subscriptions import JoinRule, Subscription
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.errors import AskTimeoutError, BusStoppedError, FlowFailedError, RegistrationError
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.shared_memory import SharedMemory
from miniagents.events.stats import BusStats
from miniagents.events.trace import Trace
from miniagents.miniagents import MiniAgents
from miniagents.promising.context import PromisingContext

MAX_TRACE_EVENTS: Final = 10_000
HANDLER = TypeVar("HANDLER")
E = TypeVar("E", bound=Event)


class EventBus:
    """Delivers events to handlers, which reply with events.

    Use it in `async with`. Leaving the block delivers everything that is there, and all that follows from it; if an
    error leaves the block, what is not delivered becomes dead letters. It works in the `MiniAgents` context that is
    active, and makes one for itself if there is none.

    Args:
        max_concurrency: how many handlers may run at once, not counting those that wait for the bus itself.
        max_pending: how many deliveries may wait before `emit` refuses events and `publish` waits. What handlers reply
            with is always taken, so that a full bus empties itself.
        max_hops: how many events away from the emitted one an event may be before it is no longer delivered.
        shared_memory: what `ctx.shared_memory` begins with: a dict, or a `SharedMemory` that several buses share.
        max_trace_events: how many of the last trace events are kept; 0: none; not given: 10,000.
        drain_timeout_s: how long leaving the block, or `stop()` without a `timeout`, delivers before the rest becomes
            dead letters and what runs is cancelled; None: as long as it takes.
        max_dead_letters: how many of the last dead letters are in `dead_letters`; they keep their events and errors.
        terminate_event: what a `TerminateEvent` ends: the flow that it is part of, or the bus, as `terminate()` does.
        concurrency_counts: what `max_concurrency` counts: running handlers, or events that have some.
        trace: the trace to write, in place of one of its own; several buses may share it. It has its own size.

    Raises:
        RegistrationError: an option is not what it should be.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 128,
        max_pending: int = 10_000,
        max_hops: int = 100,
        shared_memory: Mapping[str, Any] | SharedMemory | None = None,
        max_trace_events: int | None = None,
        drain_timeout_s: float | None = None,
        max_dead_letters: int = 10_000,
        terminate_event: Literal["closes_flow", "stops_bus"] = "closes_flow",
        concurrency_counts: Literal["handlers", "events"] = "handlers",
        trace: Trace | None = None,
    ) -> None:
        name = type(self).__name__
        check_choice(terminate_event, "terminate_event", name, ("closes_flow", "stops_bus"))
        check_choice(concurrency_counts, "concurrency_counts", name, ("handlers", "events"))
        check_class(trace, "trace", name, (Trace, NoneType), "a `Trace`, such as `Tracer()`")
        check_class(
            shared_memory, "shared_memory", name, (SharedMemory, Mapping, NoneType), "a dict or a `SharedMemory`"
        )
        if trace is not None and max_trace_events is not None:
            raise RegistrationError(f"`{name}` takes `trace`, which has its own size, or `max_trace_events`, not both.")
        kept = MAX_TRACE_EVENTS if max_trace_events is None else max_trace_events
        self.trace = Trace(whole_number(kept, "max_trace_events", name, at_least=0)) if trace is None else trace
        """What happened; see `Trace`."""
        self.shared_memory = shared_memory if isinstance(shared_memory, SharedMemory) else SharedMemory(shared_memory)
        """What all handlers know together."""
        self._drain_timeout_s = (
            None if drain_timeout_s is None else seconds(drain_timeout_s, "drain_timeout_s", name, zero_is_fine=True)
        )
        limits = Limits(
            max_concurrency=whole_number(max_concurrency, "max_concurrency", name, at_least=1),
            counts=concurrency_counts,
            max_pending=whole_number(max_pending, "max_pending", name, at_least=1),
            max_hops=whole_number(max_hops, "max_hops", name, at_least=0),
            max_dead_letters=whole_number(max_dead_letters, "max_dead_letters", name, at_least=0),
            terminate_event=terminate_event,
        )
        self._engine = Engine(self, self.trace, limits)
        self._engine.owns_trace = trace is None
        self._own_context: MiniAgents | None = None

    # -- registering ---------------------------------------------------------------------------------------------

    def on(
        self,
        *types: type[Event],
        when: Callable[[Any], object] | None = None,
        concurrency: int | None = None,
        key: Callable[[Any], object] | None = None,
        retries: int = 0,
        backoff_s: float = 0.0,
        timeout: float | None = None,
    ) -> Callable[[HANDLER], HANDLER]:
        """Register a handler for events of these classes and of their subclasses: `@bus.on(Ordered)`.

        A handler is `async def f(ctx, event)`, which replies through `ctx.reply` (see `HandlerContext`), or an agent,
        which gets the event as its message. What it returns, or yields, is a reply too. It gets each event once,
        however many of its classes fit, and begins with the events in the order in which they came.

        Args:
            types: classes of events; `Event` is every event, dead letters included.
            when: a function of the event; the handler gets those for which it gives true.
            concurrency: how many events it may work on at once; with 1 it ends them in the order in which they came.
            key: a function of the event; of events with equal keys the next begins when the one before has ended.
            retries: how often it is called again after it has failed. What it replied before that stands.
            backoff_s: how long it pauses before the first of these calls, twice as long before each further one.
            timeout: how many seconds one call may take.

        Raises:
            RegistrationError: a type is no class of events, the handler takes no event or is not async, or an option
                is not what it should be.
        """
        wanted = checked_types(types, "on")

        def register(handler: HANDLER) -> HANDLER:
            subscription = Subscription(handler, wanted)
            subscription.configure(
                when=when, concurrency=concurrency, key=key, retries=retries, backoff_s=backoff_s, timeout=timeout
            )
            self._engine.routes.add(subscription)
            return handler

        return register

    def join(
        self,
        *types: type[Event],
        timeout: float | None = None,
        on_timeout: object = None,
        duplicates: Literal["first", "last", "list"] = "first",
        count: int = 1,
    ) -> Callable[[HANDLER], HANDLER]:
        """Register a handler that gets one event of each of these classes at once: `async def f(ctx, a, b, c)`.

        They are events of one flow, in whatever order they come. When all are there the handler is called; what comes
        later begins a new round. A round that is incomplete when its flow has nothing more to do, or when its timeout
        is over, becomes a dead letter with a `JoinIncompleteError`.

        Args:
            types: classes of events, each different.
            timeout: how many seconds a round may take from its first event on.
            on_timeout: a handler `async def f(ctx, events)` that is called with the tuple of what is there, in place of
                the dead letter.
            duplicates: what becomes of a further event of a class that is complete while others are missing: `"first"`
                ignores it, `"last"` lets it take the place of the oldest, `"list"` adds it. With `"list"` each argument
                is a tuple of events.
            count: how many events of each class are needed. With more than one, each argument is a tuple of events.

        Raises:
            RegistrationError: a type is no class of events, the handler does not take them, or an option is not what
                it should be.
        """
        wanted = checked_types(types, "join")
        if len(set(wanted)) < len(wanted):
            raise RegistrationError("`bus.join()` takes each class once; for several events of one use `count=`.")
        check_choice(duplicates, "duplicates", "join", ("first", "last", "list"))
        needed = whole_number(count, "count", "join", at_least=1)
        limit_s = None if timeout is None else seconds(timeout, "timeout", "join")
        instead = None if on_timeout is None else Subscription(on_timeout, wanted)

        def register(handler: HANDLER) -> HANDLER:
            rule = JoinRule(wanted, needed, duplicates, limit_s, instead)
            self._engine.routes.add(Subscription(handler, wanted, arguments=len(wanted), join=rule))
            return handler

        return register

    def off(self, handler: object) -> None:
        """Take a handler, or a join, off; it gets no event that comes from now on, only what waits for it already.

        Raises:
            RegistrationError: it is not registered here.
        """
        self._engine.routes.remove(handler)

    def set_types(self, handler: object, *types: type[Event]) -> None:
        """Let a handler that is registered get events of exactly these classes from now on; its options stay.

        Raises:
            RegistrationError: a type is no class of events, or the handler is not registered here.
        """
        self._engine.routes.set_types(handler, checked_types(types, "set_types"))

    # -- emitting ------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> Flow:
        """Send an event on its way, and give everything that will follow from it. No handler begins inside this call.

        What is delivered is a copy with stamps: a new id, and, unless they were given, the correlation id and the
        source. An event that has an id already becomes the cause of its copy.

        Raises:
            QueueFullError: `max_pending` deliveries wait already.
            BusStoppedError: the bus was not entered, or is stopped.
            TypeError: it is no event.
        """
        return self._engine.emit(checked_event(event))

    async def publish(self, event: Event) -> Flow:
        """Wait until fewer than `max_pending` deliveries wait, then emit.

        Raises:
            BusStoppedError: the bus was not entered, or is stopped.
            DeadlockError: a handler would wait for room that there is not before it has ended itself.
            TypeError: it is no event.
        """
        engine = self._engine
        checked_event(event)
        if engine.pending() < engine.max_pending:
            return engine.emit(event)
        return await engine.publish(event)

    async def ask(self, event: Event, wanted: type[E], *, timeout: float | None = None) -> E:
        """Emit an event and give the first event of the class `wanted` that follows from it.

        The flow goes on afterwards. It is cancelled if this is: nobody else has it.

        Args:
            event: what is emitted; waits for room like `publish`.
            wanted: a class of events.
            timeout: how many seconds to wait.

        Raises:
            FlowFailedError: the flow ended without such an event; it names what failed, and has the dead letters.
            AskTimeoutError: it took longer than `timeout`; a `TimeoutError`.
            DeadlockError: a handler asks for what stands in line behind itself, because of `concurrency=` or `key=`.
            BusStoppedError: the bus was not entered, or is stopped.
        """
        checked_types((wanted,), "ask")
        limit_s = None if timeout is None else seconds(timeout, "timeout", "ask")
        flow: Flow | None = None
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                flow = await self.publish(event)
                answer = await outside_of_handler(flow.watch(wanted))
        except BaseException as error:
            # Before it is cancelled, which makes dead letters of what was not to blame.
            failed = () if flow is None else flow.errors
            if flow is not None:
                flow.cancel("Nobody waits for the answer any more.")
            if isinstance(error, TimeoutError) and limit_s is not None and limit.expired():
                raise AskTimeoutError(wanted, limit_s, failed) from error
            raise
        if answer is None:
            error = FlowFailedError(wanted, flow.errors)
            raise error from next((letter.error for letter in flow.errors), None)
        return cast("E", answer)

    # -- the end -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._engine.state != FRESH:
            raise BusStoppedError("A bus is entered once; this one was entered before. Make another: `EventBus(...)`.")
        context = PromisingContext.find_current()
        if not isinstance(context, MiniAgents):
            context = self._own_context = await MiniAgents().__aenter__()
        self._engine.open(context, await _work_records(context))
        self.shared_memory.when_merged(self._engine.note_merge)
        return self

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        own_context, self._own_context = self._own_context, None
        try:
            await self._stop(drains=error is None, timeout_s=self._drain_timeout_s)
        finally:
            if own_context is not None:
                await own_context.__aexit__(error_class, error, traceback)

    def __enter__(self) -> NoReturn:
        raise SyncWithError(type(self).__name__)

    def __exit__(self, *_: object) -> None:
        """Never reached, as `__enter__` raises; it is here so that `with` gets as far as that."""

    async def stop(self, drain: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - published
        """Take no more events and end everything.

        With `drain`, everything that is there is delivered first, and all that follows from it, for `timeout` seconds
        at most (None: what `drain_timeout_s` says). Then, and at once without `drain`, what waits becomes dead letters,
        and what runs is cancelled and becomes dead letters too. A handler that ignores that is left behind after the
        `shutdown_grace_s` of the context, and named on the log.

        Raises:
            DeadlockError: a handler of the bus would wait for its own end; use `terminate()` there.
        """
        if self._engine.is_in_handler():
            raise DeadlockError(
                "A handler waits for the end of its own bus, which waits for the handler. Call `ctx.bus.terminate()`, "
                "which does not wait."
            )
        limit_s = self._drain_timeout_s if timeout is None else seconds(timeout, "timeout", "stop", zero_is_fine=True)
        await self._stop(drains=drain, timeout_s=limit_s)

    async def _stop(self, *, drains: bool, timeout_s: float | None) -> None:
        await self._engine.stop(drains=drains, timeout_s=timeout_s)
        self.shared_memory.forget(self._engine.note_merge)

    def terminate(self) -> None:
        """Take and deliver nothing more, from now on: what waits becomes dead letters, what runs is let finish.

        It does not wait; `await bus.stop()`, or leaving the block, does.
        """
        self._engine.terminate()

    async def wait_until_idle(self) -> None:
        """Wait until nothing is left to do: everything that came in was handled, or is a dead letter.

        Raises:
            DeadlockError: a handler of the bus would wait for its own end.
            WrongThreadError: the bus works on another event loop, which would not wake this one.
        """
        if self.is_in_handler():
            raise DeadlockError(
                "A handler waits until its own bus has nothing more to do, which is not before the handler has ended. "
                "Reply with an event, or wait outside of the handlers."
            )
        await self._engine.wait_until_idle()

    def is_in_handler(self) -> bool:
        """Whether this code is part of a handler of this bus, or was called by one."""
        return self._engine.is_in_handler()

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether events are taken."""
        return self._engine.state == OPEN

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The last `max_dead_letters` dead letters of all flows, in the order in which they came."""
        return tuple(self._engine.letters)

    @property
    def stats(self) -> BusStats:
        """The counts at this moment."""
        engine = self._engine
        pending = engine.pending()
        oldest = engine.oldest()
        return BusStats(
            received=engine.received,
            pending=pending,
            running=engine.received - engine.handled - engine.dead - pending,
            handled=engine.handled,
            dead=engine.dead,
            unrouted=engine.unrouted,
            oldest_age_s=0.0 if oldest is None else max(0.0, monotonic() - oldest),
        )

    def mermaid(self) -> str:
        """Give who gets what as a Mermaid diagram: routes, joins, the shared memory, and the replies seen so far."""
        # Loaded when used: not every program draws.
        from miniagents.events._mermaid import draw_bus

        return draw_bus(self._engine.routes.subscriptions, self.trace)


async def _work_records(context: MiniAgents) -> Any:
    """Give what records the work of handlers; None if the context has no journal."""
    for interceptor in context.interceptors:
        make = getattr(interceptor, "work_records", None)
        if make is not None:
            return await make()
    return None


__all__ = ["EventBus"]
