"""`HeldRun`: the writes of a run that this process holds, each committed when its durability says so."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from miniagents.journal._call_steps import CallWrite
from miniagents.journal._lost_writes import note_lost_write
from miniagents.journal._store import Due, Fence, Needs, Operation, Store
from miniagents.journal.errors import JournalError, RunBusyError

T = TypeVar("T")

Durability = Literal["step", "lazy", "end"]
"""When a write is committed: `step`: before the awaited method returns; `lazy`: within 50 ms, in the background; `end`:
when the run ends, or something else is committed."""
DUE: dict[Durability, Due] = {"step": Due.NOW, "lazy": Due.SOON, "end": Due.LAST}
_MOST_UNCOMMITTED = 5000
"""So many writes may be waiting in the background; beyond that the program waits for the disk."""


class HeldRun:
    """Writes, and tells of what failed in the background."""

    def __init__(self, store: Store, fence: Fence, durability: Durability, now: Callable[[], float]) -> None:
        self._store = store
        self._fence = fence
        self._durability: Durability = durability
        self._now = now
        self._uncommitted = 0
        self._failure: BaseException | None = None
        self.on_failure: Callable[[JournalError], None] | None = None
        """Who is told of a write that failed in the background, in place of whoever writes next."""
        self.on_success: Callable[[], None] | None = None
        """Who is told of the next write that succeeds."""

    def _was_lost(self) -> None:
        """Take note that something may not be stored that was written in the background."""

    async def _write(
        self,
        operation: Operation[T] | CallWrite,
        *,
        durability: Durability | None = None,
        needs: Needs = Needs.NOTHING,
    ) -> T:
        """Write; in the background, with None as the result, where the durability says so."""
        self._raise_failure()
        due = DUE[durability or self._durability]
        if due is Due.SOON and self._uncommitted >= _MOST_UNCOMMITTED:
            due = Due.NOW
        future = self._store.submit(operation, fence=self._fence, due=due, needs=needs)
        if due is Due.NOW:
            result = await future
            self._tell_success()
            return result
        self._uncommitted += 1
        future.add_done_callback(self._background_write_ended)
        return None  # pyright: ignore[reportReturnType]

    def _background_write_ended(self, future: "asyncio.Future[Any]") -> None:
        self._uncommitted -= 1
        error = None if future.cancelled() else future.exception()
        if error is None:
            self._tell_success()
            return
        self._was_lost()
        note_lost_write(self._store, self._fence, self._now())
        try:
            self._tell_failure(error)
        except BaseException as told:  # noqa: BLE001 - raised by the next write
            self._failure = self._failure or told

    def _tell_success(self) -> None:
        if self.on_success is not None:
            told, self.on_success = self.on_success, None
            told()

    def _tell_failure(self, error: BaseException) -> None:
        # Whose run was taken over is to hear of it before anything else is done.
        if self.on_failure is None or not isinstance(error, JournalError) or isinstance(error, RunBusyError):
            raise error
        self.on_failure(error)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
