"""The engine of a bus: one queue, and workers that run handlers from it one after another.

- A worker runs a handler in its own task, so a handler that never waits costs no task switch. While handlers wait, the
  queue is the next worker's: before a handler begins there is always one more, ready to run, if there is work for it.
- A worker that finds the queue empty ends; an idle bus has no task.
- A bus-wide slice of time bounds how long workers go on before everything else on the loop has its turn.
"""

import asyncio
import contextlib
import contextvars
import threading
import uuid
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from miniagents.events._ending import Ending
from miniagents.events._ledger import OPEN
from miniagents.events._limits import Limits
from miniagents.events._runs import HandlerRun
from miniagents.events._slots import EventSlots, Slots
from miniagents.events._subscriptions import DELIVERY_PARTS, EVENT_PART, Delivery, Subscription
from miniagents.events._variables import in_variables
from miniagents.events.flow import Flow
from miniagents.events.trace import HANDLED, RETRIED, Trace
from miniagents.promising._producer import current_producer
from miniagents.promising._reporting import one_line
from miniagents.promising._waiting import AnyTask, give_way
from miniagents.promising.sentinels import Sentinel
from miniagents.tracing.spans import OpenSpan, SpanMaker, span_maker

if TYPE_CHECKING:
    from miniagents.events.bus import EventBus
    from miniagents.journal._work_records import WorkRecords
    from miniagents.miniagents import MiniAgents

OVER: Final = Sentinel("OVER")

SLICE_S: Final = 0.003
"""How long workers may go on without giving way."""


class Engine(Ending):
    """What drives one bus."""

    def __init__(self, bus: "EventBus", trace: Trace, limits: Limits) -> None:
        super().__init__(bus, trace, limits)
        kind_of_slots = Slots if limits.counts == "handlers" else EventSlots
        self.slots = kind_of_slots(limits.max_concurrency, self.ensure_worker)
        # What makes a span of each run, where the context has telemetry.
        self._spans: SpanMaker | None = None
        self.records: WorkRecords | None = None
        """What records each run, where the context has a journal."""
        self._kind_of_run = HandlerRun
        self._is_watched = False
        self._slice_ends = 0.0
        self._slice_is_over = False
        self._variables = contextvars.Context()

    def open(self, context: "MiniAgents", records: "WorkRecords | None") -> None:
        """Begin to work, in `context`."""
        self.context = context
        self.loop = asyncio.get_running_loop()
        self.thread_id = threading.get_ident()
        self.state = OPEN
        self.trace.bus_has_begun()
        self.prefix = f"{uuid.uuid4().hex[:16]}-"
        self._spans = span_maker(context)
        self.records = records
        if records is not None:
            # Loaded when used: most programs have no journal.
            from miniagents.events._journaled_run import JournaledRun

            self._kind_of_run = JournaledRun
        self._is_watched = self._spans is not None or records is not None
        self._variables = contextvars.copy_context()
        # Workers are nobody's work in particular.
        self._variables.run(current_producer.set, None)

    # -- workers -------------------------------------------------------------------------------------------------

    def ensure_worker(self) -> None:
        """See to it that somebody takes the next delivery out of the queue."""
        if not self.ready and not self.is_at_work and self.queue:
            slots = self.slots
            if slots.taken < slots.limit or slots.holds(self.queue[EVENT_PART]):
                self._spawn()

    def _ensure_two_workers(self) -> None:
        """A handler waits, and the next ones may do so as well: that all of them begin soon, workers double."""
        for _ in range(2):
            ready = len(self.ready)
            following = ready * DELIVERY_PARTS
            slots = self.slots
            if len(self.queue) > following and (
                slots.taken + ready < slots.limit or slots.holds(self.queue[following + EVENT_PART])
            ):
                self._spawn()

    def _spawn(self) -> None:
        task = self.loop.create_task(self._work(), name="event worker", context=self._variables)
        self.ready.add(task)
        self.workers[task] = None
        self.context.background.adopt(task, None)
        task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: AnyTask) -> None:
        del self.workers[task]
        self.ready.discard(task)
        self.context.background.release(task)
        if task.cancelled():
            if self._is_being_ended():
                self.abandon()
        elif (error := task.exception()) is not None:
            # Only what is wrong in this package itself gets here.
            self.loop.call_exception_handler({"message": "An event worker failed", "exception": error, "task": task})
        self.ensure_worker()

    def _is_being_ended(self) -> bool:
        """Whether a worker was cancelled because everything ends: else somebody meant one handler alone."""
        # Where the loop of a program ends that left its context open, all that is left is cancelled together.
        others = asyncio.all_tasks(self.loop) - self.ready
        return self.context.is_cancelling or all(task.cancelling() for task in others)

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._slice_is_over:
            await give_way()
        self.ready.discard(task)
        self.now = monotonic()
        if self.now >= self._slice_ends:
            self._begin_slice()
        self.is_at_work = True
        try:
            await self._work_on(task)
        finally:
            self.is_at_work = False
            # Else the last flow would live until the next event.
            self.run_at_once = None

    async def _work_on(self, task: AnyTask) -> None:
        queue, slots, ready, gone = self.queue, self.slots, self.ready, self.gone
        take = queue.popleft
        while queue and (slots.taken < slots.limit or slots.holds(queue[EVENT_PART])):
            delivery = (take(), take(), take(), take(), take(), take(), take())
            if gone and (known_by := (id(delivery[0]), id(delivery[1]))) in gone:
                gone.discard(known_by)
                continue
            if self.waiting_for_room:
                self.tell_room()
            if delivery[0].is_limited and not self._admits(delivery):
                continue
            ended = self._start(delivery, task)
            if ended.__class__ is not float:
                # It waits for something: what is in the queue is somebody else's meanwhile.
                self.is_at_work = False
                self._ensure_two_workers()
                ended = await ended
                if ended is None:
                    return
                self.now = ended
                self.is_at_work = True
            if ended >= self._slice_ends:
                if not self._slice_is_over:
                    self._slice_is_over = True
                    self.loop.call_soon(self._begin_slice)
                if ready:
                    return
                ready.add(task)
                self.is_at_work = False
                await give_way()
                self.now = monotonic()
                self.is_at_work = True
                ready.discard(task)

    def _begin_slice(self) -> None:
        self._slice_is_over = False
        self._slice_ends = monotonic() + SLICE_S

    def _admits(self, delivery: Delivery) -> bool:
        subscription: Subscription = delivery[0]
        try:
            is_admitted = subscription.admits(delivery)
        except BaseException as error:  # noqa: BLE001 - a `key` function failed, which is this delivery's error
            self.bury(delivery, self.cause_of(error), attempt=0)
            return False
        if not is_admitted:
            self.limited[subscription] = None
            self.held += 1
        return is_admitted

    def _start(self, delivery: Delivery, task: AnyTask) -> Any:
        """Run one handler up to its first wait. Give the time when it was over, or what is to be awaited for that.

        Most of what handlers do is over at once, and is not to cost a coroutine.
        """
        subscription: Subscription = delivery[0]
        run = self.run_at_once = self._kind_of_run(self, delivery, task)
        began = self.now
        variables: contextvars.Context = delivery[4].copy()
        if not subscription.is_simple or self._is_watched:
            return self._attend(run, delivery, began, self._work_of(run, variables))
        attempt: Any = run.attempt_once()
        try:
            # Its end is told by `next` without an exception, which would cost as much as many a handler.
            waits_for = variables.run(next, attempt, OVER)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it becomes a dead letter
            return self._attend(run, delivery, began, raised(error))
        if waits_for is not OVER:
            return self._attend(run, delivery, began, in_variables(variables, attempt, waits_for))
        if run.cancelled_with is not None or task.cancelling():
            # The worker was cancelled with it, although nothing is left to be done.
            return self._attend(run, delivery, began, run.finish(None))
        run.is_over = True
        ended = self.now = monotonic()
        self._handled(run, delivery, ended, ended - began)
        return ended

    async def _work_of(self, run: HandlerRun, variables: contextvars.Context) -> None:
        span = None if self._spans is None else variables.run(self._begin_span, self._spans, run)
        try:
            await run.attempt_all(variables)
        except BaseException as error:
            if span is not None:
                span.end(error)
            raise
        if span is not None:
            span.end(None)

    def _attend(
        self, run: HandlerRun, delivery: Delivery, began: float, work: Awaitable[Any]
    ) -> Coroutine[Any, Any, float | None]:
        """Give what is to be awaited for the rest of a handler's work; from here on it has a place of its own."""
        assert run.task is not None
        # In its first step it may have begun to wait for the bus.
        run.has_place = not run.waits
        if run.has_place:
            self.slots.take(run.event)
        self.workers[run.task] = run
        flow = run.flow
        if flow.runs is None:
            flow.runs = {run}
        else:
            flow.runs.add(run)
        return self._rest_of(run, delivery, began, work)

    def _begin_span(self, spans: SpanMaker, run: HandlerRun) -> OpenSpan:
        name, stamps = run.subscription.name, run.event.stamps
        return spans.begin(
            f"handle {name}",
            {
                "miniagents.event.handler": name,
                "miniagents.event.type": type(run.event).__name__,
                "miniagents.event.flow_id": run.flow.id,
                **{f"miniagents.event.{stamp}": value for stamp, value in stamps.items()},
            },
        )

    async def _rest_of(self, run: HandlerRun, delivery: Delivery, began: float, work: Awaitable[Any]) -> float | None:
        """Await the rest of a handler's work; give the time when it was over, or None if the worker is to end."""
        task = run.task
        assert task is not None
        error: BaseException | None = None
        try:
            await work
        except BaseException as caught:  # noqa: BLE001 - whatever it is, it becomes a dead letter
            error = self._cause_of_failure(run, caught)
        ended = monotonic()
        if run.is_over:
            # It was left behind when the bus stopped, and is accounted for.
            return None
        if task.cancelling() and run.cancelled_with is None and self._is_being_ended():
            # Before its place is given back: else the next handler would begin.
            self.abandon()
        self.workers[task] = run.task = None
        self.leave_flow(run)
        run.is_over = True
        if run.has_place:
            run.has_place = False
            self.slots.give_back(run.event)
        letter = run.letter
        if letter is not None:
            # Its flow was cancelled, and said so.
            error = letter.error
        if error is None:
            self._handled(run, delivery, ended, ended - began)
        else:
            self._release_turn(delivery)
            died = run.cause_of_letter(delivery)
            self.bury(died, error, attempt=run.attempt, duration_s=ended - began, letter=letter)
        if run.cancelled_with is not None:
            await self._swallow_cancellation(task)
            return None
        if task.cancelling():
            # By somebody else. What is in the queue is the next worker's, unless everything ends.
            raise asyncio.CancelledError
        return ended

    def _cause_of_failure(self, run: HandlerRun, error: BaseException) -> BaseException:
        if isinstance(error, asyncio.CancelledError) and run.cancelled_with is not None:
            return run.cancelled_with
        return self.cause_of(error)

    async def _swallow_cancellation(self, task: AnyTask) -> None:
        """Take the cancellation that was meant for a handler, if that ended without having got it."""
        with contextlib.suppress(asyncio.CancelledError):
            await give_way()
        while task.cancelling():
            task.uncancel()

    def _release_turn(self, delivery: Delivery) -> None:
        subscription: Subscription = delivery[0]
        if subscription.is_limited:
            self.move_line(subscription, delivery)

    def _handled(self, run: HandlerRun, delivery: Delivery, ended: float, duration_s: float) -> None:
        if delivery[0].is_limited:
            self._release_turn(delivery)
        self.handled += 1
        flow, note = run.flow, self.trace.note
        if note is not None:
            event = run.event
            name = run.subscription.name
            note((HANDLED, flow.id, event.id, event.causation_id, event.class_, name, ended, duration_s, None))
        open_now = flow.open = flow.open - 1
        if not open_now:
            if flow.rounds:
                self.settle(flow)
            else:
                flow.end()
        if self.idle.waiters is not None and self.is_idle():
            self.idle.wake()

    # -- what runs asks ------------------------------------------------------------------------------------------

    def gives_up(self, flow: Flow) -> bool:
        """Whether nothing of `flow` is tried again."""
        return self.refusal is not None or flow.is_closed

    def note_retry(self, run: HandlerRun, error: BaseException) -> None:
        """Put a failed attempt into the trace."""
        self.note(RETRIED, run.flow, run.event, run.subscription.name, error=one_line(error))


async def raised(error: BaseException) -> None:
    """Raise what was raised already."""
    raise error


__all__ = ["Engine"]
