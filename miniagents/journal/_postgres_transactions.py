"""Transactions of Postgres: jobs that share a commit, done once, also where the answer to the commit is lost."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from miniagents.journal._call_steps import End, Start, groups, store_calls
from miniagents.journal._store import FENCE_SQL, Fence, Needs, Steps, check_fence
from miniagents.journal.errors import JournalError

T = TypeVar("T")

CHANNEL: Final = "miniagents_journal"
LOCK: Final = 0x6D696E69
"""Held, shared, while something is written, and alone while tables are made or something is pruned."""
_PAUSE_S: Final = 0.02
_SHORT_MS: Final = 20
"""So long a lock is waited for where one was waited for in vain before."""
_IN_THE_FUTURE: Final = "22023"
"""What Postgres says of a number that it has not given yet: it has lost that transaction, with others."""


@dataclass(slots=True)
class Job:
    operation: Any
    """An `Operation` or a `CallWrite`."""
    fence: Fence | None
    needs: Needs
    due: float
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


class HalfDoneError(Exception):
    """An operation refused to go on after it had written something, so that all of the transaction is undone."""


class Transaction:
    """Does jobs together, all or none of them. To be run again, on another connection, where one was lost.

    What was sent with the last one may be committed then. No step has to see to that: the server is asked what has
    become of the transaction, which has a number.
    """

    def __init__(
        self, jobs: Sequence[Job], place: str, is_lost: Callable[[Exception], bool], *, waits_for_locks: bool
    ) -> None:
        self._jobs = jobs
        self._waits_for_locks = waits_for_locks
        self._place = place
        self._is_lost = is_lost
        self._committing: int | None = None

    @property
    def may_be_committed(self) -> bool:
        """Whether nobody knows what has become of it, so that nothing of it is to be done in another way."""
        return self._committing is not None

    async def run(self, connection: Any) -> None:
        """Do the jobs; their results, or errors, are with them.

        Raises:
            HalfDoneError: nothing is done, because of one of them.
        """
        if self._committing is not None and await _was_committed(connection, self._committing):
            return
        self._committing = None
        for job in self._jobs:
            job.result = job.error = None
        try:
            async with connection.transaction():
                number = await self._begin(connection)
                await self._do(connection)
                # What follows is the commit.
                self._committing = number
            self._committing = None
        except Exception as error:
            if not self._is_lost(error):
                self._committing = None
            raise

    async def _begin(self, connection: Any) -> int:
        if not self._waits_for_locks:
            await connection.execute(f"SET LOCAL lock_timeout = {_SHORT_MS}")
        is_alone = any(job.needs is Needs.TO_BE_ALONE for job in self._jobs)
        lock = "pg_advisory_xact_lock" if is_alone else "pg_advisory_xact_lock_shared"
        # In one statement, as the answer to each takes its time.
        row = await connection.fetchrow(locking(lock, "txid_current()"), LOCK)
        return row[1]

    async def _do(self, connection: Any) -> None:
        fences: dict[Fence, JournalError | None] = {}
        for group in groups(self._jobs):
            for job in group:
                job.error = await self._fence_error(connection, job.fence, fences)
            allowed = [job for job in group if job.error is None]
            if allowed:
                await self._run_group(connection, allowed)
        if any(job.needs is Needs.TO_TELL for job in self._jobs):
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    async def _run_group(self, connection: Any, jobs: list[Job]) -> None:
        writes = _Writes()
        first = jobs[0]
        if isinstance(first.operation, Start | End):
            errors = await run_steps(connection, store_calls([job.operation for job in jobs], self._place), writes)
            for job, error in zip(jobs, errors, strict=True):
                job.error = error
            return
        try:
            first.result = await run_steps(connection, first.operation(), writes)
        except JournalError as error:
            if writes.any:
                raise HalfDoneError from error
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
                check_fence(fence, rows, self._place)
                checked[fence] = None
            except JournalError as error:
                checked[fence] = error
        return checked[fence]


async def _was_committed(connection: Any, number: int) -> bool:
    while True:
        try:
            status = await connection.fetchval("SELECT txid_status($1)", number)
        except Exception as error:
            if getattr(error, "sqlstate", None) != _IN_THE_FUTURE:
                raise
            return False
        if status != "in progress":
            return status == "committed"
        # The server does not know that the connection is lost: it would keep for hours what this needs.
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid::text::bigint = $1",
            number % 2**32,
        )
        await asyncio.sleep(_PAUSE_S)


class _Writes:
    """Whether an operation has written anything."""

    any = False


async def run_steps(connection: Any, steps: Steps[T], writes: _Writes | None = None) -> T:
    """Do what an operation says."""
    try:
        statement = next(steps)
        while True:
            sql = _numbered(statement.sql)
            rows: list[Any] = []
            if writes is not None:
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


def locking(function: str, *others: str) -> str:
    """Give the statement that locks the journal of this schema; a database may have several."""
    return f"SELECT {', '.join((f'{function}($1, hashtext(current_schema()))', *others))}"
