"""What is read for looking: runs, their calls, messages and where they come from, questions."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from miniagents.journal._bodies import Row
from miniagents.journal._lost_writes import runs_with_lost_writes
from miniagents.journal._record_rows import CALL_COLUMNS, RUN_COLUMNS, call_record, run_record, usage_of_calls
from miniagents.journal._run_steps import QUESTION_COLUMNS, check_run
from miniagents.journal._sequences import DoctoredSequenceError, load_sequences
from miniagents.journal._store import CHUNK, Statement, Steps, in_list
from miniagents.journal._usage_json import add_usage
from miniagents.journal.errors import JournalCorruptError, JournalError
from miniagents.journal.records import CallRecord, RunRecord
from miniagents.usage import UsageTotals

PAGE = 200
"""How many rows are read at a time."""
_MOST_MATCHES = 5


def runs_page(
    after: tuple[float, str] | None, place: str
) -> Steps[tuple[list[RunRecord | JournalCorruptError], tuple[float, str] | None]]:
    """Give the next runs, the one that began last first, errors in the places of others, and what `after` is then.

    None: there are no more. Calls whose usage cannot be read are errors behind those runs.
    """
    condition, parameters = "", ()
    if after is not None:
        condition, parameters = "WHERE started_at < ? OR (started_at = ? AND run < ?)", (after[0], *after)
    rows = yield Statement(
        f"SELECT {RUN_COLUMNS} FROM journal_runs {condition} ORDER BY started_at DESC, run DESC LIMIT {PAGE}",
        parameters,
    )
    if not rows:
        return [], None
    calls: dict[str, int] = {}
    usage = {row[0]: UsageTotals() for row in rows}
    bad: list[JournalCorruptError] = []
    marks, names = in_list(list(usage))
    # Equal usage is added up at once: most calls have none, and many of the others the same.
    counts = yield Statement(
        f"SELECT run, usage, COUNT(*), MIN(key) FROM journal_calls WHERE run IN {marks} GROUP BY run, usage",
        names,
    )
    for run_id, stored, count, key in counts:
        calls[run_id] = calls.get(run_id, 0) + count
        used = usage_of_calls(run_id, key, stored, place)
        if isinstance(used, JournalCorruptError):
            bad.append(used)
        else:
            add_usage(usage[run_id], used, count)
    records = [run_record(row, calls.get(row[0], 0), usage[row[0]], place) for row in rows]
    return [*records, *bad], (rows[-1][2], rows[-1][0])


def calls_page(
    run_id: str, after: int, sequences: dict[str, tuple[str, ...]], place: str
) -> Steps[list[tuple[int, CallRecord | JournalCorruptError]]]:
    """Give the next calls of a run, with their places in it, in the order in which they were first started.

    In the place of one that cannot be read there is the error.
    """
    if after == 0:
        yield from check_run(run_id, place)
    rows = yield Statement(
        f"SELECT {CALL_COLUMNS} FROM journal_calls c WHERE c.run = ? AND c.seq > ? ORDER BY c.seq LIMIT {PAGE}",
        (run_id, after),
    )
    records = yield from _records(rows, sequences, place)
    return [(row[0], record) for row, record in zip(rows, records, strict=True)]


def _records(
    rows: Sequence[Any], sequences: dict[str, tuple[str, ...]], place: str
) -> Steps[list[CallRecord | JournalCorruptError]]:
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
    doctored = yield from _load_sequences(rows, sequences)
    return [call_record(row, replies.get(row[0], ()), sequences, doctored, place) for row in rows]


def _load_sequences(rows: Sequence[Any], sequences: dict[str, tuple[str, ...]]) -> Steps[dict[str, str]]:
    """Load the inputs and replies of calls; those that a run has lost are not there.

    What is given are those that do not match their hashes, each with what is wrong in it.
    """
    doctored: dict[str, str] = {}
    try:
        yield from load_sequences(_sequences_of(rows), sequences)
    except DoctoredSequenceError:
        # One by one: the others can be read.
        runs = yield from runs_with_lost_writes(row[1] for row in rows)
        for row in rows:
            for one in _sequences_of([row]):
                try:
                    yield from load_sequences([one], sequences, missing="leave out" if row[1] in runs else "raise")
                except DoctoredSequenceError as error:
                    doctored[one] = error.sequence_id
    return doctored


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
    hashes: Iterable[str], run_id: str | None, sequences: dict[str, tuple[str, ...]], place: str
) -> Steps[tuple[list[CallRecord | JournalCorruptError], list[str]]]:
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
            f"SELECT r.hash, {CALL_COLUMNS} FROM journal_replies r JOIN journal_calls c ON c.seq = r.call "
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
    records = yield from _records(list(found.values()), sequences, place)
    return records, inside


def questions_page(run_id: str | None, after: tuple[float, str, str] | None, place: str) -> Steps[list[Any]]:
    """Give the next questions, the oldest first.

    Raises:
        JournalError: there is no such run.
    """
    if run_id is not None and after is None:
        yield from check_run(run_id, place)
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
