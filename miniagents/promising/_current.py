"""Which context is active where, and how to get to its loop from elsewhere."""

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from miniagents.promising._failure import storable
from miniagents.promising._producer import current_task
from miniagents.promising._waiting import AnyTask
from miniagents.promising.errors import (
    LoopIsRunningError,
    NoActiveContextError,
    NoRunningLoopError,
    WrongActiveContextError,
)

if TYPE_CHECKING:
    from miniagents.promising.context import PromisingContext

C = TypeVar("C", bound="PromisingContext")

_current: contextvars.ContextVar["PromisingContext | None"] = contextvars.ContextVar("promising_context", default=None)

_activated: list["PromisingContext"] = []
"""Contexts that serve a whole loop, the latest last."""


def find() -> "PromisingContext | None":
    """Give the context that is active here, or `None`."""
    context = _current.get()
    # A task may outlive the context that it was started in; the next one out is then the nearest.
    while context is not None and not context.is_active:
        context = context.parent
    return context if context is not None else _find_for_loop()


def _find_for_loop() -> "PromisingContext | None":
    if not _activated:
        return None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    for context in reversed(_activated):
        if context.loop is None:
            # Activated before any loop ran: it belongs to the first loop that asks.
            if loop is not None:
                context.bind_to_loop(loop)
            return context
        if context.loop is loop:
            return context
    return None


def get_current(wanted: type[C]) -> C:
    """Give the active context, or raise an error that says what to do."""
    context = _current.get()
    if context is None or not context.is_active:
        context = find()
    if isinstance(context, wanted):
        return context
    if context is None:
        raise NoActiveContextError(wanted.__name__)
    raise WrongActiveContextError(wanted.__name__, type(context).__name__)


def enter(context: "PromisingContext") -> None:
    """Make `context` the current one for this task and those that it starts."""
    _current.set(context)


def activate_for_loop(context: "PromisingContext") -> None:
    """Make `context` the one that tasks of its loop find when they have no nearer one."""
    _activated[:] = [kept for kept in _activated if kept.loop is None or not kept.loop.is_closed()]
    _activated.append(context)


def leave(context: "PromisingContext") -> None:
    """Undo `enter` and `activate_for_loop`; this may be another task than the one that entered."""
    if context in _activated:
        _activated.remove(context)
    if _current.get() is context:
        _current.set(context.parent)


def run_from_thread(context: "PromisingContext", func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Run `func(*args)` on the context's loop and give its result."""
    loop = context.loop
    if loop is None or not loop.is_running() or not context.is_active:
        raise NoRunningLoopError(f"run `{getattr(func, '__name__', func)}` on the loop of a context that is not active")
    if current_task() is not None and asyncio.get_running_loop() is loop:
        raise LoopIsRunningError(
            "`run_from_thread()` was called on the loop's own thread, where waiting for the result would stop the "
            f"loop. Call `{getattr(func, '__name__', func)}` directly, and await what it returns."
        )

    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    async def call() -> None:
        enter(context)
        try:
            result = func(*args)
            done.set_result(await result if inspect.isawaitable(result) else result)
        except BaseException as error:
            # `StopIteration` cannot go through a future.
            done.set_exception(error if isinstance(error, asyncio.CancelledError) else storable(error))
            if isinstance(error, asyncio.CancelledError):
                raise

    # A task of the context's own, which waits for it like for any background work.
    loop.call_soon_threadsafe(lambda: context.start_asap(call()))
    return done.result()


def require_async_handler(handler: object, name: str, parameters: str) -> None:
    """Refuse a handler that cannot run in the background."""
    function: Any = handler
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", None)  # noqa: B004 - the method itself
    if not inspect.iscoroutinefunction(function):
        raise TypeError(
            f"`{name}` takes an async function, as it runs in the background; {handler!r} is not one. "
            f"Write `async def handler({parameters}): ...`."
        )


outside_waits: "weakref.WeakKeyDictionary[AnyTask, str]" = weakref.WeakKeyDictionary()
"""Tasks that wait for something outside of the program, and for what."""


class OutsideWait:
    """The `with` block of `PromisingContext.waits_for_outside`."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._task: AnyTask | None = None

    def __enter__(self) -> None:
        self._task = current_task()
        if self._task is not None:
            outside_waits[self._task] = self._reason

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            outside_waits.pop(self._task, None)
