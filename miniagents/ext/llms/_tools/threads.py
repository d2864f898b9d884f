"""Threads in which tools that block are run: their own, so that what blocks in them keeps nothing else waiting.

Asyncio's own threads are few, and names are looked up and clients built in them: tools that block there would stop all
models. These here are many, made when they are needed, and end when they have had nothing to do for a while, or with
the program, which does not wait for them: a tool that was given up may never return.
"""

import asyncio
import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from miniagents.miniagents import MiniAgents

P = ParamSpec("P")
T = TypeVar("T")

_KEY_IN_CONTEXT = "threads of tools"
_MOST = 128
_LONGEST_IDLE_S = 5.0


class ToolThreads(Executor):
    """Runs functions in daemon threads.

    Args:
        most: how many threads there are at most; what is more waits for one of them.
        longest_idle_s: after how many seconds without work a thread ends.
    """

    def __init__(self, *, most: int = _MOST, longest_idle_s: float = _LONGEST_IDLE_S) -> None:
        self._most = most
        self._longest_idle_s = longest_idle_s
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._count = self._idle = 0

    # As in the base class; there it is a method of any object.
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a thread, and give its future."""
        future: Future[T] = Future()
        with self._changed:
            self._waiting.append((future, functools.partial(fn, *args, **kwargs)))
            # One that was woken counts as idle until it has taken something.
            if self._idle >= len(self._waiting):
                self._changed.notify()
                return future
            is_wanted = self._count < self._most
            self._count += is_wanted
        if is_wanted:
            threading.Thread(target=self._work, name="miniagents tool", daemon=True).start()
        return future

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            future, function = taken
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                # Handed over to whoever waits, whatever it is.
                except BaseException as error:  # noqa: BLE001
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # Nothing of a call is kept alive by a thread that waits for the next one.
            del taken, future, function

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Give what is to be done next; None: the thread is to end."""
        with self._changed:
            while not self._waiting:
                self._idle += 1
                is_woken = self._changed.wait(self._longest_idle_s)
                self._idle -= 1
                if not is_woken and not self._waiting:
                    self._count -= 1
                    return None
            return self._waiting.popleft()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Give what `function` returns in one of the context's threads for tools, with the variables of the caller."""
    threads: ToolThreads = vars(MiniAgents.get_current()).setdefault(_KEY_IN_CONTEXT, ToolThreads())
    variables = contextvars.copy_context()
    call = functools.partial(variables.run, function, *args, **kwargs)
    # Not by the future itself: a loop must see who works in threads, as the one with a virtual clock does.
    return await asyncio.get_running_loop().run_in_executor(threads, call)
