"""The end of flows and of a bus: what is let finish, what is stopped, and what becomes a dead letter.

fresh --open--> open --stop / terminate--> stopping --nothing is left to do--> stopped
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from miniagents.events._ledger import FRESH, OPEN, STOPPED, STOPPING
from miniagents.events._limits import Limits
from miniagents.events._routing import Routing
from miniagents.events._runs import HandlerRun
from miniagents.events._slots import find_run
from miniagents.events._subscriptions import (
    DELIVERY_PARTS,
    EVENT_PART,
    FLOW_PART,
    SINCE_PART,
    Delivery,
    Subscription,
)
from miniagents.events._turns import Room, Turns
from miniagents.events.errors import BusStoppedError, FlowClosedError
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.trace import Trace
from miniagents.promising._shutdown import leave_behind
from miniagents.promising._waiting import AnyTask, new_waiter
from miniagents.promising.errors import WrongThreadError

if TYPE_CHECKING:
    from miniagents.events.bus import EventBus


class Ending(Routing):
    """Ends flows, and the bus."""

    def __init__(self, bus: "EventBus", trace: Trace, limits: Limits) -> None:
        super().__init__(bus, trace, limits)
        self.workers: dict[AnyTask, HandlerRun | None] = {}
        """The tasks that run handlers, each with the one that waits in it now."""
        self.run_at_once: HandlerRun | None = None
        """The handler that was begun last: it runs at this moment, unless it is over or waits."""
        self._turns = Turns(self)
        self._room = Room(self)

    # -- flows ---------------------------------------------------------------------------------------------------

    def end_by(self, event: Event, flow: Flow) -> None:
        """End what a `TerminateEvent` ends; its own deliveries are made."""
        if self.limits.terminate_event == "stops_bus":
            self.terminate(spared=event)
        else:
            self.close_flow(flow, None, spared=event)

    def close_flow(self, flow: Flow, error: BaseException | None, *, spared: Event | None = None) -> None:
        """Make dead letters of what waits in `flow`, `spared` aside; with an error, stop what runs in it as well."""
        if flow.is_ended or (flow.is_closed and error is None):
            return
        flow.is_closed = True
        # Held open, so that it does not end in the middle.
        flow.open += 1
        for delivery in self._take_out_of(flow, spared):
            self.bury(delivery, error or FlowClosedError(), attempt=0)
        if error is not None:
            canceller = find_run()
            for run in self._stop_runs(error, flow.runs or (), lambda run: run.flow is flow):
                # Whoever has cancelled it is told at once what that has hit; itself, if at all, when it has ended.
                if run is not canceller:
                    run.letter = self.write_letter(run.subscription, run.event, flow, error, run.attempt, run.arguments)
        flow.open -= 1
        if not flow.open:
            self.settle(flow)

    def _take_out_of(self, flow: Flow, spared: Event | None) -> list[Delivery]:
        """Take what waits of `flow` out of the queue and out of all lines, `spared` aside.

        Many flows may be cancelled one after the other, and in that order. So nothing is looked at behind the last of
        this one, and what is taken out of the middle of the queue stays there, known as gone.
        """
        at_once = self.run_at_once
        runs = flow.runs or set()
        # Without itself, which is held open; too many at the most, which makes a longer search.
        waiting = flow.open - 1 - len(runs)
        waiting -= at_once is not None and at_once.flow is flow and not at_once.is_over and at_once not in runs
        taken: list[Delivery] = []
        for limited in list(self.limited):
            if waiting <= 0:
                break
            dropped = limited.drop_flow(flow, spared, waiting)
            taken += dropped
            waiting -= len(dropped)
            self.held -= len(dropped)
            if not limited.is_crowded():
                del self.limited[limited]
        if waiting > 0:
            taken += self._take_out_of_queue(flow, spared, waiting)
        self.tell_room()
        return taken

    def _take_out_of_queue(self, flow: Flow, spared: Event | None, most: int) -> list[Delivery]:
        self.drop_gone()
        queue, gone, parts = self.queue, self.gone, range(DELIVERY_PARTS)
        taken: list[Delivery] = []
        for index, other in enumerate(islice(queue, FLOW_PART, None, DELIVERY_PARTS)):
            if other is not flow:
                continue
            first = index * DELIVERY_PARTS
            known_by = (id(queue[first]), id(queue[first + EVENT_PART]))
            if known_by in gone:
                continue
            if queue[first + EVENT_PART] is not spared:
                gone.add(known_by)
                taken.append(tuple(queue[first + part] for part in parts))
            most -= 1
            if not most:
                break
        for delivery in taken:
            subscription: Subscription = delivery[0]
            if subscription.has_turn(delivery):
                self.move_line(subscription, delivery)
        return taken

    def drop_gone(self) -> None:
        """Take what is gone off the front of the queue."""
        queue, gone = self.queue, self.gone
        while gone and queue:
            known_by = (id(queue[0]), id(queue[EVENT_PART]))
            if known_by not in gone:
                return
            gone.discard(known_by)
            for _ in range(DELIVERY_PARTS):
                queue.popleft()

    def _take_out(self, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Take what waits and fits out of the queue and out of all lines."""
        taken = [delivery for limited in self.limited for delivery in limited.drop(is_wanted)]
        self.held -= len(taken)
        for limited in [limited for limited in self.limited if not limited.is_crowded()]:
            del self.limited[limited]
        in_queue = self._in_queue()
        self.queue.clear()
        self.gone.clear()
        for delivery in in_queue:
            subscription: Subscription = delivery[0]
            if not is_wanted(delivery):
                self.queue.extend(delivery)
                continue
            taken.append(delivery)
            if subscription.has_turn(delivery):
                self.move_line(subscription, delivery)
        self.tell_room()
        return taken

    def move_line(self, limited: Subscription, delivery: Delivery) -> None:
        """Put those into the queue that may begin now that `delivery` is done."""
        for following in limited.next_after(delivery):
            self.held -= 1
            self.queue.extend(following)
        if not limited.is_crowded():
            # Else it would live as long as the bus, also when it was taken off.
            self.limited.pop(limited, None)

    def _in_queue(self) -> list[Delivery]:
        parts, gone = iter(self.queue), self.gone
        deliveries = zip(*[parts] * DELIVERY_PARTS, strict=True)
        return [delivery for delivery in deliveries if not gone or (id(delivery[0]), id(delivery[1])) not in gone]

    def oldest(self) -> float | None:
        """Give since when that waits which has been waiting longest; None if nothing does."""
        self.drop_gone()
        # What is in the queue has come in order, but for what was in line before.
        firsts = [self.queue[SINCE_PART]] if self.queue else []
        return min((*firsts, *(limited.oldest() for limited in self.limited)), default=None)

    def _stop_runs(
        self, error: BaseException, waiting: Iterable[HandlerRun | None], is_wanted: Callable[[HandlerRun], bool]
    ) -> list[HandlerRun]:
        """Cancel handlers; give those that were not cancelled before."""
        wanted = [run for run in (*waiting, self.run_at_once) if run is not None and is_wanted(run)]
        return [run for run in wanted if run.stop(error)]

    @staticmethod
    def leave_flow(run: HandlerRun) -> None:
        """Take note that `run`, which has waited for something, adds nothing more to its flow."""
        runs = run.flow.runs
        if runs is not None:
            runs.discard(run)
            if not runs:
                run.flow.runs = None

    def tasks_of(self, flow: Flow) -> Iterable[AnyTask] | None:
        """Give the tasks that can add something to `flow`; None if that is not known."""
        return self._turns.tasks_of(flow)

    def advice_on(self, flow: Flow) -> str | None:
        """Say what mends a wait for `flow` that cannot end, if that waits for somebody's turn."""
        return self._turns.advice(flow)

    def room_waiter(self) -> "asyncio.Future[None]":
        """Give a future for one who waits for room."""
        return new_waiter(self._room)

    def draw_flow(self, flow: Flow) -> str:
        """Give what happened in `flow` as a Mermaid diagram."""
        # Loaded when used: not every program draws.
        from miniagents.events._mermaid import draw_flow

        return draw_flow(flow, self.trace)

    # -- the end -------------------------------------------------------------------------------------------------

    def terminate(self, *, spared: Event | None = None) -> None:
        """Take and deliver nothing more, `spared` aside; what runs is let finish."""
        if self.state == OPEN:
            self.state = STOPPING
        if self.refusal is None:
            # Else what waits was spared.
            self._deliver_no_more(spared)

    def _deliver_no_more(self, spared: Event | None = None) -> None:
        self.refusal = BusStoppedError.of_leftover
        for delivery in self._take_out(lambda delivery: spared is None or delivery[1] is not spared):
            self.bury(delivery, BusStoppedError.of_leftover(), attempt=0)
        waiting = list(self.waiting_for_room)
        self.waiting_for_room.clear()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(BusStoppedError())

    def abandon(self) -> None:
        """Deliver nothing more, and cancel what runs."""
        if self.state in (FRESH, STOPPED):
            return
        self.state = STOPPING
        self._deliver_no_more()
        self._stop_runs(BusStoppedError.of_leftover(), self.workers.values(), lambda _: True)

    async def stop(self, *, drains: bool, timeout_s: float | None) -> None:
        """Take nothing more, end everything, and end."""
        if self.state in (FRESH, STOPPED):
            self.state = STOPPED
            return
        if asyncio.get_running_loop() is not self.loop:
            # Waiting here for what only the other loop can do would have no end.
            raise BusStoppedError("A bus is stopped on the event loop on which it was entered; this is another one.")
        self.state = STOPPING
        try:
            if drains:
                async with asyncio.timeout(timeout_s):
                    await self.wait_until_idle()
        except TimeoutError:
            pass
        finally:
            if not self.is_idle():
                self.abandon()
            await self._wait_for_workers()
            self._have_stopped()

    def _have_stopped(self) -> None:
        # Two may wait for the end.
        if self.state != STOPPED:
            self.state = STOPPED
            self.trace.bus_has_ended(is_its_own=self.owns_trace)

    async def wait_until_idle(self) -> None:
        """Wait until nothing is left to do."""
        if self.state in (OPEN, STOPPING) and asyncio.get_running_loop() is not self.loop:
            raise WrongThreadError("wait for the end of all work of a bus")
        while not self.is_idle():
            await self.idle.add_waiter()

    async def _wait_for_workers(self) -> None:
        """Wait until all tasks have ended: those that were cancelled may take some time for that."""
        grace_s = self.context.shutdown_grace_s
        if self.workers:
            await asyncio.wait(list(self.workers), timeout=grace_s)
        left = {task: run for task, run in self.workers.items() if run is not None}
        if not left:
            return
        self.context.logger.error(
            "These handlers ignored their cancellation for %g s and are left behind: %s",
            grace_s,
            ", ".join(f"`{run.subscription.name}`" for run in left.values()),
        )
        leave_behind(left)
        for task, run in left.items():
            # They have had their grace, and are not to have another one from the context.
            self.context.background.release(task)
            # Whatever they do from now on, the books are closed.
            run.is_over = True
            self.leave_flow(run)
            delivery = (run.subscription, run.event, run.flow, run.hops, run.base, 0.0, run.arguments)
            error = run.cancelled_with or BusStoppedError.of_leftover()
            self.bury(delivery, error, attempt=run.attempt, letter=run.letter)


__all__ = ["Ending"]
