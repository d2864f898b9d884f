"""`OwnTask`: what a journal does in the background, whichever context or agent has begun it."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from miniagents.promising._runner import runner_tasks


class OwnTask:
    """One task on each event loop that asks for it, until `end()`. A journal may outlive the loop that it was made on.

    No context cancels it: a run goes on being held while the agents in it are cancelled, until it has ended.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: list[asyncio.Task[None]] = []
        self._has_ended = False

    def go_on(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start `work()` on the running loop, unless it goes on here; nothing after `end()`."""
        loop = asyncio.get_running_loop()
        self._tasks = [task for task in self._tasks if not task.done() and not task.get_loop().is_closed()]
        if self._has_ended or any(task.get_loop() is loop for task in self._tasks):
            return
        # What the agent that happens to be the first has set is nothing to it, and would be kept as long as it goes on.
        task = loop.create_task(work(), name=self._name, context=contextvars.Context())
        runner_tasks.add(task)
        self._tasks.append(task)

    async def end(self) -> None:
        """Cancel it, and wait until it has ended on this loop; once more where that was cancelled."""
        self._has_ended = True
        loop = asyncio.get_running_loop()
        for task in self._tasks:
            if task.get_loop() is loop:
                task.cancel()
            else:
                # A loop that is closed has ended it.
                with contextlib.suppress(RuntimeError):
                    task.get_loop().call_soon_threadsafe(task.cancel)
        if here := [task for task in self._tasks if task.get_loop() is loop]:
            await asyncio.wait(here)
        self._tasks.clear()
