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
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
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
        self._keeps_one = False

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
            self._start_another(future)
        return future

    def _start_another(self, future: Future[Any]) -> None:
        try:
            self._start(is_kept=False)
        except RuntimeError:
            # The system has no more, or Python makes none any more, as the program is ending.
            with self._changed:
                self._count -= 1
                if self._count:
                    # One of these does it.
                    return
                self._waiting = deque(entry for entry in self._waiting if entry[0] is not future)
            raise

    @contextmanager
    def one_kept(self) -> Generator[None]:
        """Have one thread at hand until this block is left, for what is to be done when none can be made any more.

        With Python 3.12 and newer that is so as soon as the main thread has come to its end.
        """
        with self._changed:
            self._count += 1
            self._keeps_one = True
        self._start(is_kept=True)
        try:
            yield
        finally:
            with self._changed:
                self._keeps_one = False
                self._changed.notify_all()

    def _start(self, *, is_kept: bool) -> None:
        threading.Thread(target=self._work, args=(is_kept,), name="miniagents tool", daemon=True).start()

    def _work(self, is_kept: bool) -> None:  # noqa: FBT001 - of a thread
        while (taken := self._next(is_kept=is_kept)) is not None:
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

    def _next(self, *, is_kept: bool) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Give what is to be done next; None: the thread is to end."""
        with self._changed:
            while not self._waiting:
                self._idle += 1
                is_woken = self._changed.wait(None if is_kept else self._longest_idle_s)
                self._idle -= 1
                is_of_use = self._keeps_one if is_kept else is_woken
                if not is_of_use and not self._waiting:
                    self._count -= 1
                    return None
            return self._waiting.popleft()


def threads_here() -> ToolThreads:
    """Give the threads for tools of the current context."""
    threads: ToolThreads = vars(MiniAgents.get_current()).setdefault(_KEY_IN_CONTEXT, ToolThreads())
    return threads


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Give what `function` returns in one of the context's threads for tools, with the variables of the caller."""
    threads = threads_here()
    variables = contextvars.copy_context()
    call = functools.partial(variables.run, function, *args, **kwargs)
    # Not by the future itself: a loop must see who works in threads, as the one with a virtual clock does.
    return await asyncio.get_running_loop().run_in_executor(threads, call)
