"""Looking into a file of SQLite that others write, maybe other users: nothing is written, and no file is left behind.

To read a file that has a log (`-wal`) SQLite needs the index of that (`-shm`), and makes both where they are not there.
Those who own the file could not write it any more, as both would belong to whoever has looked. So there are three ways:

no log, or an empty one  the file is all there is: it is read as one that does not change, and again if it has changed
a log and its index      somebody writes, or was killed: they are there already, and SQLite reads them
a log without its index  both files are copied, and the copy is read
"""

import asyncio
import math
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from miniagents.journal._call_steps import CallWrite
from miniagents.journal._sqlite_errors import as_journal_error
from miniagents.journal._sqlite_worker import run_steps
from miniagents.journal._store import Due, Fence, Needs, Operation, check_process
from miniagents.journal._unfiled import UnfiledStepsError, file_steps, if_all_is_filed
from miniagents.journal.errors import JournalError, JournalLockedError

T = TypeVar("T")

_POLL_S: Final = 0.2
_MOST_ATTEMPTS: Final = 20


class LookingStore:
    """A file that is only read. May be used from several event loops."""

    def __init__(
        self, path: Path, place: str, check: Callable[[sqlite3.Connection], None], busy_timeout_s: float
    ) -> None:
        self.place = place
        self.url: str | None = f"sqlite:///{quote(place)}"
        self._file = _File(path.absolute(), place, check, busy_timeout_s)
        self._is_closed = False
        self._process = os.getpid()
        self._seen: _State | None = None

    def submit(
        self,
        operation: Operation[T] | CallWrite,
        *,
        fence: Fence | None = None,
        due: Due = Due.NOW,
        needs: Needs = Needs.NOTHING,
    ) -> "asyncio.Future[T]":
        """Refuse to write."""
        self._check_open()
        raise JournalError("It was opened for reading only", place=self.place)

    async def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads."""
        self._check_open()
        return await asyncio.to_thread(self._file.read, operation)

    async def flush(self) -> None:
        """Do nothing: nothing is written."""

    async def until_changed(self, timeout_s: float) -> None:
        """Wait until somebody has changed something: the file is looked at five times a second."""
        for _ in range(max(1, math.ceil(timeout_s / _POLL_S))):
            self._check_open()
            # Compared with what it was in the last call: what has changed between the two is not to be missed.
            before, self._seen = self._seen, await asyncio.to_thread(self._file.state)
            if before != self._seen:
                return
            await asyncio.sleep(min(_POLL_S, timeout_s))

    async def clock_offset_s(self) -> float:
        """Give nothing: the clock is that of this machine."""
        return 0.0

    async def shrink(self) -> None:
        """Do nothing: nothing is written."""

    async def close(self) -> None:
        """Forget what was copied."""
        self._is_closed = True
        await asyncio.to_thread(self._file.forget)

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalError("It is closed", place=self.place)
        check_process(self._process, self.place)


class _State(NamedTuple):
    """What tells whether a file, or its log, was written: number, size and time; None where there is none."""

    file: tuple[int, int, int] | None
    log: tuple[int, int, int] | None
    has_index: bool

    @property
    def is_all_in_file(self) -> bool:
        return self.log is None or not self.log[1]


class _File:
    """What is read, in threads: it blocks. No connection stays open: the last one to be closed clears the log away."""

    def __init__(
        self, path: Path, place: str, check: Callable[[sqlite3.Connection], None], busy_timeout_s: float
    ) -> None:
        self._path = path
        self._place = place
        self._check = check
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        self._copy: sqlite3.Connection | None = None
        self._copied: _State | None = None

    def state(self) -> _State:
        """Give what it is like now."""
        return _State(_stat(self._path), _stat(self._beside("-wal")), self._beside("-shm").exists())

    def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads, all of it as it was at one moment.

        Raises:
            JournalError: the file cannot be read, or there is no room for a copy.
        """
        with self._lock:
            for _ in range(_MOST_ATTEMPTS):
                state = self.state()
                try:
                    result = self._read(operation, state)
                except (sqlite3.Error, OSError, JournalError, ValueError) as error:
                    if state == self.state():
                        raise self._meant(error) from error
                    continue
                # With the log and its index SQLite itself sees to it.
                if (not state.is_all_in_file and state.has_index) or state == self.state():
                    return result
        raise JournalLockedError("It was opened and closed by others all the time", place=self._place)

    def _meant(self, error: Exception) -> Exception:
        if isinstance(error, OSError):
            return JournalError(f"It cannot be copied, to be read: {error}", place=self._place)
        return as_journal_error(error, self._place) if isinstance(error, sqlite3.Error) else error

    def _read(self, operation: Operation[T], state: _State) -> T:
        if self._copy is None or state != self._copied:
            with self._connected(state) as connection:
                self._check(connection)
                connection.execute("BEGIN")
                try:
                    return run_steps(connection, if_all_is_filed(operation)())
                except UnfiledStepsError:
                    connection.execute("ROLLBACK")
                    self._make_copy(connection, state)
        assert self._copy is not None
        return run_steps(self._copy, operation())

    @contextmanager
    def _connected(self, state: _State) -> Generator[sqlite3.Connection]:
        if state.is_all_in_file or state.has_index:
            unchanging = "&immutable=1" if state.is_all_in_file else ""
            with closing(self._connect(f"{self._path.as_uri()}?mode=ro{unchanging}")) as connection:
                yield connection
            return
        with tempfile.TemporaryDirectory(prefix="miniagents-") as folder:
            copy = Path(folder) / "copy.db"
            shutil.copyfile(self._path, copy)
            shutil.copyfile(self._beside("-wal"), f"{copy}-wal")
            with closing(self._connect(copy.as_uri())) as connection:
                yield connection

    def _connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(
            name, uri=True, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )

    def _make_copy(self, original: sqlite3.Connection, state: _State) -> None:
        """Copy a file that a process has left behind which was killed, and file its steps there."""
        self._forget()
        # In a temporary file that SQLite makes when it gets too large for the memory, and removes.
        self._copy = copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        original.backup(copy)
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("BEGIN")
        run_steps(copy, file_steps(self._place))
        copy.execute("COMMIT")
        self._copied = state

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)

    def _forget(self) -> None:
        copy, self._copy, self._copied = self._copy, None, None
        if copy is not None:
            copy.close()

    def forget(self) -> None:
        """Close what was opened."""
        with self._lock:
            self._forget()


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found: Any = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
