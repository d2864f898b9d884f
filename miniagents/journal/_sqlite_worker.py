"""A thread that runs operations on one connection of SQLite; those that wait at the same moment share a commit."""

import asyncio
import collections
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from miniagents.journal._call_steps import CallWrite, End, Start, groups, store_calls
from miniagents.journal._open_file import OpenFile
from miniagents.journal._patience import Patience
from miniagents.journal._sqlite_errors import as_journal_error
from miniagents.journal._store import (
    FENCE_SQL,
    MOST_IN_A_TRANSACTION,
    SOON_S,
    Due,
    Fence,
    Operation,
    Steps,
    check_fence,
)
from miniagents.journal._unfiled import (
    ADD_SQL,
    IDLE_S,
    MOST_AT_A_TIME,
    MOST_CHARACTERS,
    MOST_UNFILED,
    encode_steps,
    file_steps,
)
from miniagents.journal.errors import JournalError, JournalLockedError

T = TypeVar("T")

_PAGES_OF_A_COMMIT: Final = 8
_PAGES_BETWEEN_CHECKPOINTS: Final = 700
"""Estimated; as many as SQLite itself waits for."""
_MOST_BEGUN: Final = 20_000
"""Of so many calls it is remembered that they have begun."""


@dataclass(slots=True)
class Job:
    operation: Any
    """An `Operation` or a `CallWrite`."""
    fence: Fence | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


class SqliteWorker(threading.Thread):
    """Does jobs on one connection; those that are there at the same moment share a transaction.

    A job that may wait stays in the queue without having the thread do it: each time that costs more than the write
    itself. The first one of some tells the thread when they are due, which a loop that is busy then could not.
    """

    def __init__(
        self, connection: sqlite3.Connection, place: str, *, writes: bool, file: OpenFile | None = None
    ) -> None:
        # A program that never closes the journal still ends.
        super().__init__(name=f"miniagents journal {place}", daemon=True)
        self.connection = connection
        self._patience = Patience(connection)
        self.place = place
        self._file_there = file
        self._files = writes
        self._begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        # Neither has a lock that could be waited for on the event loop.
        self._jobs: collections.deque[Job] = collections.deque()
        self._wakes: queue.SimpleQueue[Due] = queue.SimpleQueue()
        self._is_woken = False
        self._is_closing = False
        self._has_soon = False
        self._soon_at = 0.0
        self._committed_since_checkpoint = 0
        self._is_checkpoint_due = False
        self.checkpointer: SqliteWorker | None = None
        # How many steps this process has left unfiled, and which calls are known to have begun and not ended.
        self._unfiled = 0
        self._begun: set[tuple[str, str]] = set()

    def submit(self, operation: Operation[T] | CallWrite, fence: Fence | None, due: Due) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append(Job(operation, fence, loop, future))
        if due is Due.NOW or len(self._jobs) >= MOST_IN_A_TRANSACTION:
            self.wake()
        elif due is Due.SOON:
            # Set before the clock is read: the thread looks at it when the time has come.
            self._has_soon = True
            now = time.monotonic()
            if now >= self._soon_at:
                self._soon_at = now + SOON_S
                self._wakes.put(Due.SOON)
        return future

    def wake(self) -> None:
        """Have all jobs done that are there."""
        if not self._is_woken:
            self._is_woken = True
            self._wakes.put(Due.NOW)

    def checkpoint_soon(self) -> None:
        """Have what is committed moved from the log of SQLite to its place in the file."""
        self._is_checkpoint_due = True
        self.wake()

    def close(self) -> None:
        """Have the thread end when all jobs are done."""
        self._is_closing = True
        self.wake()

    def run(self) -> None:
        while not self._is_closing or self._jobs:
            if not self._is_closing and not self._is_woken_in_time():
                self._file()
                continue
            # Before it looks for jobs: one that comes after that wakes it again.
            self._is_woken = self._has_soon = False
            jobs = self._take()
            while jobs:
                self._do(jobs)
                jobs = self._take() if len(jobs) == MOST_IN_A_TRANSACTION else []
            if self._is_checkpoint_due:
                self._is_checkpoint_due = False
                # Not a disaster: the writer does it itself when the log has become long.
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if self._unfiled:
            self._file()
        self.connection.close()

    def _is_woken_in_time(self) -> bool:
        """Wait until jobs are to be done; False if there are none for so long that steps are to be filed."""
        while True:
            rest_s = self._soon_at - time.monotonic()
            if rest_s <= 0 and self._has_soon:
                return True
            try:
                if self._wakes.get(timeout=rest_s if rest_s > 0 else IDLE_S if self._unfiled else None) is Due.NOW:
                    return True
            except queue.Empty:
                if rest_s <= 0:
                    return False

    def _file(self) -> None:
        # What goes wrong here reaches whoever reads or writes next: then it is tried again.
        with contextlib.suppress(sqlite3.Error, JournalError):
            try:
                self.connection.execute(self._begin)
                self._file_within()
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        self._unfiled = 0

    def _file_within(self) -> None:
        if self._files:
            run_steps(self.connection, file_steps(self.place))

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        # Nobody else takes any.
        while self._jobs and len(jobs) < MOST_IN_A_TRANSACTION:
            jobs.append(self._jobs.popleft())
        return jobs

    def _do(self, jobs: list[Job]) -> None:
        try:
            self._transact(jobs)
            self._patience.note(was_locked_out=isinstance(jobs[-1].error, JournalLockedError))
            self._count_pages(len(jobs))
        finally:
            by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
            for job in jobs:
                by_loop.setdefault(job.loop, []).append(job)
            # The very last thing: the loop goes on at once, and the two would only be in each other's way.
            for loop, done in by_loop.items():
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(_finish, done)

    def _count_pages(self, jobs: int) -> None:
        if self.checkpointer is not None:
            self._committed_since_checkpoint += 2 if self._unfiled else _PAGES_OF_A_COMMIT + jobs
            if self._committed_since_checkpoint > _PAGES_BETWEEN_CHECKPOINTS:
                self._committed_since_checkpoint = 0
                self.checkpointer.checkpoint_soon()

    def _transact(self, jobs: list[Job]) -> None:
        try:
            if self._file_there is not None:
                self._file_there.check()
            if self._leave_unfiled(jobs):
                return
            self.connection.execute(self._begin)
            self._file_within()
            failed = self._run_all(jobs)
            if failed is None:
                self.connection.execute("COMMIT")
                self._unfiled = 0
                self._note(jobs)
                return
        except sqlite3.Error as error:
            self._roll_back()
            # What is refused, or too large, must not take the others with it; a lock would be waited for each time.
            if len(jobs) > 1 and "locked" not in str(error):
                self._one_by_one(jobs)
                return
            self._fail(jobs, as_journal_error(error, self.place))
        except BaseException as error:  # noqa: BLE001 - it reaches whoever waits for the jobs
            self._roll_back()
            self._fail(jobs, error)
        else:
            self._roll_back()
            others = [job for job in jobs if job is not failed]
            if others:
                self._one_by_one(others)

    def _one_by_one(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.result = job.error = None
            self._transact([job])

    def _fail(self, jobs: list[Job], error: BaseException) -> None:
        for job in jobs:
            job.error = error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _run_all(self, jobs: list[Job]) -> Job | None:
        """Run the operations; give the one that failed after it had written something, if one did."""
        fences: dict[Fence, JournalError | None] = {}
        for group in groups(jobs):
            first = group[0]
            if isinstance(first.operation, Start | End):
                self._run_calls([job for job in group if self._is_let_in(job, fences)])
            elif self._is_let_in(first, fences):
                # It may be the one that gives the run to somebody else.
                fences.clear()
                before = self.connection.total_changes
                try:
                    first.result = run_steps(self.connection, first.operation())
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - it is whoever waits for this job that it concerns
                    first.error = error
                    if self.connection.total_changes != before:
                        return first
        return None

    def _run_calls(self, jobs: list[Job]) -> None:
        writes: list[CallWrite] = [job.operation for job in jobs]
        errors = run_steps(self.connection, store_calls(writes, self.place)) if writes else []
        for job, error in zip(jobs, errors, strict=True):
            job.error = error

    def _leave_unfiled(self, jobs: list[Job]) -> bool:
        """Commit a few steps of calls as one row for each run; False if they are others, and nothing was done."""
        if not self._files or len(jobs) > MOST_AT_A_TIME or self._unfiled > MOST_UNFILED:
            return False
        begun: set[tuple[str, str]] = set()
        by_fence: dict[Fence, list[CallWrite]] = {}
        for job in jobs:
            write, fence = job.operation, job.fence
            if isinstance(write, Start):
                begun.add((write.run_id, write.key))
            elif not isinstance(write, End) or not self._has_begun(write, begun):
                # Whether its beginning was ever recorded is to be looked up.
                return False
            if fence is None:
                return False
            by_fence.setdefault(fence, []).append(write)
        rows = [(encode_steps(writes), fence) for fence, writes in by_fence.items()]
        if sum(len(text) for text, _ in rows) > MOST_CHARACTERS or not self._add_unfiled(rows):
            return False
        self._unfiled += len(jobs)
        self._note(jobs)
        return True

    def _has_begun(self, end: End, begun: set[tuple[str, str]]) -> bool:
        name = (end.run_id, end.key)
        return name in begun or name in self._begun

    def _add_unfiled(self, rows: list[tuple[str, Fence]]) -> bool:
        """Commit texts, each for a run; False if one of the runs was taken over, and nothing was done."""
        execute = self.connection.execute
        if len(rows) == 1:
            # By itself a statement is a transaction: the one that nearly all calls need.
            ((text, fence),) = rows
            return execute(ADD_SQL, (text, *fence)).rowcount == 1
        execute(self._begin)
        if all(execute(ADD_SQL, (text, *fence)).rowcount == 1 for text, fence in rows):
            execute("COMMIT")
            return True
        execute("ROLLBACK")
        return False

    def _note(self, jobs: list[Job]) -> None:
        """Take note of which calls have begun, and not ended, now that this is committed."""
        if len(self._begun) > _MOST_BEGUN:
            # Of the others it is looked up.
            self._begun.clear()
        for job in jobs:
            write = job.operation
            if isinstance(write, Start) and job.error is None:
                self._begun.add((write.run_id, write.key))
            elif isinstance(write, End):
                self._begun.discard((write.run_id, write.key))

    def _is_let_in(self, job: Job, fences: dict[Fence, JournalError | None]) -> bool:
        fence = job.fence
        if fence is None:
            return True
        if fence not in fences:
            try:
                check_fence(fence, self.connection.execute(FENCE_SQL, (fence.run_id,)).fetchall(), self.place)
                fences[fence] = None
            except JournalError as error:
                fences[fence] = error
        job.error = fences[fence]
        return job.error is None


def run_steps(connection: sqlite3.Connection, steps: Steps[T]) -> T:
    try:
        statement = next(steps)
        while True:
            if statement.many:
                connection.executemany(statement.sql, statement.parameters)
                rows = []
            else:
                rows = connection.execute(statement.sql, statement.parameters).fetchall()
            statement = steps.send(rows)
    except StopIteration as end:
        return end.value


def _finish(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
