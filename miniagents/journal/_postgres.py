"""The journal in Postgres, where many processes write: the one file that knows asyncpg."""

import asyncio
import contextlib
import os
import time
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

from miniagents._secret_texts import names_a_secret
from miniagents.errors import MissingExtraError
from miniagents.journal._call_steps import CallWrite
from miniagents.journal._postgres_connections import LONGEST_CLOSE_S, RECONNECT_S, Connections
from miniagents.journal._postgres_transactions import CHANNEL, LOCK, HalfDoneError, Job, Transaction, locking, run_steps
from miniagents.journal._schema import POSTGRES_TABLES, VERSION
from miniagents.journal._store import (
    MOST_IN_A_TRANSACTION,
    SOON_S,
    Due,
    Fence,
    Needs,
    Operation,
    Steps,
    check_process,
)
from miniagents.journal.errors import JournalError, JournalLockedError, JournalVersionError
from miniagents.promising._runner import runner_tasks

T = TypeVar("T")


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
        self._connections = Connections(asyncpg, url, self.place, busy_timeout_s=busy_timeout_s)
        self._listener: Any = None
        self._jobs: list[Job] = []
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._is_closed = self._is_locked_out = False
        self._process = os.getpid()

    async def open(self) -> None:
        """Connect, and make the tables if they are not there."""
        # Else it is for the server to say.
        settings = {"synchronous_commit": "on"} if self._fsync else {}
        settings["lock_timeout"] = str(max(1, round(self._busy_timeout_s * 1000)))
        try:
            await self._connections.open(settings, self._prepare)
        except Exception as error:
            await self.close()
            raise self._connections.as_journal_error(error) from error
        self._writer = asyncio.create_task(self._write_on(), name=f"miniagents journal {self.place}")
        # A context that cancels all tasks of its loop, because of an error, writes what is left after that.
        runner_tasks.add(self._writer)

    async def _prepare(self, connection: Any) -> None:
        async with connection.transaction():
            await self._make_tables(connection)

    async def _make_tables(self, connection: Any) -> None:
        await connection.execute(locking("pg_advisory_xact_lock"), LOCK)
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
        self._jobs.append(Job(operation, fence, needs, time.monotonic() + delay_s, future))
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

    async def _do(self, jobs: list[Job]) -> None:
        is_lost = self._connections.is_lost
        transaction = Transaction(jobs, self.place, is_lost, waits_for_locks=not self._is_locked_out)
        try:
            await self._connections.use(transaction.run)
            self._is_locked_out = False
        except HalfDoneError as error:
            if len(jobs) == 1:
                jobs[0].error = error.__cause__
                return
            await self._one_by_one(jobs)
        except Exception as error:  # noqa: BLE001 - it reaches whoever waits for the jobs
            meant = self._connections.as_journal_error(error)
            self._is_locked_out = isinstance(meant, JournalLockedError)
            if len(jobs) == 1 or meant is error or transaction.may_be_committed:
                for job in jobs:
                    job.error = meant
                return
            # What the database refuses for one must not take the others with it.
            await self._one_by_one(jobs)

    async def _one_by_one(self, jobs: list[Job]) -> None:
        for job in jobs:
            await self._do([job])

    # -- reading -------------------------------------------------------------------------------------------------

    async def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads, all of it as it was at one moment."""
        check_process(self._process, self.place)

        async def reading(connection: Any) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await run_steps(connection, operation())

        try:
            return await self._connections.use(reading)
        except self._asyncpg.PostgresError as error:
            raise self._connections.as_journal_error(error) from error

    async def flush(self) -> None:
        """Wait until everything that was submitted is committed."""
        await self.submit(_nothing)

    async def until_changed(self, timeout_s: float) -> None:
        """Wait for a word from another process, at most `timeout_s`, as words are lost with a connection."""
        if self._listener is None or self._listener.is_closed():
            with contextlib.suppress(OSError, self._asyncpg.PostgresError, TimeoutError):
                self._listener = await self._asyncpg.connect(
                    self._url, timeout=RECONNECT_S, command_timeout=RECONNECT_S
                )
                await self._listener.add_listener(CHANNEL, self._hear)
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
        rows = await self._connections.use(
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
        if self._listener is not None:
            with contextlib.suppress(OSError, TimeoutError, self._asyncpg.PostgresError):
                async with asyncio.timeout(LONGEST_CLOSE_S):
                    await self._listener.close()
        await self._connections.close()
        if self._writer is not None and not self._writer.cancelled():
            # Nothing that a database says ends it; an error of its own is not to be lost.
            self._writer.result()


def _nothing() -> Steps[None]:
    return
    yield  # a generator, as all operations are


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
