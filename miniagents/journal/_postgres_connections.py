"""Connections to Postgres: one that is lost is made again; a server that is gone is looked for in the background."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from miniagents.journal._own_tasks import OwnTask
from miniagents.journal._silence import Silence
from miniagents.journal.errors import JournalError, JournalLockedError, JournalUnreachableError

T = TypeVar("T")

RECONNECT_S = 10.0
SILENT_S = 10.0
"""So long something may take, beside what is waited for others."""
LOOK_AGAIN_S = 0.25
"""After so long a server that is gone is looked for, then after twice as long, and so on."""
_LOOK_AGAIN_AT_LAST_S: Final = 5.0
LONGEST_CLOSE_S: Final = 5.0
_LOST: Final = frozenset({"08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03"})
"""What Postgres says when a connection, or the server, goes away."""


class Connections:
    """A few connections, made when they are needed. Belongs to the event loop that it was opened on.

    there --lost for `RECONNECT_S`, or silent--> gone (whatever is asked for fails at once) --found--> there
    """

    def __init__(self, asyncpg: Any, url: str, place: str, *, busy_timeout_s: float) -> None:
        self._asyncpg = asyncpg
        self._url = url
        self._place = place
        self._busy_timeout_s = busy_timeout_s
        self._pool: Any = None
        self._gone: str | None = None
        self._look = OwnTask(f"looking for {place}")

    async def open(self, settings: dict[str, str], prepare: Callable[[Any], Awaitable[None]]) -> None:
        """Connect, and `prepare` the database."""
        self._pool = await self._asyncpg.create_pool(
            self._url, min_size=0, max_size=4, timeout=RECONNECT_S, server_settings=settings
        )
        async with self._pool.acquire() as connection:
            with self._silence(connection):
                await prepare(connection)

    def _silence(self, connection: Any) -> Silence:
        return Silence(connection.terminate, SILENT_S + self._busy_timeout_s)

    async def use(self, use: Callable[[Any], Awaitable[T]]) -> T:
        """Use a connection; if it is lost, get another one and do all of it again.

        Raises:
            JournalUnreachableError: there is none to be had, or it does not answer; at once if that is known.
            Exception: anything that `use` raises.
        """
        give_up_at = time.monotonic() + RECONNECT_S
        silence: Silence | None = None
        pause_s = 0.05
        while True:
            if self._gone is not None:
                raise JournalUnreachableError(self._gone, place=self._place)
            done: list[T] = []
            try:
                async with self._pool.acquire(timeout=RECONNECT_S) as connection:
                    with (silence := self._silence(connection)):
                        done.append(await use(connection))
                return done[0]
            except (*self._lost_errors(), self._asyncpg.PostgresError) as error:
                if done:
                    # It was lost on its way back into the pool.
                    return done[0]
                if silence is not None and silence.was_cut:
                    raise self._begin_to_look(self._silent()) from error
                if not self.is_lost(error):
                    raise
                if time.monotonic() > give_up_at:
                    raise self._begin_to_look(_unreachable(error)) from error
            await asyncio.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)

    # -- a server that is gone -----------------------------------------------------------------------------------

    def _begin_to_look(self, why: str) -> JournalUnreachableError:
        self._gone = why
        self._look.go_on(self._look_on)
        return JournalUnreachableError(why, place=self._place)

    async def _look_on(self) -> None:
        pause_s = LOOK_AGAIN_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(_LOOK_AGAIN_AT_LAST_S, pause_s * 2)
            with contextlib.suppress(*self._lost_errors(), self._asyncpg.PostgresError):
                async with self._pool.acquire(timeout=RECONNECT_S) as connection:
                    with self._silence(connection):
                        await connection.execute("SELECT 1")
                self._gone = None
                return

    # -- errors --------------------------------------------------------------------------------------------------

    def _lost_errors(self) -> tuple[type[Exception], ...]:
        # The last is what a connection says that was lost in the middle of something.
        return OSError, TimeoutError, self._asyncpg.InterfaceError, self._asyncpg.InternalClientError

    def is_lost(self, error: Exception) -> bool:
        """Whether this says that the connection, or the server, is gone."""
        return isinstance(error, self._lost_errors()) or getattr(error, "sqlstate", None) in _LOST

    def _silent(self) -> str:
        return (
            f"The server does not answer: nothing came from it for {SILENT_S + self._busy_timeout_s:g} s. Look at the "
            "network, and whether the server is overloaded"
        )

    def as_journal_error(self, error: Exception) -> JournalError:
        """Give the error of ours that says what this one means."""
        if isinstance(error, JournalError):
            return error
        if self.is_lost(error):
            return JournalUnreachableError(_unreachable(error), place=self._place)
        if getattr(error, "sqlstate", None) in ("55P03", "40P01"):
            return JournalLockedError(f"Somebody else holds what is needed: {error}", place=self._place)
        return JournalError(f"Postgres says: {error}", place=self._place)

    async def close(self) -> None:
        """Disconnect."""
        await self._look.end()
        if self._pool is not None:
            try:
                async with asyncio.timeout(LONGEST_CLOSE_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
            except (OSError, self._asyncpg.PostgresError):
                # It is gone as it is.
                pass


def _unreachable(error: Exception) -> str:
    return f"The server cannot be reached: {str(error) or type(error).__name__}"
