"""What the journal needs of a database: `Store`; and in what form it is told what to do.

An operation is a generator that yields statements and is sent their rows, so that one and the same code works in the
writer thread of SQLite and on the connections of Postgres. Operations may be run again from the start, when a
connection was lost or another operation of the same transaction failed: twice must be as good as once.
"""

import asyncio
import os
from collections.abc import Callable, Generator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from miniagents.journal._bodies import Row
from miniagents.journal.errors import JournalError, RunBusyError

if TYPE_CHECKING:
    from miniagents.journal._call_steps import CallWrite

T = TypeVar("T")

Rows = list[Any]


class Statement(NamedTuple):
    """One statement of SQL; parameters are `?`."""

    sql: str
    parameters: Sequence[Any] = ()
    many: bool = False
    """Whether `parameters` are those of many executions, which give no rows."""


Steps = Generator[Statement, Rows, T]
Operation = Callable[[], Steps[T]]


class Fence(NamedTuple):
    """Writes only as long as the run is held by whoever has this token."""

    run_id: str
    token: int


class Due(Enum):
    """When a write is to be committed."""

    NOW = "now"
    SOON = "soon"
    """Within `SOON_S`."""
    LAST = "last"
    """With the next write that is due, or at a flush."""


SOON_S = 0.03
"""Of the 50 ms within which a lazy write is committed; the rest is for the commit itself."""
MOST_IN_A_TRANSACTION = 2000


class Needs(Enum):
    """What a write asks for beside being committed."""

    NOTHING = "nothing"
    TO_BE_ALONE = "to be alone"
    """That nothing else is written meanwhile."""
    TO_TELL = "to tell"
    """That processes which wait for a change hear of it."""


class Store(Protocol):
    """A database that the journal is kept in. All operations that wait at the same moment share a transaction."""

    place: str
    """The file or server, for messages; without passwords."""
    url: str | None
    """What opens it, without passwords; None if nobody else can."""

    def submit(
        self,
        operation: "Operation[T] | CallWrite",
        *,
        fence: Fence | None = None,
        due: Due = Due.NOW,
        needs: Needs = Needs.NOTHING,
    ) -> asyncio.Future[T]:
        """Queue a write; the future is done when it is committed, or has failed."""
        ...

    async def read(self, operation: Operation[T]) -> T:
        """Give what `operation` reads of what is committed."""
        ...

    async def flush(self) -> None:
        """Wait until everything that was submitted is committed, or has failed."""
        ...

    async def until_changed(self, timeout_s: float) -> None:
        """Wait until another process may have changed something, at most `timeout_s`."""
        ...

    async def clock_offset_s(self) -> float:
        """By how many seconds the clock of the database is ahead of ours."""
        ...

    async def shrink(self) -> None:
        """Give room that is not needed any more back, where that does not happen by itself."""
        ...

    async def close(self) -> None:
        """Commit what is left and close all connections."""
        ...


def check_fence(fence: Fence, rows: Rows, place: str) -> None:
    """Refuse a write for a run that has ended, or that somebody else has taken over; `rows` are its token and owner."""
    if rows and rows[0][0] == fence.token:
        return
    # Who lets go of a run raises the token as well.
    has_ended = bool(rows) and rows[0][0] == fence.token + 1 and not rows[0][1]
    what = "has ended" if has_ended else "was taken over by another process"
    raise RunBusyError(
        f"The run {fence.run_id!r} {what}, so that nothing more is written for it here",
        place=place,
        run_id=fence.run_id,
    )


def check_process(process: int, place: str) -> None:
    """Refuse to use, after a fork, what belongs to another process: its threads and connections are not here."""
    if process != os.getpid():
        raise JournalError(
            f"It was opened by the process {process}, and this one, {os.getpid()}, was forked from that. Open the "
            "journal after the fork, or give its URL to `MiniAgents(journal=...)`",
            place=place,
        )


FENCE_SQL = "SELECT token, owner FROM journal_runs WHERE run = ?"


def in_list(values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Give `(?, ?, ...)` and its parameters. The last one is repeated: few lengths make few statements to prepare."""
    size = 1
    while size < len(values):
        size *= 2
    return f"({', '.join('?' * size)})", [*values, *[values[-1]] * (size - len(values))]


CHUNK = 256
"""How many values go into one list."""


def insert_messages(rows: Sequence[Row]) -> Steps[None]:
    """Store objects that are not there yet."""
    if rows:
        yield Statement(
            "INSERT INTO journal_messages (hash, body, kinds, refs) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING",
            rows,
            many=True,
        )


def fetch_messages(hashes: Sequence[str]) -> Steps[dict[str, Row]]:
    """Give the rows of these objects and of all messages inside them, however deep; what is missing is not there."""
    found: dict[str, Row] = {}
    wanted = list(dict.fromkeys(hashes))
    while wanted:
        new: list[Row] = []
        for start in range(0, len(wanted), CHUNK):
            marks, parameters = in_list(wanted[start : start + CHUNK])
            rows = yield Statement(
                f"SELECT hash, body, kinds, refs FROM journal_messages WHERE hash IN {marks}", parameters
            )
            new += [Row(*row) for row in rows]
        found.update((row.hash, row) for row in new)
        inside = (ref for row in new for ref in (row.refs or "").split())
        wanted = [ref for ref in dict.fromkeys(inside) if ref not in found]
    return found
