"""A loop that counts what it does."""

import asyncio
from typing import Any, NamedTuple


class Counts(NamedTuple):
    """What a loop was seen to do."""

    steps: int
    tasks: int

    def less(self, before: "Counts") -> "Counts":
        """Give what it has done since."""
        return Counts(self.steps - before.steps, self.tasks - before.tasks)


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its steps and the tasks that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.tasks = 0

    def counts(self) -> Counts:
        """Give what it has done so far."""
        return Counts(self.steps, self.tasks)

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        self.steps += 1
        return super().call_soon(*args, **kwargs)

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        self.tasks += 1
        return super().create_task(*args, **kwargs)
