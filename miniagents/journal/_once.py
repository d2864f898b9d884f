"""What a call does once: each function in a task of the context, so that it outlives whoever waits for it."""

import asyncio
import inspect
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, Protocol

from miniagents.journal.errors import JournalError
from miniagents.promising._waiting import AnyTask, wait_for_end
from miniagents.promising.promising import PromisingContext

_doing: ContextVar[frozenset[str]] = ContextVar("what is being done once", default=frozenset())
"""The keys of the functions that this code is part of."""


class Values(Protocol):
    """What is kept of what has happened; see `RunJournal`."""

    @property
    def place(self) -> str:
        """The file or server."""
        ...

    async def recall(self, key: str, /) -> tuple[Any] | None:
        """Give what is kept under a key, in a tuple of one."""
        ...

    async def remember(self, key: str, value: Any, /, *, field: str | None = None) -> Any:
        """Keep a value, and give it as it is kept; `field` is what an error calls it, by default the key."""
        ...


def not_a_function(name: str, given: object) -> TypeError:
    """Give the error that says that `once` takes a function; mostly it was given the coroutine of one."""
    if not inspect.iscoroutine(given):
        return TypeError(
            f"`once({name!r}, ...)` takes a function, and its arguments behind it, not {given!r}. For a value that is "
            f"there already: `once({name!r}, lambda: value)`."
        )
    # Nobody is going to await it, of which Python would complain as well.
    given.close()
    called = given.__name__
    return TypeError(
        f"`once({name!r}, {called}(...))` has called `{called}` already. Give the function itself, and its arguments "
        f"behind it: `once({name!r}, {called}, ...)`."
    )


class OnceTasks:
    """The functions of one call that run now."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._tasks: dict[str, AnyTask] = {}

    async def give(self, key: str, name: str, function: Callable[[], Any]) -> Any:
        """Give what is kept under `key`, or what `function()` returns; whoever asks meanwhile gets that, too.

        Who is cancelled while it waits leaves the function running, for whoever asks next.

        Raises:
            JournalError: this is part of the very function that it would wait for.
        """
        while (task := self._tasks.get(key)) is not None:
            if key in _doing.get():
                raise JournalError(
                    f"`once({name!r}, ...)` was called by the function of `once({name!r}, ...)` of the same call, and "
                    "would wait for itself. Give one of the two another name",
                    place=self._values.place,
                )
            await wait_for_end(task)
            if not task.cancelled() and task.exception() is None:
                return task.result()
            # An error is for whoever has started it; the next one tries again.
            if self._tasks.get(key) is task:
                del self._tasks[key]
        task = PromisingContext.get_current().start_asap(self._do(key, name, function), suppress_errors=False)
        self._tasks[key] = task
        task.add_done_callback(lambda ended: self._forget(key, ended))
        await wait_for_end(task)
        return task.result()

    def _forget(self, key: str, task: AnyTask) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _do(self, key: str, name: str, function: Callable[[], Any]) -> Any:
        known = await self._values.recall(key)
        if known is not None:
            return known[0]
        _doing.set(_doing.get() | {key})
        interruption: asyncio.CancelledError | None = None
        if inspect.iscoroutinefunction(function):
            value = await function()
        else:
            value, interruption = await _in_thread(name, function)
            if interruption is None and inspect.isawaitable(value):
                value = await value
        kept = await self._values.remember(key, value, field=f"once {name!r}")
        if interruption is not None:
            raise interruption
        return kept


async def _in_thread(name: str, function: Callable[[], Any]) -> tuple[Any, asyncio.CancelledError | None]:
    """Give what a function that may block returns; and the cancellation, which ends no thread, of this meanwhile.

    What the thread has done is to be recorded before the cancellation goes on.
    """
    context = copy_context()
    # A future, as a task would be cancelled with the others of the loop.
    done = asyncio.get_running_loop().run_in_executor(None, lambda: context.run(_without_stop, name, function))
    interruption: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            interruption = error
    return done.result(), interruption


def _without_stop(name: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StopIteration as error:
        # That cannot go through a future: whoever waits for it would wait for ever.
        raise RuntimeError(f"The function of `once({name!r}, ...)` raised StopIteration") from error
