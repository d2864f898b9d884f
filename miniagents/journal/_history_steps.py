"""What is written and read of histories: the messages of a dialog, in a row, for a run or for all runs."""

from collections.abc import Sequence
from typing import NamedTuple

from miniagents.journal._bodies import BadRowError, Row
from miniagents.journal._restoring import corrupt, restore_rows, usable
from miniagents.journal._store import Statement, Steps, fetch_messages, insert_messages
from miniagents.messages import Message


class Place(NamedTuple):
    """One place in a history."""

    message: Message | None
    """None: a call was given messages, and none of them was to be kept."""
    origin: str | None
    """At the last place of what one call has kept: which part of which run that was, and when."""


def read_started_at(run_id: str) -> Steps[float]:
    """Give when a run was begun for the first time."""
    rows = yield Statement("SELECT started_at FROM journal_runs WHERE run = ?", (run_id,))
    return rows[0][0] if rows else 0.0


def read_history(name: str, begin: int, place: str) -> Steps[list[Place]]:
    """Give what is kept in a history, from the place `begin` on.

    Raises:
        JournalCorruptError: a message does not match its hash, or cannot be made again.
        JournalError: two classes have the name that is stored with one.
    """
    rows = yield Statement(
        """SELECT k.hash, k.origin, m.body, m.kinds, m.refs
           FROM journal_histories h JOIN journal_kept k ON k.history = h.id
           LEFT JOIN journal_messages m ON m.hash = k.hash
           WHERE h.name = ? AND k.position >= ? ORDER BY k.position""",
        (name, begin),
    )
    stored = {row[0]: Row(row[0], row[2], row[3], row[4]) for row in rows if row[2] is not None}
    inside = yield from fetch_messages([ref for row in stored.values() for ref in (row.refs or "").split()])
    restored = restore_rows({**stored, **inside}.values(), place)
    found: list[Place] = []
    for row in rows:
        message = None if row[0] is None else usable(restored, row[0], place, where=", kept in a history,")
        if message is not None and not isinstance(message, Message):
            raise corrupt(row[0], BadRowError("it is no message"), place, where=", kept in a history,")
        found.append(Place(message, row[1]))
    return found


def append(
    name: str, run_id: str, hashes: Sequence[str], rows: Sequence[Row], origin: str, known_length: int, now: float
) -> Steps[int]:
    """Put messages at the end of a history, or nothing but the origin; how long it is then.

    Nothing is done where this very origin is there behind `known_length`: this has been committed before, and the
    connection was lost before that was told.
    """
    yield from insert_messages(rows)
    # This locks the row, so that nobody else appends meanwhile.
    yield Statement(
        """INSERT INTO journal_histories (name, run, length, active_at) VALUES (?, ?, 0, ?)
           ON CONFLICT (name) DO UPDATE SET run = excluded.run, active_at = excluded.active_at""",
        (name, run_id, now),
    )
    found = yield Statement("SELECT id, length FROM journal_histories WHERE name = ?", (name,))
    history, length = found[0]
    done = yield Statement(
        "SELECT position FROM journal_kept WHERE history = ? AND position >= ? AND origin = ?",
        (history, known_length, origin),
    )
    if done:
        return done[0][0] + 1
    kept = list(hashes) or [None]
    last = len(kept) - 1
    places = [(history, length + index, one, origin if index == last else None) for index, one in enumerate(kept)]
    yield Statement("INSERT INTO journal_kept (history, position, hash, origin) VALUES (?, ?, ?, ?)", places, many=True)
    yield Statement("UPDATE journal_histories SET length = ? WHERE id = ?", (length + len(kept), history))
    return length + len(kept)
