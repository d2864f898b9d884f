"""Cancelling tasks and waiting until they have really ended."""

import asyncio
import logging
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, cast

from miniagents.promising._producer import Producer, current_task
from miniagents.promising._waiting import AnyTask

abandoned: "weakref.WeakSet[AnyTask]" = weakref.WeakSet()
"""Tasks that were named and left behind, and that nobody need wait for again."""


async def cancel_and_wait(tasks: Mapping[AnyTask, Producer | None], grace_s: float, logger: logging.Logger) -> None:
    """Cancel every task in `tasks`, those that appear meanwhile too, each once, and wait until all have ended.

    After `grace_s` seconds those that ignore their cancellation are named on the log and left. Being cancelled oneself
    does not cut the waiting short, as the tasks would then be left behind; it is raised afterwards.
    """
    me = current_task()
    cancelled: set[AnyTask] = set()
    interruption: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    while remaining := [task for task in tasks if task is not me and not task.done()]:
        for task in remaining:
            if task not in cancelled:
                cancelled.add(task)
                # One that was cancelled before may be cleaning up, which a second time would interrupt.
                if not task.cancelling():
                    task.cancel()
        time_left_s = deadline - loop.time()
        if time_left_s <= 0:
            names = ", ".join(_describe(task, tasks.get(task)) for task in remaining)
            if grace_s > 0:
                logger.error("These tasks ignored their cancellation for %g s and are left behind: %s", grace_s, names)
            leave_behind(remaining)
            break
        try:
            await asyncio.wait(remaining, timeout=time_left_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            interruption = error
    # Callbacks of the ended tasks, which close what they left open, run now.
    for _ in range(2):
        await asyncio.sleep(0)
    if interruption is not None:
        raise interruption


def leave_behind(tasks: Iterable[AnyTask]) -> None:
    """Take note that nobody waits any more for these tasks, which were named on the log."""
    for task in tasks:
        abandoned.add(task)
        # Told there, and not once more by asyncio when the loop is closed.
        cast("Any", task)._log_destroy_pending = False


def _describe(task: AnyTask, producer: Producer | None) -> str:
    return f"the task `{name_of_task(task)}`" if producer is None else producer.describe()


def is_about_to_run(task: AnyTask) -> bool:
    """Whether what `task` was waiting for has come."""
    future: Any = getattr(task, "_fut_waiter", task)
    # Where asyncio does not tell, it is taken to wait, so that the end of a context comes.
    return future is None or (future is not task and future.done())


def name_of_task(task: AnyTask) -> str:
    """Name a task: by the name that it was given, or by what it runs."""
    if not task.get_name().startswith("Task-"):
        return task.get_name()
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    return f"{task.get_name()} ({name})"
