"""The background tasks of a context: which there are, which of them wait for a reader that is not there."""

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable

from miniagents.promising._producer import Producer, current_task
from miniagents.promising._shutdown import cancel_and_wait, is_about_to_run
from miniagents.promising._waiting import AnyTask, Source


class BackgroundTasks:
    """Every running task of one context, each with the producer that it is the task of, if it is one's."""

    def __init__(self, on_first_loop: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        """Call `on_first_loop` with the loop of every task that is adopted."""
        self.tasks: dict[AnyTask, Producer | None] = {}
        self._parked: set[AnyTask] = set()
        self._flushing: set[AnyTask] = set()
        self._doomed: set[AnyTask] = set()
        self._all_done = _AllDone(self)
        self._on_first_loop: Callable[[asyncio.AbstractEventLoop], None] | None = on_first_loop

    def adopt(self, task: AnyTask, producer: Producer | None) -> None:
        """Keep `task` until `release`."""
        self.tasks[task] = producer
        if self._on_first_loop is not None:
            self._on_first_loop(task.get_loop())
            self._on_first_loop = None

    def release(self, task: AnyTask) -> None:
        """Forget `task`, which has ended."""
        self.tasks.pop(task, None)
        if self._parked or self._doomed:
            self._parked.discard(task)
            self._doomed.discard(task)
        if self._all_done.waiters is not None:
            self._look_if_done()

    def doom(self, task: AnyTask) -> None:
        """Take note that `task` was cancelled; the end of the context gives it its grace, and no more."""
        if task in self.tasks:
            self._doomed.add(task)
            self._look_if_done()

    def park(self, task: AnyTask) -> None:
        """Take note that `task` now waits for a reader that is not there."""
        if task in self.tasks:
            self._parked.add(task)
            self._look_if_done()

    def unpark(self, task: AnyTask) -> None:
        """Take note that `task` goes on."""
        self._parked.discard(task)

    def busy(self) -> list[AnyTask]:
        """Give the tasks that `flush` waits for."""
        return [task for task in self.tasks if task not in self._parked and task not in self._flushing]

    async def flush(self, *, with_doomed: bool = True) -> None:
        """Wait until only parked tasks are left, and those that flush themselves; and, if asked, cancelled ones."""
        me = current_task()
        is_mine = me is not None and me in self.tasks
        if is_mine and me is not None:
            self._flushing.add(me)
        try:
            while self._busy_count(with_doomed=with_doomed) > 0:
                await self._all_done.add_waiter()
        finally:
            if me is not None:
                self._flushing.discard(me)

    def _busy_count(self, *, with_doomed: bool) -> int:
        idle = self._parked | self._flushing if with_doomed else self._parked | self._flushing | self._doomed
        return len(self.tasks) - len(idle)

    def _look_if_done(self) -> None:
        if self._all_done.waiters is not None and self._busy_count(with_doomed=False) <= 0:
            self._all_done.wake()

    async def cancel_parked(self, grace_s: float, logger: logging.Logger) -> bool:
        """Cancel the parked tasks and wait for their end and that of cancelled ones; `False` if there are none."""
        if self._doomed:
            await cancel_and_wait({task: self.tasks.get(task) for task in self._doomed}, grace_s, logger)
            for task in list(self._doomed):
                # Named on the log by now, and left behind.
                self.release(task)
            return True
        if not self._parked:
            return False
        # One that was called on at this very moment is about to go on; it is let.
        parked = [task for task in self._parked if not is_about_to_run(task)]
        if parked:
            await cancel_and_wait({task: self.tasks.get(task) for task in parked}, grace_s, logger)
        else:
            await asyncio.sleep(0)
        return True


class _AllDone(Source):
    """The wait for all background tasks of a context."""

    __slots__ = ("_background",)

    # Whoever leaves a context waits for others; the mistake is never there.
    may_raise_deadlock = False

    def __init__(self, background: BackgroundTasks) -> None:
        super().__init__()
        self._background = weakref.ref(background)

    def writers(self) -> Iterable[AnyTask] | None:
        background = self._background()
        return None if background is None else background.busy()

    def describe(self) -> str:
        return "the end of all background work"
