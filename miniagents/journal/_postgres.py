"""The journal in Postgres, where many processes write: the one file that knows asyncpg."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

from miniagents._secret_texts import names_a_secret
from miniagents.errors import MissingExtraError
from miniagents.journal._call_steps import CallWrite, End, Start, groups, store_calls
from miniagents.journal._schema import POSTGRES_TABLES, VERSION
from miniagents.journal._silence import Silence
from miniagents.journal._store import (
    FENCE_SQL,
    MOST_IN_A_TRANSACTION,
    SOON_S,
    Due,
    Fence,
    Needs,
    Operation,
    Steps,
    check_fence,
    check_process,
)
from miniagents.journal.errors import JournalError, JournalLockedError, JournalVersionError
from miniagents.promising._runner import runner_tasks

T = TypeVar("T")

_CHANNEL = "miniagents_journal"
_LOCK = 0x6D696E69
"""Held, shared, while something is written, and alone while tables are made or something is pruned."""
_RECONNECT_S = 10.0
_SILENT_S = 10.0
"""So long something may take, beside what is waited for others."""
_LOST = frozenset({"08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03"})
"""What Postgres says when a connection, or the server, goes away."""


@dataclass(slots=True)
class _Job:
    operation: Any
    """An `Operation` or a `CallWrite`."""
    fence: Fence | None
    needs: Needs
    due: float
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


class PostgresStore:
    """A database of Postgres. Belongs to the event loop that it was opened on."""

    def __init__(self, asyncpg: Any, url: str, *, fsync: bool, busy_timeout_s: float) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        user = f"{parts.username}@" if parts.username else ""
        query = "&".join(part for part in parts.query.split("&") if not names_a_secret(part.partition("=")[0]))
        self.url: str | None = f"postgresql://{user}{self.place}{f'?{query}' if query else ''}"
        self._asyncpg = asyncpg
        self._url = url
        self._fsync = fsync
        self._busy_timeout_s = busy_timeout_s
        self._pool: Any = None
        self._listener: Any = None
        self._jobs: list[_Job] = []
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._is_closed = False
        self._process = os.getpid()

    async def open(self) -> None:
        """Connect, and make the tables if they are not there."""
        # Else it is for the server to say.
        settings = {"synchronous_commit": "on"} if self._fsync else {}
        settings["lock_timeout"] = str(max(1, round(self._busy_timeout_s * 1000)))
        try:
            self._pool = await self._asyncpg.create_pool(
                self._url, min_size=0, max_size=4, timeout=_RECONNECT_S, server_settings=settings
            )
            async with self._pool.acquire() as connection:
                with Silence(connection.terminate, _SILENT_S + self._busy_timeout_s):
                    async with connection.transaction():
                        await self._make_tables(connection)
        except Exception as error:
            await self.close()
            raise self._as_journal_error(error) from error
        self._writer = asyncio.create_task(self._write_on(), name=f"miniagents journal {self.place}")
        # A context that cancels all tasks of its loop, because of an error, writes what is left after that.
        runner_tasks.add(self._writer)

    async def _make_tables(self, connection: Any) -> None:
        await connection.execute(_locking("pg_advisory_xact_lock"), _LOCK)
        if await connection.fetchval("SELECT to_regclass('journal_version')") is None:
            for table in POSTGRES_TABLES:
                await connection.execute(table)
            await connection.execute("INSERT INTO journal_version VALUES ($1)", VERSION)
        version = await connection.fetchval("SELECT version FROM journal_version")
        if version != VERSION:
            raise JournalVersionError(
                f"The journal has version {version}, and this version of miniagents reads version {VERSION}. Use the "
                "miniagents that wrote it, or another database",
                place=self.place,
            )

    # -- writing -------------------------------------------------------------------------------------------------

    def submit(
        self,
        operation: Operation[T] | CallWrite,
        *,
        fence: Fence | None = None,
        due: Due = Due.NOW,
        needs: Needs = Needs.NOTHING,
    ) -> "asyncio.Future[T]":
        """Queue a write."""
        if self._is_closed:
            raise JournalError("It is closed", place=self.place)
        check_process(self._process, self.place)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        delay_s = {Due.NOW: 0.0, Due.SOON: SOON_S, Due.LAST: float("inf")}[due]
        self._jobs.append(_Job(operation, fence, needs, time.monotonic() + delay_s, future))
        self._arrived.set()
        return future

    async def _write_on(self) -> None:
        while self._jobs or not self._is_closed:
            wait_s = min((job.due for job in self._jobs), default=float("inf")) - time.monotonic()
            if wait_s > 0 and not self._is_closed and len(self._jobs) < MOST_IN_A_TRANSACTION:
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                        await self._arrived.wait()
                continue
            jobs, self._jobs = self._jobs[:MOST_IN_A_TRANSACTION], self._jobs[MOST_IN_A_TRANSACTION:]
            await self._do(jobs)
            for job in jobs:
                if job.future.done():
                    continue
                if job.error is not None:
                    job.future.set_exception(job.error)
                else:
                    job.future.set_result(job.result)

    async def _do(self, jobs: list[_Job]) -> None:
        try:
            await self._connected(lambda connection: self._transact(connection, jobs))
        except _HalfDoneError as error:
            if len(jobs) == 1:
                jobs[0].error = error.__cause__
                return
            await self._one_by_one(jobs)
        except Exception as error:  # noqa: BLE001 - it reaches whoever waits for the jobs
            if len(jobs) == 1 or isinstance(error, JournalError):
                for job in jobs:
                    job.error = error if isinstance(error, JournalError) else self._as_journal_error(error)
                return
            # What the database refuses for one must not take the others with it.
            await self._one_by_one(jobs)

    async def _one_by_one(self, jobs: list[_Job]) -> None:
        for job in jobs:
            job.result = job.error = None
            await self._do([job])

    async def _transact(self, connection: Any, jobs: list[_Job]) -> None:
        async with connection.transaction():
            is_alone = any(job.needs is Needs.TO_BE_ALONE for job in jobs)
            await connection.execute(
                _locking("pg_advisory_xact_lock" if is_alone else "pg_advisory_xact_lock_shared"), _LOCK
            )
            fences: dict[Fence, JournalError | None] = {}
            for group in groups(jobs):
                for job in group:
                    job.error = await self._fence_error(connection, job.fence, fences)
                allowed = [job for job in group if job.error is None]
                if allowed:
                    await self._run_group(connection, allowed)
            if any(job.needs is Needs.TO_TELL for job in jobs):
                await connection.execute("SELECT pg_notify($1, '')", _CHANNEL)

    async def _run_group(self, connection: Any, jobs: list[_Job]) -> None:
        writes = _Writes()
        first = jobs[0]
        if isinstance(first.operation, Start | End):
            errors = await _run(connection, store_calls([job.operation for job in jobs], self.place), writes)
            for job, error in zip(jobs, errors, strict=True):
                job.error = error
            return
        try:
            first.result = await _run(connection, first.operation(), writes)
        except JournalError as error:
            if writes.any:
                raise _HalfDoneError from error
            first.error = error

    async def _fence_error(
        self, connection: Any, fence: Fence | None, checked: dict[Fence, JournalError | None]
    ) -> JournalError | None:
        if fence is None:
            return None
        if fence not in checked:
            # Locked until the commit, so that nobody takes the run over in between.
            rows = await connection.fetch(_numbered(FENCE_SQL) + " FOR SHARE", fence.run_id)
            try:
                check_fence(fence, rows, self.place)
                checked[fence] = None
            except JournalError as error:
                checked[fence] = error
        return checked[fence]

    # -- reading -------------------------------------------------------------------------------------------------

    async def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads, all of it as it was at one moment."""

        async def reading(connection: Any) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _run(connection, operation(), _Writes())

        try:
            return await self._connected(reading)
        except self._asyncpg.PostgresError as error:
            raise self._as_journal_error(error) from error

    async def flush(self) -> None:
        """Wait until everything that was submitted is committed."""
        await self.submit(_nothing)

    async def until_changed(self, timeout_s: float) -> None:
        """Wait for a word from another process, at most `timeout_s`, as words are lost with a connection."""
        if self._listener is None or self._listener.is_closed():
            with contextlib.suppress(OSError, self._asyncpg.PostgresError, TimeoutError):
                self._listener = await self._asyncpg.connect(
                    self._url, timeout=_RECONNECT_S, command_timeout=_RECONNECT_S
                )
                await self._listener.add_listener(_CHANNEL, self._hear)
                # What has happened before it listened.
                return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        self._changed.clear()

    def _hear(self, *_: object) -> None:
        self._changed.set()

    async def clock_offset_s(self) -> float:
        """Ask the server: leases are compared with its clock, not with that of each host."""
        rows = await self._connected(
            lambda connection: connection.fetch("SELECT extract(epoch FROM clock_timestamp())::float8")
        )
        return rows[0][0] - time.time()

    async def shrink(self) -> None:
        """Do nothing: Postgres sees to that by itself."""

    async def close(self) -> None:
        """Commit what is left and disconnect; a second call finishes what was cancelled in the first one."""
        self._is_closed = True
        self._arrived.set()
        if self._writer is not None:
            # To await it would pass a cancellation on to it, and what it has not written would be lost.
            await asyncio.wait([self._writer])
        for connection in (self._listener, self._pool):
            if connection is not None:
                with contextlib.suppress(OSError, TimeoutError, self._asyncpg.PostgresError):
                    async with asyncio.timeout(5):
                        await connection.close()
        if self._writer is not None and not self._writer.cancelled():
            # Nothing that a database says ends it; an error of its own is not to be lost.
            self._writer.result()

    # -- connections ---------------------------------------------------------------------------------------------

    async def _connected(self, use: Callable[[Any], Awaitable[T]]) -> T:
        """Use a connection; if it is lost, get another one and do all of it again."""
        check_process(self._process, self.place)
        give_up_at = time.monotonic() + _RECONNECT_S
        silence: Silence | None = None
        pause_s = 0.05
        while True:
            try:
                async with self._pool.acquire(timeout=_RECONNECT_S) as connection:
                    silence = Silence(connection.terminate, _SILENT_S + self._busy_timeout_s)
                    with silence:
                        return await use(connection)
            except (*self._lost_errors(), self._asyncpg.PostgresError) as error:
                if silence is not None and silence.was_cut:
                    raise self._silent() from error
                if not self._is_lost(error):
                    raise
                if time.monotonic() > give_up_at:
                    raise self._as_journal_error(error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)

    def _lost_errors(self) -> tuple[type[Exception], ...]:
        # The last is what a connection says that was lost in the middle of something.
        return OSError, TimeoutError, self._asyncpg.InterfaceError, self._asyncpg.InternalClientError

    def _is_lost(self, error: Exception) -> bool:
        return isinstance(error, self._lost_errors()) or getattr(error, "sqlstate", None) in _LOST

    def _silent(self) -> JournalError:
        return JournalError(
            f"The server does not answer: nothing came from it for {_SILENT_S + self._busy_timeout_s:g} s. Look at the "
            "network, and whether the server is overloaded",
            place=self.place,
        )

    def _as_journal_error(self, error: Exception) -> JournalError:
        if isinstance(error, JournalError):
            return error
        if self._is_lost(error):
            return JournalError(f"The server cannot be reached: {str(error) or type(error).__name__}", place=self.place)
        if getattr(error, "sqlstate", None) in ("55P03", "40P01"):
            return JournalLockedError(f"Somebody else holds what is needed: {error}", place=self.place)
        return JournalError(f"Postgres says: {error}", place=self.place)


class _HalfDoneError(Exception):
    """An operation refused to go on after it had written something, so that all of the transaction is undone."""


class _Writes:
    """Whether an operation has written anything."""

    any = False


async def _run(connection: Any, steps: Steps[T], writes: _Writes) -> T:
    try:
        statement = next(steps)
        while True:
            sql = _numbered(statement.sql)
            rows: list[Any] = []
            writes.any = writes.any or not sql.startswith(("SELECT", "WITH"))
            if statement.many:
                await connection.executemany(sql, statement.parameters)
            else:
                rows = await connection.fetch(sql, *statement.parameters)
            statement = steps.send(rows)
    except StopIteration as end:
        return end.value


@lru_cache(maxsize=500)
def _numbered(sql: str) -> str:
    """Give a statement with `$1`, `$2`, ... in place of `?`."""
    first, *rest = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))


def _nothing() -> Steps[None]:
    return
    yield  # a generator, as all operations are


def _locking(function: str) -> str:
    """Give the statement that locks the journal of this schema; a database may have several."""
    return f"SELECT {function}($1, hashtext(current_schema()))"


async def open_postgres(url: str, *, fsync: bool, busy_timeout_s: float) -> PostgresStore:
    """Open a journal on a server.

    Raises:
        MissingExtraError: asyncpg is not installed.
        JournalError: the server cannot be reached, refuses, or its journal is of another version.
    """
    try:
        asyncpg = import_module("asyncpg")
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise MissingExtraError(package="asyncpg", extra="postgres", purpose="A journal in Postgres") from error
    store = PostgresStore(asyncpg, url, fsync=fsync, busy_timeout_s=busy_timeout_s)
    await store.open()
    return store
