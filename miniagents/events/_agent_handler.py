"""An agent of a router as a handler of the bus."""

import inspect
from collections.abc import AsyncIterable, Iterable
from typing import Any, Final, cast

from miniagents.events._collector import CollectedRound, Collector
from miniagents.events._runs import HandlerRun
from miniagents.events._slots import find_run
from miniagents.events._thread_calls import ended_with_block
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.handler_context import HandlerContext
from miniagents.promising._wording import shown

MOST_OPEN_SETS: Final = 10_000
"""How many incomplete sets, whose correlation ids were given from outside, an aggregator may have."""


class AgentHandler:
    """Calls `receive_event_async`, or `receive_event` in a thread, and replies with what that returns."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.alias = type(agent).__name__
        receive = getattr(agent, "receive_event_async", None)
        self._blocks = receive is None and not inspect.iscoroutinefunction(agent.receive_event)
        self._receive: Any = agent.receive_event if receive is None else receive
        collected = getattr(agent, "collected", None)
        self._collected = collected if isinstance(collected, Collector) else None
        if self._collected is not None:
            self._collected.begin(self)
        # Of those sets that belong to no flow, by correlation id; each with the flow that its first event was part of.
        self._open_sets: dict[str | None, tuple[CollectedRound, Flow]] = {}

    async def __call__(self, ctx: HandlerContext, event: Event) -> None:
        """Handle `event`."""
        try:
            if self._blocks:
                # Loaded when used: most agents are async.
                from miniagents.ext.llms._tools.threads import in_thread

                with ended_with_block():
                    result = await in_thread(self._receive_in_thread, event)
            else:
                result = self._receive(event)
                if isinstance(result, AsyncIterable):
                    await self._reply_one_by_one(ctx, cast("AsyncIterable[object]", result))
                    return
                result = await result
        finally:
            if self._collected is not None:
                self._keep_books(self._collected, event)
        for reply in self._events_of(result):
            ctx.reply(reply)

    def _receive_in_thread(self, event: Event) -> Any:
        try:
            return self._receive(event)
        except StopIteration as error:
            # No future can have it.
            raise RuntimeError(f"`receive_event` of `{self.alias}` raised StopIteration") from error

    async def _reply_one_by_one(self, ctx: HandlerContext, events: AsyncIterable[object]) -> None:
        async for event in events:
            for reply in self._events_of(event):
                await ctx.reply(reply)

    def _events_of(self, result: object) -> list[Event]:
        if result is None:
            return []
        if isinstance(result, Event):
            return [result]
        events: list[object] = [result]
        if isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
            events = list(cast("Iterable[object]", result))
        for event in events:
            if not isinstance(event, Event):
                raise TypeError(
                    f"`{self.alias}` returned {shown(event)}, which is no event. Return a list of events, such as "
                    "`[MyEvent(...)]`, and `[]` or None if nothing follows."
                )
        return cast("list[Event]", events)

    # -- sets that are incomplete ----------------------------------------------------------------------------------

    def _keep_books(self, collected: Collector, event: Event) -> None:
        """See to it that a set that is open now is given up when that is due."""
        run = cast("HandlerRun", find_run())
        flow, correlation_id = run.flow, event.correlation_id
        key = (run.subscription, correlation_id)
        group = collected.group_of(correlation_id)
        known = (flow.rounds or {}).get(key)
        if known is None and correlation_id in self._open_sets:
            known = self._open_sets[correlation_id][0]
        if isinstance(known, CollectedRound):
            if known.is_of(group):
                return
            known.stop_timer()
            (flow.rounds or {}).pop(key, None)
            self._open_sets.pop(correlation_id, None)
        if group is None:
            return
        opened = CollectedRound(run.subscription, collected, event, group)
        opened.hops, opened.variables = run.hops, run.base
        if correlation_id == flow.id:
            # The bus has made the id, so whatever has it is in this flow.
            if flow.rounds is None:
                flow.rounds = {}
            flow.rounds[key] = opened
        else:
            if len(self._open_sets) >= MOST_OPEN_SETS:
                oldest, its_flow = self._open_sets.pop(next(iter(self._open_sets)))
                run.engine.give_up_round(its_flow, oldest, f"{MOST_OPEN_SETS} other sets were begun after it")
            self._open_sets[correlation_id] = (opened, flow)
        if collected.timeout_s is not None:
            run.engine.limit_round(flow, key, opened, collected.timeout_s)

    def give_up_sets(self, reason: str) -> None:
        """Make dead letters of all sets that are incomplete."""
        open_sets, self._open_sets = self._open_sets, {}
        for opened, flow in open_sets.values():
            flow.engine.give_up_round(flow, opened, reason)

    def drop_waiters(self, error: BaseException) -> None:
        """Tell those who wait for complete sets that nothing will come."""
        if self._collected is not None:
            self._collected.drop_waiters(self, error)


__all__ = ["AgentHandler"]
