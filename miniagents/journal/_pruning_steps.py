"""Removing old runs, and what only they needed, in steps that are small enough for others to write in between.

What nothing refers to is looked for while others write. So before some of it is removed, in a transaction of its own,
it is compared with what those runs refer to that may have written since: nobody else can have begun to need it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from miniagents.journal._bad_rows import CAUSES, unreadable
from miniagents.journal._store import CHUNK, Statement, Steps, in_list
from miniagents.journal._values import hashes_in

CALLS_AT_A_TIME = 500
PAGE = 2000
"""How many rows are read at a time."""


VALUES = (("journal_onces", "value"), ("journal_questions", "answer"))
"""The tables, and their columns, that hold values with messages in them."""


class Old(NamedTuple):
    """Which runs are old, and who removes them."""

    before: float
    """Nothing has happened in them since."""
    pruner: str


class Removed(NamedTuple):
    """What has become of a run in one step."""

    token: int | None
    """With which the run is held from now on; None: somebody else has it."""
    calls: int
    is_empty: bool


def old_runs(old: Old, now: float, after: str) -> Steps[list[str]]:
    """Give the next runs that are old and that nobody holds."""
    rows = yield Statement(
        f"SELECT run FROM journal_runs WHERE active_at < ? AND lease_until < ? AND run > ? ORDER BY run LIMIT {PAGE}",
        (old.before, now, after),
    )
    return [row[0] for row in rows]


def remove_calls(run_id: str, old: Old, token: int | None, now: float, lease_s: float) -> Steps[Removed]:
    """Take hold of a run (`token` is None) or go on holding it, and remove some of its calls, the latest first."""
    if token is None:
        rows = yield Statement(
            "UPDATE journal_runs SET owner = ?, token = token + 1, lease_until = ? "
            "WHERE run = ? AND active_at < ? AND lease_until < ? RETURNING token",
            (old.pruner, now + lease_s, run_id, old.before, now),
        )
    else:
        rows = yield Statement(
            "UPDATE journal_runs SET lease_until = ? WHERE run = ? AND owner = ? AND token = ? RETURNING token",
            (now + lease_s, run_id, old.pruner, token),
        )
    if not rows:
        return Removed(None, 0, is_empty=True)
    held: int = rows[0][0]
    rows = yield Statement(
        f"SELECT seq FROM journal_calls WHERE run = ? ORDER BY seq DESC LIMIT {CALLS_AT_A_TIME}", (run_id,)
    )
    calls = [row[0] for row in rows]
    for marks, parameters in _lists(calls):
        yield Statement(f"DELETE FROM journal_replies WHERE call IN {marks}", parameters)
        yield Statement(f"DELETE FROM journal_calls WHERE seq IN {marks}", parameters)
    if len(calls) < CALLS_AT_A_TIME:
        for table in ("journal_questions", "journal_onces"):
            yield Statement(f"DELETE FROM {table} WHERE run = ?", (run_id,))
    return Removed(held, len(calls), is_empty=len(calls) < CALLS_AT_A_TIME)


def renew_removed(pruner: str, now: float, lease_s: float) -> Steps[None]:
    """Give a sign of life for all runs that are being removed here; when something last happened in them stays."""
    yield Statement("UPDATE journal_runs SET lease_until = ? WHERE owner = ?", (now + lease_s, pruner))


def remove_history(old: Old, now: float) -> Steps[bool]:
    """Remove one history in which nothing was kept for so long, if its run, or the last one that used it, is old, too.

    Whether there was one.
    """
    rows = yield Statement(
        "SELECT id FROM journal_histories WHERE active_at < ? AND run NOT IN (SELECT run FROM journal_runs "
        "WHERE active_at >= ? OR (lease_until >= ? AND owner <> ?)) LIMIT 1",
        (old.before, old.before, now, old.pruner),
    )
    for row in rows:
        yield Statement("DELETE FROM journal_histories WHERE id = ?", (row[0],))
        yield Statement("DELETE FROM journal_kept WHERE history = ?", (row[0],))
    return bool(rows)


def remove_runs(runs: Sequence[tuple[str, int]], old: Old) -> Steps[None]:
    """Remove the runs of which nothing is left, by name and token."""
    yield Statement(
        "DELETE FROM journal_runs WHERE run = ? AND token = ? AND owner = ?",
        [(run_id, token, old.pruner) for run_id, token in runs],
        many=True,
    )


def page(table: str, key: Sequence[str], columns: Sequence[str], after: Sequence[Any]) -> Steps[list[Any]]:
    """Give the next rows of a table in the order of its key: the columns of the key, and then the others."""
    keys = ", ".join(key)
    condition = f"WHERE ({keys}) > ({', '.join('?' * len(key))})" if after else ""
    return (
        yield Statement(
            f"SELECT {', '.join((*key, *columns))} FROM {table} {condition} ORDER BY {keys} LIMIT {PAGE}", after
        )
    )


# ---------------------------------------------------------------------------------------------- what nothing needs


CALL_COLUMNS = ("inputs", "outputs", "settings", "state", "attempts", "ended_at")


def hashes_in_row(table: str, row: Any, place: str) -> list[str]:
    """Give the hashes of the objects in a value; `row` has the run, the key and the value.

    Raises:
        JournalCorruptError: it cannot be read, so that nobody can tell what it needs.
    """
    try:
        return [] if row[2] is None else hashes_in(row[2])
    except CAUSES as error:
        what = f"The row {row[1]!r} of the run {row[0]!r} in `{table}`"
        raise unreadable(what, error, place=place, row=f"{table} {row[0]} {row[1]}") from error


def fingerprint(row: Sequence[Any]) -> int:
    """Give what tells whether a row, of `seq` and `CALL_COLUMNS`, was written once more."""
    return hash(tuple(row))


def sweep(
    messages: Sequence[str], sequences: Sequence[str], since: float, seen: Mapping[int, int], place: str
) -> Steps[int]:
    """Remove what nothing needed at the time `since`, unless something needs it now; how many messages that were.

    `seen` are the fingerprints that calls had at that time. Nothing else may be written meanwhile.
    """
    needed_sequences, needed = yield from _needed_since(since, seen, place)
    for marks, parameters in _lists(messages):
        rows = yield Statement(f"SELECT hash FROM journal_replies WHERE hash IN {marks}", parameters)
        needed.update(row[0] for row in rows)
    yield from _add_inside(needed)
    for marks, parameters in _lists([one for one in sequences if one not in needed_sequences]):
        yield Statement(f"DELETE FROM journal_sequences WHERE id IN {marks}", parameters)
    removed = 0
    for marks, parameters in _lists([one for one in messages if one not in needed]):
        rows = yield Statement(f"DELETE FROM journal_messages WHERE hash IN {marks} RETURNING hash", parameters)
        removed += len(rows)
    return removed


def _needed_since(since: float, seen: Mapping[int, int], place: str) -> Steps[tuple[set[str], set[str]]]:
    """Give the sequences, and the messages, that something refers to which was written since then."""
    # Only those write who hold a run, or held it a moment ago. When a call ended tells nothing: it may be written
    # long after that.
    rows = yield Statement(
        f"SELECT seq, {', '.join(CALL_COLUMNS)} FROM journal_calls "
        "WHERE run IN (SELECT run FROM journal_runs WHERE owner <> '' OR active_at >= ?)",
        (since,),
    )
    new = [row for row in rows if row[4] == "started" or seen.get(row[0]) != fingerprint(row)]
    needed: set[str] = {row[3] for row in new if row[3] is not None}
    sequences: set[str] = set()
    for marks, parameters in _lists([one for row in new for one in row[1:3] if one is not None]):
        rows = yield Statement(
            "WITH RECURSIVE needed (id, previous, items) AS ("
            f"SELECT id, previous, items FROM journal_sequences WHERE id IN {marks} UNION "
            "SELECT s.id, s.previous, s.items FROM journal_sequences s JOIN needed n ON s.id = n.previous) "
            "SELECT id, items FROM needed",
            parameters,
        )
        sequences.update(row[0] for row in rows)
        needed.update(one for row in rows for one in row[1].split())
    for marks, parameters in _lists([row[0] for row in new]):
        rows = yield Statement(f"SELECT hash FROM journal_replies WHERE call IN {marks}", parameters)
        needed.update(row[0] for row in rows)
    # What follows is committed at once, always.
    rows = yield Statement(
        "SELECT hash FROM journal_kept WHERE hash IS NOT NULL AND history IN "
        "(SELECT id FROM journal_histories WHERE active_at >= ?)",
        (since,),
    )
    needed.update(row[0] for row in rows)
    for table, column in VALUES:
        at = "recorded_at" if table == "journal_onces" else "answered_at"
        rows = yield Statement(f"SELECT run, key, {column} FROM {table} WHERE {at} >= ?", (since,))
        for row in rows:
            needed.update(hashes_in_row(table, row, place))
    return sequences, needed


def _add_inside(needed: set[str]) -> Steps[None]:
    pending = list(needed)
    while pending:
        inside: list[str] = []
        for marks, parameters in _lists(pending):
            rows = yield Statement(
                f"SELECT refs FROM journal_messages WHERE refs IS NOT NULL AND hash IN {marks}", parameters
            )
            inside += [ref for row in rows for ref in row[0].split()]
        pending = [ref for ref in dict.fromkeys(inside) if ref not in needed]
        needed.update(pending)


def _lists(values: Sequence[Any]) -> Iterable[tuple[str, list[Any]]]:
    for start in range(0, len(values), CHUNK):
        yield in_list(values[start : start + CHUNK])
