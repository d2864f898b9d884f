"""Waiting for a promise, in a way that can be looked at from outside.

A task that waits does so on a `Waiter`, a future that knows its `Source`: what is waited for. A source knows the tasks
that can end the wait. So who waits for whom can be read off at any moment, and nothing has to be recorded on the hot
path; `_deadlock.py` does the reading.
"""

import asyncio
import threading
from asyncio import get_running_loop
from collections.abc import Callable, Iterable
from types import coroutine
from typing import Any, cast

from miniagents.promising.errors import NoRunningLoopError, WrongThreadError

AnyTask = asyncio.Task[Any]

Waiter = asyncio.Future[None]
"""The future on which one task waits for one source, which is its attribute `source`.

It is a plain future of the loop's own, as asyncio takes a much longer way with every subclass.
"""

# What `loop.create_future()` calls, without that step.
_new_future: Any = asyncio.Future


class Source:
    """Something that tasks wait for: the next piece of a stream, its end, a value, the end of background work."""

    __slots__ = ("__weakref__", "waiters")

    may_raise_deadlock = True
    """Whether a task that waits here may be told of a deadlock (an exit that waits for others may not)."""

    def __init__(self) -> None:
        # Mostly there is one at the most, which needs no list.
        self.waiters: Waiter | list[Waiter] | None = None

    def add_waiter(self, loop: asyncio.AbstractEventLoop | None = None) -> Waiter:
        """Give a future to await; it is done as soon as something about this source has changed.

        `loop` is the running one, for those who know it: asking for it takes longer than all the rest.
        """
        # `new_waiter`, written out: this is what every wait for a token goes through.
        if loop is None:
            loop = get_running_loop()
        waiter: Any = _new_future(loop=loop)
        waiter.source = self
        waiters = self.waiters
        if waiters is None:
            self.waiters = waiter
        elif isinstance(waiters, list):
            waiters.append(waiter)
            # Waiters that timed out stay in the list; a poller must not make it grow for ever.
            if not len(waiters) & 31:
                self.waiters = [waiter for waiter in waiters if not waiter.done()]
        else:
            self.waiters = [waiters, waiter]
        if loop not in armed_loops:
            arm(loop)
        return waiter

    def wake(self) -> None:
        """Let every waiting task look again."""
        waiters = self.waiters
        if waiters is None:
            return
        self.waiters = None
        for waiter in waiters if isinstance(waiters, list) else (waiters,):
            if not waiter.done():
                waiter.set_result(None)

    def writers(self) -> "Iterable[AnyTask] | None":
        """Give the tasks that can end a wait for this source; `None`: unknown, so nothing can be proved."""
        return None

    def sole_holder_is_needed(self) -> "object | None":
        """Give the handle that must be in no other hands for `writers()` to be the whole truth, if there is one."""
        return None

    def describe(self) -> str:
        """Name what is waited for, in the user's words."""
        return "something"

    def advice(self) -> str:
        """Say what mends a wait for this source that cannot end."""
        return "Wait for it from another place: outside of what it waits for itself."


class TaskEnd(Source):
    """The wait of one task for others to end."""

    __slots__ = ("tasks",)

    # Whoever waits for a task waits for what that task waits for; the mistake is there.
    may_raise_deadlock = False

    def __init__(self, tasks: list[AnyTask]) -> None:
        super().__init__()
        self.tasks = tasks

    def writers(self) -> "Iterable[AnyTask] | None":
        """Give the tasks."""
        return self.tasks

    def describe(self) -> str:
        """Name what is waited for."""
        return "another task"


async def wait_for_end(task: AnyTask) -> None:
    """Wait until `task` has ended, without taking its result or its error, and without cancelling it.

    `asyncio.wait([task])` does so too, but nobody could see for whom it waits.
    """
    end = TaskEnd([task])
    wake = _waking(end)
    task.add_done_callback(wake)
    try:
        while not task.done():
            await end.add_waiter()
    finally:
        task.remove_done_callback(wake)


def _waking(source: Source) -> Callable[[AnyTask], None]:
    return lambda _: source.wake()


arm_hooks: list[Callable[[asyncio.AbstractEventLoop], None]] = []
"""Called when a task of a loop begins to wait while no look at that loop is due. `_deadlock.py` puts itself here."""

armed_loops: set[asyncio.AbstractEventLoop] = set()
"""The loops at which somebody will look soon."""


def source_of(future: object) -> Source | None:
    """Give what is waited for with `future`, if it is a waiter."""
    source = getattr(future, "source", None)
    return source if isinstance(source, Source) else None


def new_waiter(source: Source) -> Waiter:
    """Give a waiter on `source` that belongs to the running loop."""
    loop = get_running_loop()
    waiter: Any = _new_future(loop=loop)
    waiter.source = source
    if loop not in armed_loops:
        arm(loop)
    return waiter


def arm(loop: asyncio.AbstractEventLoop) -> None:
    """Tell those who look at `loop` that a wait has begun."""
    for hook in arm_hooks:
        hook(loop)


def running_loop(action: str) -> asyncio.AbstractEventLoop:
    """Give the running loop, or raise an error that says that `action` needs one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise NoRunningLoopError(action) from None


def check_loop(loop: asyncio.AbstractEventLoop, own_loop: asyncio.AbstractEventLoop | None, action: str) -> None:
    """Refuse to work on another event loop than one's own: neither would wake the other."""
    if own_loop is not None and own_loop is not loop:
        raise WrongThreadError(action)


def check_thread(thread_id: int, action: str) -> None:
    """Refuse to touch what belongs to another thread: its event loop would not notice until its next timer."""
    if thread_id != threading.get_ident():
        raise WrongThreadError(action)


@coroutine
def _bare_yield() -> Any:  # a generator in disguise; typed below
    yield


give_way = cast("Callable[[], Any]", _bare_yield)
"""`await give_way()` lets every other task that is ready run first: `asyncio.sleep(0)` without the extra frame."""
