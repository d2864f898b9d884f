"""What an agent in a thread has the event loop do for it: it ends with the agent's work on its event."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

_tasks: Final[ContextVar["set[asyncio.Task[Any]] | None"]] = ContextVar("tasks for a thread", default=None)


class OwnThread:
    """Mixed into a context whose event loop has a thread of its own: whoever waits for it in another stops nothing."""


@contextmanager
def ended_with_block() -> Generator[None]:
    """Cancel what was begun for a thread, and is still at work when this block is left."""
    tasks: set[asyncio.Task[Any]] = set()
    token = _tasks.set(tasks)
    try:
        yield
    finally:
        _tasks.reset(token)
        for task in tasks:
            task.cancel()


async def for_thread(work: Callable[[], Awaitable[T]]) -> T:
    """Do on the loop what a thread waits for; it is cancelled when nobody waits for the thread any more."""
    tasks, task = _tasks.get(), asyncio.current_task()
    if tasks is None or task is None:
        return await work()
    tasks.add(task)
    try:
        return await work()
    finally:
        tasks.discard(task)


__all__ = ["OwnThread", "ended_with_block", "for_thread"]
