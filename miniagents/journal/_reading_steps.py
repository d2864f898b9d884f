"""What is read for looking: runs, their calls, messages and where they come from, questions."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from miniagents.journal._bodies import Row
from miniagents.journal._lost_writes import runs_with_lost_writes
from miniagents.journal._run_steps import QUESTION_COLUMNS
from miniagents.journal._sequences import MissingSequenceError, load_sequences
from miniagents.journal._store import CHUNK, Statement, Steps, in_list
from miniagents.journal._times import as_time, as_time_or_none
from miniagents.journal._usage_json import add_usage, decode_usage
from miniagents.journal.errors import JournalError
from miniagents.journal.records import CallFailure, CallRecord, Question, RunRecord
from miniagents.usage import UsageTotals

PAGE = 200
"""How many rows are read at a time."""
_MOST_MATCHES = 5
_CALL_COLUMNS = (
    "c.seq, c.run, c.key, c.parent, c.agent, c.version, c.settings, c.inputs, c.state, c.attempts, c.started_at, "
    "c.ended_at, c.usage, c.error_type, c.error_text, c.error_traceback, c.outputs"
)


def runs_page(after: tuple[float, str] | None) -> Steps[list[tuple[float, RunRecord]]]:
    """Give the next runs, the one that began last first, and when that was, to the last digit."""
    condition, parameters = "", ()
    if after is not None:
        condition, parameters = "WHERE started_at < ? OR (started_at = ? AND run < ?)", (after[0], *after)
    rows = yield Statement(
        f"SELECT run, state, started_at, ended_at FROM journal_runs {condition} "
        f"ORDER BY started_at DESC, run DESC LIMIT {PAGE}",
        parameters,
    )
    calls: dict[str, int] = {}
    usage = {row[0]: UsageTotals() for row in rows}
    if rows:
        marks, names = in_list(list(usage))
        # Equal usage is added up at once: most calls have none, and many of the others the same.
        counts = yield Statement(
            f"SELECT run, usage, COUNT(*) FROM journal_calls WHERE run IN {marks} GROUP BY run, usage",
            names,
        )
        for run_id, stored, count in counts:
            calls[run_id] = calls.get(run_id, 0) + count
            add_usage(usage[run_id], decode_usage(stored), count)
    return [
        (
            row[2],
            RunRecord(row[0], row[1], as_time(row[2]), as_time_or_none(row[3]), calls.get(row[0], 0), usage[row[0]]),
        )
        for row in rows
    ]


def calls_page(
    run_id: str, after: int, sequences: dict[str, tuple[str, ...]], place: str
) -> Steps[list[tuple[int, CallRecord]]]:
    """Give the next calls of a run, with their places in it, in the order in which they were first started."""
    if after == 0:
        yield from _check_run(run_id, place)
    rows = yield Statement(
        f"SELECT {_CALL_COLUMNS} FROM journal_calls c WHERE c.run = ? AND c.seq > ? ORDER BY c.seq LIMIT {PAGE}",
        (run_id, after),
    )
    records = yield from _records(rows, sequences)
    return [(row[0], record) for row, record in zip(rows, records, strict=True)]


def _check_run(run_id: str, place: str) -> Steps[None]:
    rows = yield Statement("SELECT run FROM journal_runs WHERE run = ?", (run_id,))
    if not rows:
        latest = yield Statement(f"SELECT run FROM journal_runs ORDER BY started_at DESC LIMIT {_MOST_MATCHES}")
        names = ", ".join(repr(row[0]) for row in latest) or "there are none"
        raise JournalError(f"There is no run {run_id!r}. The latest runs: {names}", place=place, row=f"run {run_id}")


def _records(rows: Sequence[Any], sequences: dict[str, tuple[str, ...]]) -> Steps[list[CallRecord]]:
    replies: dict[int, list[str]] = {}
    with_rows = [row[0] for row in rows if row[16] is None]
    for start in range(0, len(with_rows), CHUNK):
        marks, numbers = in_list(with_rows[start : start + CHUNK])
        found = yield Statement(
            f"SELECT call, hash FROM journal_replies WHERE call IN {marks} ORDER BY call, position",
            numbers,
        )
        for call, message_hash in found:
            replies.setdefault(call, []).append(message_hash)
    yield from _load_sequences(rows, sequences)
    return [
        CallRecord(
            run_id=row[1],
            key=row[2],
            parent=row[3],
            agent=row[4],
            version=row[5],
            settings=row[6],
            inputs=None if row[7] is None else sequences.get(row[7]),
            state=row[8],
            attempts=row[9],
            started_at=as_time(row[10]),
            ended_at=as_time_or_none(row[11]),
            usage=decode_usage(row[12]),
            error=None if row[13] is None else CallFailure(row[13], row[14], row[15]),
            replies=tuple(replies.get(row[0], ())) if row[16] is None else sequences.get(row[16], ()),
        )
        for row in rows
    ]


def _load_sequences(rows: Sequence[Any], sequences: dict[str, tuple[str, ...]]) -> Steps[None]:
    """Load the inputs and replies of calls; those that a run has lost are not there."""
    try:
        yield from load_sequences(_sequences_of(rows), sequences)
    except MissingSequenceError:
        runs = yield from runs_with_lost_writes(row[1] for row in rows)
        if not runs:
            raise
        yield from load_sequences(_sequences_of(row for row in rows if row[1] not in runs), sequences)
        lost = _sequences_of(row for row in rows if row[1] in runs)
        yield from load_sequences(lost, sequences, missing="leave out")


def _sequences_of(rows: Iterable[Any]) -> Iterator[str]:
    return (one for row in rows for one in (row[7], row[16]) if one is not None)


def find_message(prefix: str, place: str) -> Steps[Row]:
    """Give the message whose hash begins so.

    Raises:
        JournalError: there is none, or more than one.
    """
    rows = yield Statement(
        "SELECT hash, body, kinds, refs FROM journal_messages WHERE hash >= ? AND hash < ? "
        f"ORDER BY hash LIMIT {_MOST_MATCHES}",
        (prefix, prefix + "g"),  # after all hexadecimal digits
    )
    exact = [row for row in rows if row[0] == prefix]
    if len(rows) != 1 and not exact:
        several = f"Several messages begin so: {', '.join(row[0][: len(prefix) + 8] for row in rows)}"
        what = f"{several}. Give more digits" if rows else f"There is no message whose hash begins with {prefix!r}"
        raise JournalError(what, place=place, row=f"message {prefix}")
    return Row(*(exact or rows)[0])


def makers_of(
    hashes: Iterable[str], run_id: str | None, sequences: dict[str, tuple[str, ...]]
) -> Steps[tuple[list[CallRecord], list[str]]]:
    """Give, for each of these messages that a call replied with, the call that did so first; each call once.

    And the messages directly inside these.
    """
    inside: list[str] = []
    found: dict[int, Any] = {}
    wanted = list(dict.fromkeys(hashes))
    for start in range(0, len(wanted), CHUNK):
        marks, parameters = in_list(wanted[start : start + CHUNK])
        in_run = "" if run_id is None else "AND c.run = ?"
        rows = yield Statement(
            f"SELECT r.hash, {_CALL_COLUMNS} FROM journal_replies r JOIN journal_calls c ON c.seq = r.call "
            f"WHERE r.hash IN {marks} {in_run} ORDER BY COALESCE(c.ended_at, c.started_at), c.seq DESC",
            [*parameters, *([] if run_id is None else [run_id])],
        )
        # Of the calls that passed a message on, the one that made it has ended first, and was started last.
        first: dict[str, Any] = {}
        for row in rows:
            first.setdefault(row[0], list(row)[1:])
        found.update((row[0], row) for row in first.values())
        rows = yield Statement(
            f"SELECT refs FROM journal_messages WHERE refs IS NOT NULL AND hash IN {marks}", parameters
        )
        inside += [ref for row in rows for ref in row[0].split()]
    records = yield from _records(list(found.values()), sequences)
    return records, inside


def questions_page(run_id: str | None, after: tuple[float, str, str] | None) -> Steps[list[Any]]:
    """Give the next questions, the oldest first."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if run_id is not None:
        conditions.append("run = ?")
        parameters.append(run_id)
    if after is not None:
        conditions.append("(asked_at > ? OR (asked_at = ? AND (run > ? OR (run = ? AND key > ?))))")
        parameters += [after[0], after[0], after[1], after[1], after[2]]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = yield Statement(
        f"SELECT {QUESTION_COLUMNS} FROM journal_questions {where} ORDER BY asked_at, run, key LIMIT {PAGE}",
        parameters,
    )
    return rows


def question_row(run_id: str, key: str) -> Steps[Any]:
    """Give the row of one question; None if it was never asked."""
    rows = yield Statement(
        f"SELECT {QUESTION_COLUMNS} FROM journal_questions WHERE run = ? AND key = ?",
        (run_id, key),
    )
    return rows[0] if rows else None


def question_of(row: Any, answer: Any) -> Question:
    """Give the record of a question whose answer was read."""
    return Question(row[0], row[1], row[2], as_time(row[3]), answer, as_time_or_none(row[5]))
