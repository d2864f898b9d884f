"""`Journal`: what happened, kept in SQLite, Postgres or memory."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Self, TypeVar

from miniagents.journal import _answer_steps, _reading_steps, _run_steps
from miniagents.journal._beginning import begin
from miniagents.journal._call_steps import equality_of
from miniagents.journal._leases import renew_leases, renew_on
from miniagents.journal._looking import Looking
from miniagents.journal._memoizing import InFlight
from miniagents.journal._opening import OpenOptions, check_is_url, open_store, refuse_file_called_memory
from miniagents.journal._own_tasks import OwnTask
from miniagents.journal._owners import this_owner
from miniagents.journal._pruning import Pruning
from miniagents.journal._store import Fence, Needs, Store
from miniagents.journal._time_to_live import TimeToLive, check_age, split_time_to_live
from miniagents.journal._to_rows import encoded
from miniagents.journal._values import check_text
from miniagents.journal._waiting import ChangeWatch
from miniagents.journal.errors import JournalError, RunBusyError, UnstorableValueError
from miniagents.journal.records import (
    CallRecord,
    FinishedCall,
    Pruned,
    Question,
    RunRecord,
    StartedCall,
    StoredMessage,
)
from miniagents.journal.run_journal import Durability, RunJournal
from miniagents.promising.ext.frozen import Frozen

T = TypeVar("T")

OnBusyRun = Literal["refuse", "fence"]
"""What happens where another process holds the run: that is an error, or the run is taken over."""


class Journal:
    """Runs, calls, messages and questions, stored once each; open it with `Journal.open(url)`.

    Nothing here blocks the event loop. Read methods give what is committed. All errors are `JournalError`s.

    Attributes:
        place: the file or server, without passwords.
    """

    def __init__(self, store: Store, *, owner: str, clock_offset_s: float, lease_s: float) -> None:
        self.store = store
        self.place = store.place
        self._owner = owner
        self._clock_offset_s = clock_offset_s
        self._lease_s = lease_s
        self._runs: dict[str, RunJournal] = {}
        self._beginning: set[str] = set()
        self._signs_of_life = OwnTask("signs of life of runs")
        self._watch = ChangeWatch(store)
        self.looking = Looking(store)
        """What is read for `runs`, `log` and the like (for this package)."""
        self._time_to_live: TimeToLive | None = None
        self.in_flight = InFlight()
        """The memoised calls of all contexts that use this journal (for this package)."""

    # -- opening -------------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        fsync: bool = False,
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
        max_bytes: int | None = None,
        lease_s: float = 10.0,
        may_be_new: bool = True,
        time_to_live: timedelta | None = None,
    ) -> Self:
        """Open a journal: `async with await Journal.open("sqlite:///runs.db") as journal:`.

        `url` is `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, `postgresql://user@host/database` (needs
        the extra `postgres`) or `memory://`. A file that is not there is made, and so are the tables.

        Args:
            url: where it is.
            fsync: whether what is committed survives a power failure, too; else it survives `kill -9`.
            read_only: whether nothing is to be written, and no file made or left behind; SQLite only.
            busy_timeout_s: how long a write waits while another process writes to the same file.
            max_bytes: how large the file may become; SQLite only.
            lease_s: after how long without a sign of life a run is free for other processes. A process of this machine
                that is gone is noticed at once.
            may_be_new: whether a file that is not there is made; else that is an error.
            time_to_live: runs in which nothing has happened for so long are removed, in the background, now and about
                once an hour; as part of the URL, `?time_to_live=30d`.

        Raises:
            JournalVersionError: it has another version, or is the database of something else.
            JournalCorruptError: the file is damaged, or no database.
            JournalLockedError: another process has locked the file for too long.
            JournalError: anything else that is wrong with the URL, file or server.
            TypeError: `url` is no text; for a `Path` the URL is named.
            MissingExtraError: `asyncpg` is not installed.
        """
        check_is_url(url, "url")
        options = OpenOptions(
            fsync=fsync, read_only=read_only, busy_timeout_s=busy_timeout_s, max_bytes=max_bytes, may_be_new=may_be_new
        )
        refuse_file_called_memory(url)
        url, kept_for = split_time_to_live(url, time_to_live)
        store = await open_store(url, options)
        try:
            offset_s = await store.clock_offset_s()
            owner = await asyncio.to_thread(this_owner)
        except BaseException:
            await store.close()
            raise
        journal = cls(store, owner=owner, clock_offset_s=offset_s, lease_s=lease_s)
        if kept_for is not None and not read_only:
            journal._time_to_live = TimeToLive(kept_for, store.place)
            journal._time_to_live.go_on(journal.prune)
        return journal

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit everything, let go of runs that have not ended (`interrupted`), and close all connections.

        Where that is cancelled, or a part of it fails, a second `close()` does the rest.
        """
        # The last one first, and each of them, whatever becomes of the others.
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.store.close)
            stack.push_async_callback(self._watch.close)
            stack.push_async_callback(self._signs_of_life.end)
            if self._time_to_live is not None:
                stack.push_async_callback(self._time_to_live.end)
            for run in self._runs.values():
                stack.push_async_callback(self._interrupt, run)

    async def _interrupt(self, run: RunJournal) -> None:
        with contextlib.suppress(RunBusyError):
            await run.end("interrupted")

    def now(self) -> float:
        """The time in seconds since 1970, by the clock of the database."""
        return time.time() + self._clock_offset_s

    # -- writing -------------------------------------------------------------------------------------------------

    async def begin_run(
        self,
        run_id: str,
        *,
        durability: Durability = "step",
        on_busy: OnBusyRun = "refuse",
    ) -> RunJournal:
        """Take hold of a run, new or not, for writing. End it with `await run.end()`.

        If another process holds it: `"refuse"` raises, `"fence"` takes it over, after which every write of the other
        one is refused. A process of this machine that is gone holds nothing, nor does one of another machine without a
        sign of life for `lease_s`; one that is here is waited for however long its event loop is busy.

        Raises:
            RunBusyError: another process, or another part of this one, holds it.
            UnstorableValueError: `run_id` is no name.
        """
        check_text(run_id, "run_id", self.place)
        if run_id in self._runs or run_id in self._beginning:
            raise RunBusyError(
                f"This very journal has begun the run {run_id!r} already", place=self.place, run_id=run_id
            )
        # Before anything is awaited: the database does not tell two of the same journal apart.
        self._beginning.add(run_id)
        try:
            begun = await self._begin(run_id, takes_over=on_busy == "fence")
            run = self._runs[run_id] = RunJournal(self, run_id, begun, durability)
        finally:
            self._beginning.discard(run_id)
        self._signs_of_life.go_on(partial(renew_on, self._renew_leases, self._lease_s, lambda: bool(self._runs)))
        if self._time_to_live is not None:
            self._time_to_live.go_on(self.prune)
        return run

    async def _begin(self, run_id: str, *, takes_over: bool) -> _run_steps.Begun:
        return await begin(self.store, run_id, self._owner, now=self.now, lease_s=self._lease_s, takes_over=takes_over)

    async def let_go(self, run: RunJournal, state: str) -> None:
        """End a run; this is what `run.end()` does."""
        if self._runs.get(run.run_id) is not run:
            return
        del self._runs[run.run_id]
        fence = Fence(run.run_id, run.token)
        await self.store.submit(lambda: _run_steps.let_go(run.run_id, state, self.now()), fence=fence)

    async def _renew_leases(self) -> None:
        await renew_leases(self.store, list(self._runs.values()), self.now, self._lease_s)

    async def find_memoized(self, call: StartedCall, *, max_age: timedelta | None = None) -> FinishedCall | None:
        """Give the latest answer to an equal call (agent, version, settings, inputs) in any run.

        Raises:
            JournalCorruptError: a reply does not match its hash, or cannot be made again.
        """
        equal = equality_of(call)
        if equal is None:
            return None
        since = 0.0 if max_age is None else self.now() - max_age.total_seconds()
        return await self.looking.read(lambda: _answer_steps.read_equal(equal, since, self.place))

    async def flush(self) -> None:
        """Wait until everything that was written so far is committed."""
        await self.store.flush()

    # -- looking -------------------------------------------------------------------------------------------------

    def runs(self) -> AsyncIterator[RunRecord]:
        """Give all runs, the one that began last first.

        Raises:
            JournalCorruptError: a row of a run, or of a call, cannot be read; raised when all others are told.
        """
        return self.looking.runs()

    def log(self, run_id: str) -> AsyncIterator[CallRecord]:
        """Give all calls of a run, in the order in which they were first started.

        Raises:
            JournalError: there is no such run; the latest ones are named.
            JournalCorruptError: a row of a call, or of its inputs, cannot be read; raised when all others are told.
        """
        return self.looking.log(run_id)

    def why(self, hash_prefix: str) -> AsyncIterator[CallRecord]:
        """Give the calls that a message comes from: the one that made it, those that made its inputs, and so on.

        Where a message has others inside it, so do these. Each call is there once, nearer ones first. What no call has
        replied with has none.

        Raises:
            JournalError: no message has a hash that begins so, or several have; these are named.
            JournalCorruptError: a row of a call, or of its inputs, cannot be read; raised when all others are told.
        """
        return self.looking.why(hash_prefix)

    async def show(self, hash_prefix: str) -> Frozen:
        """Give a message, or the settings of a call, whole: with all messages inside it.

        A class that this process does not know becomes a plain `Message` with the same fields and hash key.

        Raises:
            JournalError: no hash begins so, or several do; or two classes have the name that is stored.
            JournalCorruptError: it, or a message inside it, does not match its hash or does not fit its class.
        """
        return await self.looking.show(hash_prefix)

    async def stored(self, hash_prefix: str) -> StoredMessage:
        """Give a message as it is stored: without its class, and without loading what is inside it.

        Raises:
            JournalError: no hash begins so, or several do.
            JournalCorruptError: it does not match its hash.
        """
        return await self.looking.stored(hash_prefix)

    def questions(self, run_id: str | None = None) -> AsyncIterator[Question]:
        """Give the questions of a run, or of all runs, the oldest first; open ones have no `answered_at`.

        Raises:
            JournalError: there is no such run; the latest ones are named.
            JournalCorruptError: a question, or its answer, cannot be read; raised when all others are told.
        """
        return self.looking.questions(run_id)

    async def answer(self, run_id: str, key: str, answer: Any) -> None:
        """Answer a question, whoever asked it; the same answer once more is no error.

        `answer` is what JSON can hold, with `Frozen` objects anywhere in it.

        Raises:
            JournalError: there is no such run (the latest ones are named), nothing was asked there (open keys are
                named), or it has another answer already.
            UnstorableValueError: the answer cannot be stored.
        """
        check_text(run_id, "run_id", self.place)
        check_text(key, "key", self.place)
        text, rows = encoded(answer, "answer", self.place)
        if text == "null":
            raise UnstorableValueError("None is no answer", place=self.place, field="answer")
        await self.store.submit(
            lambda: _run_steps.answer(run_id, key, text, rows, self.now(), self.place), needs=Needs.TO_TELL
        )
        self._watch.tell()

    async def prune(self, older_than: timedelta) -> Pruned:
        """Remove the runs in which nothing has happened for so long, and the messages that no other run needs.

        Runs that a process holds stay. Others may write meanwhile: it takes many small steps.

        Raises:
            TypeError, ValueError: `older_than` is no `timedelta`, or less than nothing.
            JournalCorruptError: a row cannot be read, so that nobody can tell which messages are needed.
        """
        check_age(older_than)
        return await Pruning(self.store, self._owner, self.now, self._lease_s).prune(older_than)

    async def wait_for_answer(self, run_id: str, key: str) -> Question:
        """Wait until a question is answered, by whichever process.

        Raises:
            JournalError: nothing was asked there, or the journal is closed.
        """
        check_text(key, "key", self.place)
        while True:
            with self._watch.change() as change:
                row = await self.looking.read(lambda: _reading_steps.question_row(run_id, key))
                if row is None:
                    raise JournalError(
                        f"The run {run_id!r} has not asked anything under the key {key!r}",
                        place=self.place,
                        row=f"question {key}",
                    )
                if row[4] is not None:
                    return await self.looking.question(row)
                await change
