"""`AsyncDispatcher`: hands events to the agents of a `Router`, until it is stopped.

dispatcher = await AsyncDispatcher(router).start()
dispatcher.dispatch(TextEvent(text="..."))
await dispatcher.wait_for_empty_queue()
await dispatcher.stop()
"""

import asyncio
import threading
from collections.abc import Mapping
from types import NoneType, TracebackType
from typing import Any, Final, Self

from miniagents.errors import DeadlockError
from miniagents.events._agent_handler import AgentHandler
from miniagents.events._options import check_class, seconds, whole_number
from miniagents.events.bus import EventBus
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.errors import BusStoppedError
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.router import Router
from miniagents.events.shared_memory import SharedMemory
from miniagents.events.stats import BusStats
from miniagents.events.trace import Trace
from miniagents.events.tracer import Tracer
from miniagents.miniagents import MiniAgents
from miniagents.promising.context import PromisingContext

_NOT_STARTED: Final = (
    "The dispatcher takes no events before it is started: `dispatcher = await AsyncDispatcher(router).start()`."
)
_STOPPED: Final = (
    "The dispatcher takes no events: it is stopped. Dispatch before `stop()`, and before an agent returns a "
    "`TerminateEvent`, or make another dispatcher."
)


class _SharedContext(MiniAgents):
    """The context of dispatchers that found none: all of them on one loop share it, and the last one ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.users = 0


class AsyncDispatcher:
    """Hands events to the agents that a router names, and the events that these return to those that follow.

    An agent has one event in work at a time, in the order in which they came, unless its `concurrent_events` says
    otherwise; different agents work at once. Agents without `receive_event_async` are called in threads. What fails
    becomes a dead letter, and everything else goes on. A `TerminateEvent`, dispatched or returned, stops it.

    It is started and stopped, or used in `async with`, which delivers everything before it stops. It works in the
    `MiniAgents` context that is active, and in one of its own if there is none. A program that never stops it ends all
    the same.

    Args:
        router: who gets what.
        shared_working_memory: what agents know together, as `dispatcher.shared_working_memory`.
        batch_size: how many events are in work at once: more is faster, and changes nothing else.
        tracer: takes what happens; None: nothing is traced.
        max_pending: how many deliveries may wait before `dispatch` refuses events and `publish` waits.
        max_hops: how many events away from the dispatched one an event may be before it is no longer delivered.

    Raises:
        RegistrationError: one of them is not what it should be.
    """

    def __init__(
        self,
        router: Router,
        shared_working_memory: SharedMemory | None = None,
        batch_size: int = 5,
        tracer: Tracer | None = None,
        *,
        max_pending: int = 100_000,
        max_hops: int = 100,
    ) -> None:
        name = type(self).__name__
        check_class(router, "router", name, (Router,), "a `Router`, such as `Router({MyEvent: [agent]})`")
        memories = (SharedMemory, Mapping, NoneType)
        check_class(shared_working_memory, "shared_working_memory", name, memories, "a `SharedWorkingMemory` or a dict")
        check_class(tracer, "tracer", name, (Trace, NoneType), "a `Tracer`")
        self.router = router
        self.bus = EventBus(
            max_concurrency=whole_number(batch_size, "batch_size", name, at_least=1),
            concurrency_counts="events",
            terminate_event="stops_bus",
            max_pending=max_pending,
            max_hops=max_hops,
            shared_memory=shared_working_memory,
            max_trace_events=0 if tracer is None else None,
            trace=tracer,
        )
        """The bus that does the work."""
        # By the identity of the agent: itself, and what the bus calls for it.
        self._handlers: dict[int, tuple[Any, Any]] = {}
        self._context: MiniAgents | None = None
        self._own_context: _SharedContext | None = None
        self._thread_id: int | None = None
        self._is_stopped = False

    async def start(self) -> Self:
        """Begin to take events; give the dispatcher itself.

        Raises:
            BusStoppedError: it was stopped; make another.
            RegistrationError: an agent of the router cannot be called; the dispatcher is not started then.
        """
        if self._is_stopped:
            raise BusStoppedError("A stopped dispatcher does not start again. Make another: `AsyncDispatcher(router)`.")
        if self._context is not None:
            return self
        self.router.watch(self._take_routes)
        try:
            self._take_all_routes()
            await self._open()
        except BaseException:
            self.router.unwatch(self._take_routes)
            raise
        return self

    async def _open(self) -> None:
        context = PromisingContext.find_current()
        if not isinstance(context, MiniAgents):
            # Not by a block, as it may be stopped in another task, or never.
            context = _SharedContext().activate()
        if isinstance(context, _SharedContext):
            context.users += 1
            self._own_context = context
        self._context, self._thread_id = context, threading.get_ident()
        try:
            await self.bus.__aenter__()
        except BaseException:
            self._context = None
            await self._leave_own_context()
            raise

    def dispatch(self, event: Event) -> Flow:
        """Send an event on its way; give what follows from it, which need not be used. May be called in any thread.

        The event itself never changes; copies bear the ids. `dispatch(event).id` is the correlation id of all that
        follows, unless the event has one already.

        Raises:
            BusStoppedError: the dispatcher was not started, or is stopped.
            QueueFullError: `max_pending` deliveries wait already.
            TypeError: it is no event.
        """
        context = self._open_context()
        if threading.get_ident() == self._thread_id:
            return self.bus.emit(event)
        # Not the flow by itself, which can be awaited, and would be.
        return context.run_from_thread(lambda: [self.bus.emit(event)])[0]

    async def publish(self, event: Event) -> Flow:
        """Wait until fewer than `max_pending` deliveries wait, then dispatch.

        Raises:
            BusStoppedError: the dispatcher was not started, or is stopped.
            TypeError: it is no event.
        """
        self._open_context()
        return await self.bus.publish(event)

    def _open_context(self) -> MiniAgents:
        if self._context is None:
            raise BusStoppedError(_STOPPED if self._is_stopped else _NOT_STARTED)
        # While it stops, its own agents may still dispatch.
        if not self.bus.is_open and not self.bus.is_in_handler():
            raise BusStoppedError(_STOPPED)
        return self._context

    async def wait_for_empty_queue(self, timeout: float | None = None) -> bool:
        """Wait until everything that was dispatched, and all that followed, was handled or is a dead letter.

        Gives False if that took longer than `timeout` seconds, else True.

        Raises:
            DeadlockError: an agent of the dispatcher would wait for its own end.
        """
        limit_s = None if timeout is None else seconds(timeout, "timeout", "wait_for_empty_queue", zero_is_fine=True)
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                await self.bus.wait_until_idle()
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True

    async def stop(self, drain: bool = False, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - as `bus.stop`
        """Take no more events, let what is in work end, and end.

        What waits becomes dead letters; with `drain` it is delivered first, and all that follows from it. (`stop` of an
        `EventBus` does so by default.) What is in
        work after `timeout` seconds is cancelled and becomes dead letters too (None: it takes as long as it takes).
        `await wait_for_empty_queue()` before it loses nothing.

        Raises:
            DeadlockError: an agent of the dispatcher would wait for its own end; return a `TerminateEvent` there.
            BaseException: an exit, such as `SystemExit`, that an agent raised.
        """
        if self.bus.is_in_handler():
            raise DeadlockError(
                "An agent waits for the end of its own dispatcher, which waits for the agent. Return a "
                "`TerminateEvent`, which stops it without waiting."
            )
        limit_s = None if timeout is None else seconds(timeout, "timeout", "stop", zero_is_fine=True)
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._context is None:
            return
        self.router.unwatch(self._take_routes)
        if not drain:
            self.bus.terminate()
        try:
            async with asyncio.timeout(limit_s):
                await self.bus.wait_until_idle()
                self._give_up_sets()
                await self.bus.wait_until_idle()
        except TimeoutError:
            pass
        finally:
            await self._end()

    async def _end(self) -> None:
        self._give_up_sets()
        for handler in self._agent_handlers():
            handler.drop_waiters(BusStoppedError.of_leftover())
        try:
            await self.bus.stop(drain=False)
        finally:
            await self._leave_own_context()

    async def _leave_own_context(self) -> None:
        own_context, self._own_context = self._own_context, None
        if own_context is not None:
            own_context.users -= 1
            if not own_context.users:
                await own_context.afinalize()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop(drain=error is None)

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def shared_working_memory(self) -> SharedMemory:
        """What the agents know together."""
        return self.bus.shared_memory

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What failed, and what was not delivered: the last ten thousand of these; `stats.dead` counts all."""
        return self.bus.dead_letters

    @property
    def stats(self) -> BusStats:
        """The counts at this moment."""
        return self.bus.stats

    # -- routes ----------------------------------------------------------------------------------------------------

    def _take_all_routes(self) -> None:
        """Make the bus deliver what the router says now; nothing, if one of its agents cannot be called."""
        agents = {id(agent): agent for _, agent in self.router.routes}
        try:
            for agent in [*(agent for agent, _ in self._handlers.values()), *agents.values()]:
                self._take_routes(agent)
        except BaseException:
            for _, target in self._handlers.values():
                self.bus.off(target)
            self._handlers.clear()
            raise

    def _take_routes(self, agent: Any) -> None:
        """Make the bus deliver to `agent` what the router says now.

        Raises:
            RegistrationError: it cannot be called; nothing is delivered to it.
        """
        types = self.router.types_of(agent)
        known = self._handlers.get(id(agent))
        if known is None:
            if types:
                self._handlers[id(agent)] = (agent, self._register(agent, types))
        elif types:
            self.bus.set_types(known[1], *types)
        else:
            self.bus.off(known[1])
            del self._handlers[id(agent)]

    def _register(self, agent: Any, types: list[type[Event]]) -> Any:
        if callable(getattr(agent, "inquire", None)):
            # An agent of this package's own: each call is a new one, so any number may be in work.
            return self.bus.on(*types)(agent)
        return self.bus.on(*types, concurrency=getattr(agent, "concurrent_events", 1))(AgentHandler(agent))

    def _agent_handlers(self) -> list[AgentHandler]:
        return [target for _, target in self._handlers.values() if isinstance(target, AgentHandler)]

    def _give_up_sets(self) -> None:
        for handler in self._agent_handlers():
            handler.give_up_sets("the dispatcher was stopped")


__all__ = ["AsyncDispatcher"]
