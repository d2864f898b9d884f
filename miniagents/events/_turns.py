"""Who waits for whom on a bus: what lets a wait that cannot end be told from one that is merely long.

A handler that waits for the bus gives its place among `max_concurrency` back, but not its turn: with `concurrency=1`
one event at a time means that the next begins when the one before is done. So a wait for something that stands in line
behind the handler itself never ends, and is refused; `miniagents.promising` finds it out.
"""

import contextvars
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miniagents.events._subscriptions import Delivery, Subscription
from miniagents.promising._waiting import AnyTask, Source

if TYPE_CHECKING:
    from miniagents.events._ending import Ending
    from miniagents.events.flow import Flow


class Turns:
    """Knows, at this moment, what stands in line behind whom."""

    def __init__(self, engine: "Ending") -> None:
        self._engine = engine
        # As long as nothing moves; there may be many who ask, one after the other.
        self._seen: tuple[int, ...] | None = None
        self._held: dict[int, list[Delivery]] = {}

    def tasks_of(self, flow: "Flow") -> list[AnyTask] | None:
        """Give the tasks that can add something to `flow`; None if that is not known."""
        held = self._held_of(flow)
        runs = flow.runs or ()
        if flow.rounds or len(runs) + len(held) < flow.open:
            return None
        tasks = [run.task for run in runs if run.task is not None]
        for delivery in held:
            holders = self._holders(delivery)
            if holders is None:
                return None
            tasks += holders
        return tasks

    def advice(self, flow: "Flow") -> str | None:
        """Say what mends a wait for `flow`, if that waits for somebody's turn."""
        return _advice([delivery[0] for delivery in self._held_of(flow)])

    def _held_of(self, flow: "Flow") -> list[Delivery]:
        engine = self._engine
        now = (engine.received, engine.handled, engine.dead, len(engine.queue))
        if now != self._seen:
            self._look()
            self._seen = now
            # It must keep nothing alive.
            engine.loop.call_soon(self._forget, context=contextvars.Context())
        return self._held.get(id(flow), [])

    def _look(self) -> None:
        self._held = {}
        for limited in self._engine.limited:
            for delivery in limited.waiting():
                self._held.setdefault(id(delivery[2]), []).append(delivery)
        for task, run in self._engine.workers.items():
            # Asked by what is to name who waits.
            task.set_name("event worker" if run is None else f"handler {run.subscription.name}")

    def _forget(self) -> None:
        self._seen = None
        self._held = {}

    def _holders(self, delivery: Delivery) -> list[AnyTask] | None:
        """Give the tasks of the handlers of which one must end before this one begins; None if that is not known."""
        limited: Subscription = delivery[0]
        runs = [
            (task, run.event)
            for task, run in self._engine.workers.items()
            if run is not None and run.subscription is limited
        ]
        of_same_key = [task for task, event in runs if limited.have_same_key(event, delivery[1])]
        if of_same_key or len(runs) >= limited.running:
            return of_same_key or [task for task, _ in runs]
        return None


class Room(Source):
    """The wait for room on a full bus."""

    __slots__ = ("_engine",)

    def __init__(self, engine: "Ending") -> None:
        super().__init__()
        self._engine = engine

    def writers(self) -> Iterable[AnyTask]:
        """Give the tasks that work on what waits."""
        return list(self._engine.workers)

    def describe(self) -> str:
        """Name it."""
        return "room on an event bus"

    def advice(self) -> str:
        """Say what mends a wait that cannot end."""
        return _advice([known for known in self._engine.limited if known.held]) or (
            "Reply with events, which are always taken, or give the bus a larger `max_pending`."
        )


def _advice(limited: list[Any]) -> str | None:
    if not limited:
        return None
    names = ", ".join(dict.fromkeys(f"`{known.name}` ({_limits_of(known)})" for known in limited))
    return (
        f"What it waits for stands in line for {names}, whose turn is not given back while it waits. Reply with the "
        "event, or register the handler without that limit."
    )


def _limits_of(limited: Subscription) -> str:
    limits = ["`key`"] if limited.key is not None else []
    if limited.concurrency is not None:
        limits.append(f"`concurrency={limited.concurrency}`")
    return ", ".join(limits)


__all__ = ["Room", "Turns"]
