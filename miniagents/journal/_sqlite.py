"""The journal in SQLite: one thread writes, another one reads, and the event loop waits for neither."""

import asyncio
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from miniagents.journal._call_steps import CallWrite
from miniagents.journal._open_file import OpenFile
from miniagents.journal._opening import OpenOptions
from miniagents.journal._schema import SQLITE_TABLES, VERSION
from miniagents.journal._sqlite_errors import as_journal_error
from miniagents.journal._sqlite_looking import LookingStore
from miniagents.journal._sqlite_worker import SqliteWorker
from miniagents.journal._store import (
    Due,
    Fence,
    Needs,
    Operation,
    Statement,
    Steps,
    check_process,
)
from miniagents.journal._unfiled import UnfiledStepsError, if_all_is_filed
from miniagents.journal.errors import (
    JournalError,
    JournalVersionError,
)

T = TypeVar("T")

_POLL_S = 0.2
_PAGES_AT_A_TIME = 2000
_PAGE_SIZE_BYTES: Final = 4096
_MOST_PAGES_IN_WAL: Final = 2000
_WAL_LIMIT_BYTES: Final = 8 * 1024 * 1024


class SqliteStore:
    """A file, or a database in memory. May be used from several event loops."""

    def __init__(
        self,
        writer: SqliteWorker,
        reader: SqliteWorker,
        *,
        is_shared: bool,
    ) -> None:
        self.place = writer.place
        self.url = f"sqlite:///{quote(writer.place)}" if is_shared else None
        self._writer = writer
        self._reader = reader
        self._is_shared = is_shared
        self._is_closed = False
        self._process = os.getpid()
        self._seen_version: int | None = None

    def submit(
        self,
        operation: Operation[T] | CallWrite,
        *,
        fence: Fence | None = None,
        due: Due = Due.NOW,
        needs: Needs = Needs.NOTHING,
    ) -> "asyncio.Future[T]":
        """Queue a write."""
        self._check_open()
        return self._writer.submit(operation, fence, due)

    async def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads."""
        self._check_open()
        try:
            return await self._reader.submit(if_all_is_filed(operation), None, Due.NOW)
        except UnfiledStepsError:
            # After that all is filed that was committed when this began.
            await self.flush()
            return await self._reader.submit(operation, None, Due.NOW)

    async def flush(self) -> None:
        """Wait until everything that was submitted is committed."""
        await self.submit(_nothing)

    async def until_changed(self, timeout_s: float) -> None:
        """Wait until some other connection has changed something: the file is asked five times a second."""
        if not self._is_shared:
            await asyncio.sleep(timeout_s)
            return
        for _ in range(max(1, math.ceil(timeout_s / _POLL_S))):
            # Compared with what it was in the last call: what has changed between the two is not to be missed.
            before, self._seen_version = self._seen_version, await self.read(_read_data_version)
            if before != self._seen_version:
                return
            await asyncio.sleep(min(_POLL_S, timeout_s))

    async def clock_offset_s(self) -> float:
        """Give nothing: the clock is that of this machine."""
        return 0.0

    async def shrink(self) -> None:
        """Give room that is not needed any more back to the disk."""
        while await self.submit(_shrink):
            pass

    async def close(self) -> None:
        """Commit what is left and close the file; a second call waits for what was cancelled in the first one."""
        self._is_closed = True
        if self._process != os.getpid():
            # The threads are those of the other process.
            return
        try:
            # The writer last: it is the one that clears the log of SQLite away.
            for worker in (self._reader, self._writer):
                worker.close()
                await asyncio.to_thread(worker.join)
        finally:
            # Also where that was cancelled, and nobody calls this again.
            self._writer.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalError("It is closed", place=self.place)
        check_process(self._process, self.place)


def _nothing() -> Steps[None]:
    return
    yield  # a generator, as all operations are


def _shrink() -> Steps[bool]:
    """Give some pages back; whether there are more, so that other writes come in between."""
    rows = yield Statement("PRAGMA freelist_count")
    # Python takes one step of such a statement, and one step gives one page back.
    for _ in range(min(rows[0][0], _PAGES_AT_A_TIME)):
        yield Statement("PRAGMA incremental_vacuum")
    return rows[0][0] > _PAGES_AT_A_TIME


def _read_data_version() -> Steps[int]:
    rows = yield Statement("PRAGMA data_version")
    return rows[0][0]


# --------------------------------------------------------------------------------------------------------- opening


async def open_sqlite(path: Path | None, options: OpenOptions) -> SqliteStore | LookingStore:
    """Open the file, made if it is not there; None: a database in memory.

    Raises:
        JournalError: the folder is not there, or the file is read-only, damaged, locked, of another version, not ours.
    """
    place = "memory" if path is None else str(path)
    if path is not None and options.read_only:
        await asyncio.to_thread(_check_is_there, path, options, place)
        check = partial(_check_version, place=place)
        looking = LookingStore(path, place, check, busy_timeout_s=options.busy_timeout_s)
        await looking.read(_nothing)
        return looking
    if options.read_only:
        raise JournalError(
            "There is nothing to be read in a journal that begins here: leave out `read_only`", place=place
        )
    connections = await asyncio.to_thread(_open_both, path, options, place)
    file = None if path is None else await asyncio.to_thread(OpenFile, path, place)
    writer = SqliteWorker(connections[0], place, writes=True, file=file)
    writer.start()
    reader = writer
    if connections[1] is not None:
        reader = SqliteWorker(connections[1], place, writes=False)
        reader.start()
        writer.checkpointer = reader
    return SqliteStore(writer, reader, is_shared=path is not None)


def _check_is_there(path: Path, options: OpenOptions, place: str) -> None:
    if not path.parent.is_dir():
        raise JournalError(f"The folder {str(path.parent)!r} does not exist; make it first", place=place)
    if (options.read_only or not options.may_be_new) and not path.exists():
        raise JournalError("There is no such file", place=place)


def _open_both(
    path: Path | None, options: OpenOptions, place: str
) -> tuple[sqlite3.Connection, sqlite3.Connection | None]:
    if path is not None:
        _check_is_there(path, options, place)
    opened: list[sqlite3.Connection] = []
    try:
        writer = _connect(path, options)
        opened.append(writer)
        _prepare(writer, options, place)
        if path is None:
            return writer, None
        opened.append(_connect(path, options))
        return opened[0], opened[1]
    except sqlite3.Error as error:
        _close(opened)
        raise as_journal_error(error, place) from error
    except JournalError:
        _close(opened)
        raise


def _close(connections: Iterable[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()


def _connect(path: Path | None, options: OpenOptions) -> sqlite3.Connection:
    name = ":memory:" if path is None else f"{path.absolute().as_uri()}?mode=rwc"
    return sqlite3.connect(
        name,
        uri=path is not None,
        timeout=options.busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )


def _prepare(connection: sqlite3.Connection, options: OpenOptions, place: str) -> None:
    connection.execute(f"PRAGMA synchronous = {'FULL' if options.fsync else 'NORMAL'}")
    # Only in a file that is still empty have the first two an effect.
    # Most writes change a few rows in each of ten pages, which go to the log whole.
    connection.execute(f"PRAGMA page_size = {_PAGE_SIZE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _check_is_ours(connection, place)
    _until_not_busy(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall(), options.busy_timeout_s)
    # The reader's thread sees to it before that, so that no write waits for the disk.
    connection.execute(f"PRAGMA wal_autocheckpoint = {_MOST_PAGES_IN_WAL}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    if options.max_bytes is not None:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, options.max_bytes // page_size)}")
    if _version(connection) != VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _make_tables(connection, place)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _make_tables(connection: sqlite3.Connection, place: str) -> None:
    # Another process may have made them while this one waited for the lock.
    _check_is_ours(connection, place)
    if _version(connection) != VERSION:
        for table in SQLITE_TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _until_not_busy(attempt: Callable[[], Any], timeout_s: float) -> None:
    # SQLite does not wait by itself here.
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            attempt()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _check_is_ours(connection: sqlite3.Connection, place: str) -> None:
    if _version(connection) == 0:
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        # Another process may have made ours in between.
        if tables and _version(connection) == 0:
            raise JournalVersionError("This is the database of something else: name another file", place=place)
        return
    _check_version(connection, place)


def _check_version(connection: sqlite3.Connection, place: str) -> None:
    version = _version(connection)
    if version != VERSION:
        raise JournalVersionError(
            f"The journal has version {version}, and this version of miniagents reads version {VERSION}. Use the "
            "miniagents that wrote it, or another file",
            place=place,
        )
