"""The task behind a promise: who starts it, who owns it, how it is stopped.

A producer fills one target (a stream's buffer, or a promise that resolves to one value). It runs in a task of its own,
in a copy of the context variables of the place where the promise was made, so that no reader can harm it by leaving.

    not launched --launch()--> running --the task ends--> gone
          |                       |
          +------cancel()---------+---> its target has ended already when the task hears of it

- Only the event loop's thread changes a state. Whatever ends the task, `_task_ended` runs afterwards: it closes a
  target that was left open (a task cancelled before its first step runs no code at all), so that nobody waits for the
  dead.
- A producer knows what it has started and what is still running. Cancelling it cancels those too, except for what
  somebody outside of the cancelled tree is reading.
"""

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Protocol

from miniagents.promising._failure import Failure
from miniagents.promising._waiting import AnyTask, check_loop, running_loop
from miniagents.promising.errors import PromiseCancelledError


class TaskKeeper(Protocol):
    """Keeps the running tasks of a context; see `_background.py`."""

    def adopt(self, task: AnyTask, producer: "Producer | None") -> None:
        """Keep `task` until `release`."""
        ...

    def release(self, task: AnyTask) -> None:
        """Forget `task`, which has ended."""
        ...

    def park(self, task: AnyTask) -> None:
        """Take note that `task` now waits for a reader that is not there."""
        ...

    def doom(self, task: AnyTask) -> None:
        """Take note that `task` was cancelled and should end by itself soon."""
        ...

    def unpark(self, task: AnyTask) -> None:
        """Take note that `task` goes on."""
        ...


class ProducerContext(Protocol):
    """What a producer needs of the context that it works in; see `PromisingContext`."""

    is_active: bool
    loop: asyncio.AbstractEventLoop | None

    @property
    def background(self) -> TaskKeeper:
        """Where its task is kept."""
        ...

    def failure(self, error: BaseException, producer: "Producer | None", what: str | None = None) -> Failure:
        """Keep `error`, so that it is reported if nobody receives it."""
        ...


class Target(Protocol):
    """What a producer fills."""

    def is_settled(self) -> bool:
        """Whether nothing can be added any more."""
        ...

    def fail(self, failure: Failure) -> None:
        """End with an error."""
        ...

    def forget_producer(self) -> None:
        """The producer has nothing more to do here."""
        ...

    def reading_tasks(self) -> Iterable[AnyTask]:
        """Give the tasks that are reading this now."""
        ...


MAX_NAMES = 12
"""How many callers a log line names."""

current_producer: contextvars.ContextVar["Producer | None"] = contextvars.ContextVar("current_producer", default=None)


class Producer:
    """The running side of a promise. Subclasses say in `main` what is produced."""

    __slots__ = ("__weakref__", "context", "is_over", "owner", "started", "target", "task", "variables")

    def __init__(self, context: ProducerContext, target: Target, *, is_lazy: bool) -> None:
        self.context = context
        self.target: Target | None = target
        self.owner = current_producer.get()
        self.started: set[Producer] | None = None
        self.task: AnyTask | None = None
        self.is_over = False
        """Whether `main` has done all that it does."""
        # A lazy producer runs when somebody asks, in the variables of the place where it was made all the same.
        self.variables = contextvars.copy_context() if is_lazy else None

    async def main(self) -> None:
        """Produce. Every error is handed to the target; none leaves this coroutine but a cancellation."""
        raise NotImplementedError

    def describe(self) -> str:
        """Name the producer, in the user's words."""
        return "a promise"

    def describe_product(self) -> str:
        """Name what it makes, in the user's words."""
        return self.describe()

    def goes_with_owner(self) -> bool:
        """Whether it is cancelled with whoever started it, even if somebody else is reading."""
        return False

    def is_unread_call(self) -> bool:
        """Whether this is the work of an agent whose replies nobody has begun to read."""
        return self.owner is not None and self.owner.is_unread_call()

    def failure_line(self) -> str:
        """Say that this failed and nobody heard of it; the error's own line follows."""
        owners: list[str] = []
        producer = self.owner
        while producer is not None:
            owners.append(producer.describe())
            producer = producer.owner
        within = f" (in {chain_of(owners)})" if owners else ""
        return f"Nobody received an error of {self.describe()}{within}"

    def is_fired(self) -> bool:
        """Whether its result was given up from the start, so that it belongs to nobody's work."""
        return False

    def helpers(self) -> Iterable[AnyTask]:
        """Give the tasks beside its own that also work at the target."""
        return ()

    def launch(self, running: asyncio.AbstractEventLoop | None = None) -> None:
        """Schedule the work. It begins at the next task switch, never inside this call.

        `running` is the running loop, for those who have asked for it already.
        """
        if self.task is not None or self.target is None:
            return
        if not self.context.is_active:
            self.target.fail(
                Failure(PromiseCancelledError(f"{self.describe()} was never started: its context has ended."))
            )
            return
        loop = running_loop("start a promise") if running is None else running
        check_loop(loop, self.context.loop, "start a promise")
        variables = self.variables
        task = loop.create_task(self.main()) if variables is None else loop.create_task(self.main(), context=variables)
        self.task = task
        self.variables = None
        self.context.background.adopt(task, self)
        owner = self.owner
        if owner is not None and not self.is_fired():
            if owner.started is None:
                owner.started = set()
            owner.started.add(self)
        task.add_done_callback(self._task_ended)

    def belong_to(self, owner: "Producer") -> None:
        """Become something that `owner` has started, and that is cancelled with it."""
        if self.owner is not None and self.owner.started is not None:
            self.owner.started.discard(self)
        self.owner = owner
        if self.task is not None:
            if owner.started is None:
                owner.started = set()
            owner.started.add(self)

    def retire(self) -> None:
        """Do at the end of `main`, as its last act, what else would take another step of the event loop."""
        task = self.task
        if task is not None:
            task.remove_done_callback(self._task_ended)
            self.context.background.release(task)
            self.is_over = True
            self._leave_if_all_is_done()

    def _task_ended(self, task: AnyTask) -> None:
        self.is_over = True
        self.context.background.release(task)
        target = self.target
        if target is not None and not target.is_settled():
            target.fail(self.context.failure(PromiseCancelledError(f"{self.describe()} was cancelled."), self))
        self._leave_if_all_is_done()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only what is wrong in this package itself gets here.
            task.get_loop().call_exception_handler({"message": "A producer failed", "exception": error, "task": task})

    def _leave_if_all_is_done(self) -> None:
        """Cut the ties, upwards, once nothing that was started from here is running any more.

        Until then they are needed: cancelling a reply must stop the calls behind it, though the agent that passed
        their replies on has ended long ago.
        """
        producer: Producer = self
        while not producer.started and (producer.is_over or producer.task is None):
            if producer.target is not None:
                producer.target.forget_producer()
                producer.target = None
            # The task keeps its context variables, one of which is this very producer.
            producer.task = None
            owner = producer.owner
            if owner is None or owner.started is None or producer not in owner.started:
                return
            owner.started.discard(producer)
            producer = owner

    def cancel(self, message: str) -> None:
        """Cancel the work and all that it started, recursively, but for what somebody else is reading."""
        doomed = self._doomed()
        for producer in doomed:
            target, task = producer.target, producer.task
            if target is not None and not target.is_settled():
                failure = Failure(PromiseCancelledError(message))
                target.fail(failure)
            if task is not None:
                task.cancel(message)
                self.context.background.doom(task)
            else:
                # Never launched: no task will clean up.
                producer._leave_if_all_is_done()

    def _doomed(self) -> "list[Producer]":
        """Give this producer and all below it that only they themselves are waiting for."""
        family: list[Producer] = [self]
        for producer in family:
            family.extend(producer.started or ())
        spared: set[Producer] = set()
        while True:
            doomed = [producer for producer in family if producer not in spared]
            # Whoever cancels is not reading at this moment, though an iterator of his may still be alive.
            tasks = {current_task(), *(producer.task for producer in doomed)}
            rescued = [
                producer
                for producer in doomed
                if producer is not self
                # The messages of a cancelled call go with it; what else it made may be somebody else's by now.
                and not producer.goes_with_owner()
                and producer.target is not None
                and any(task not in tasks for task in producer.target.reading_tasks())
            ]
            if not rescued:
                return doomed
            for producer in rescued:
                spared.add(producer)
                # What a spared call has started goes on with it.
                rescued.extend(child for child in producer.started or () if child not in spared)


def chain_of(names: list[str]) -> str:
    """Give a chain of callers, the nearest first, for a log line; a long one without its middle."""
    if len(names) > MAX_NAMES:
        names = [*names[: MAX_NAMES - 3], f"... ({len(names) - MAX_NAMES + 1} more)", *names[-2:]]
    return " < ".join(names)


def loop_and_task() -> tuple[asyncio.AbstractEventLoop | None, AnyTask | None]:
    """Give the running loop and the task that runs now, each `None` where there is none."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None, None
    return loop, asyncio.current_task(loop)


def current_task() -> AnyTask | None:
    """Give the task that runs now; `None` in a callback or without a loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
