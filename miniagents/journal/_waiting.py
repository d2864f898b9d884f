"""Waiting for what other processes write: one task asks the database, however many wait."""

import asyncio
import contextlib
from collections.abc import Generator

from miniagents.journal._own_tasks import OwnTask
from miniagents.journal._store import Store
from miniagents.journal.errors import JournalError

_ASK_AGAIN_S = 2.0
"""After so long whoever waits looks for himself, whether or not there was a sign of a change."""


class ChangeWatch:
    """Wakes those who wait for a change, as long as there are any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: set[asyncio.Future[None]] = set()
        self._task = OwnTask("changes in the journal")
        self._is_closed = False

    @contextlib.contextmanager
    def change(self) -> Generator["asyncio.Future[None]", None, None]:
        """Give a future that is done when something may have changed since now.

        Raises:
            JournalError: it is closed.
        """
        if self._is_closed:
            raise JournalError("It is closed", place=self._store.place)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        self._task.go_on(self._watch)
        try:
            yield future
        finally:
            self._waiting.discard(future)

    def tell(self) -> None:
        """Say that something has changed."""
        for future in list(self._waiting):
            if future.get_loop() is asyncio.get_running_loop():
                _wake(future)
            else:
                # A loop that is closed has nobody left on it.
                with contextlib.suppress(RuntimeError):
                    future.get_loop().call_soon_threadsafe(_wake, future)

    async def _watch(self) -> None:
        try:
            while self._waiting:
                await self._store.until_changed(_ASK_AGAIN_S)
                self.tell()
                # Those who still wait ask anew.
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - it reaches whoever waits
            for future in list(self._waiting):
                # The others have a task of their own to hear it from.
                if future.get_loop() is asyncio.get_running_loop() and not future.done():
                    future.set_exception(error)

    async def close(self) -> None:
        """Stop asking. Whoever waits looks once more, and then hears that it is closed."""
        self._is_closed = True
        self.tell()
        await self._task.end()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
