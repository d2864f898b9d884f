"""From a row to the record of a run, a call or a question; or to the error that names the row."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from miniagents.journal._bad_rows import CAUSES, check_texts, unreadable
from miniagents.journal._times import as_time, as_time_or_none
from miniagents.journal._usage_json import decode_usage
from miniagents.journal.errors import JournalCorruptError
from miniagents.journal.records import CallFailure, CallRecord, CallState, Question, RunRecord, RunState
from miniagents.usage import UsageTotals

RUN_COLUMNS = "run, state, started_at, ended_at"
CALL_COLUMNS = (
    "c.seq, c.run, c.key, c.parent, c.agent, c.version, c.settings, c.inputs, c.state, c.attempts, c.started_at, "
    "c.ended_at, c.usage, c.error_type, c.error_text, c.error_traceback, c.outputs"
)
_RUN_STATES, _CALL_STATES = get_args(RunState), get_args(CallState)
_TEXTS_OF_CALL = ("run", "key", "parent", "agent", "version", "settings", "inputs", "state")
_TEXTS_OF_ERROR = ("error_type", "error_text", "error_traceback")


def run_record(row: Any, calls: int, usage: UsageTotals, place: str) -> RunRecord | JournalCorruptError:
    """Give the record of a run; `row` has `RUN_COLUMNS`."""
    run_id = row[0]
    try:
        check_texts(row, ("run",), 0)
        return RunRecord(run_id, _state(row[1], _RUN_STATES), as_time(row[2]), as_time_or_none(row[3]), calls, usage)
    except CAUSES as error:
        return unreadable(f"The run {run_id!r}", error, place=place, row=f"run {run_id}")


def usage_of_calls(run_id: str, key: str, stored: Any, place: str) -> UsageTotals | JournalCorruptError | None:
    """Give the usage that the call `key`, and others of its run, have."""
    try:
        return decode_usage(stored)
    except CAUSES as error:
        return _unreadable_call(run_id, key, error, place)


def call_record(
    row: Any, replies: Sequence[str], sequences: Mapping[str, tuple[str, ...]], doctored: Mapping[str, str], place: str
) -> CallRecord | JournalCorruptError:
    """Give the record of a call; `row` has `CALL_COLUMNS`, and `replies` are those that are stored by themselves.

    `doctored` are sequences that do not match their hashes, and the ids of what is wrong in them.
    """
    try:
        check_texts(row, _TEXTS_OF_CALL, 1)
        check_texts(row, _TEXTS_OF_ERROR, 13)
        for one in (row[7], row[16]):
            if one in doctored:
                return doctored_sequence(doctored[one], place)
        return CallRecord(
            run_id=row[1],
            key=row[2],
            parent=row[3],
            agent=row[4],
            version=row[5],
            settings=row[6],
            inputs=None if row[7] is None else sequences.get(row[7]),
            state=_state(row[8], _CALL_STATES),
            attempts=int(row[9]),
            started_at=as_time(row[10]),
            ended_at=as_time_or_none(row[11]),
            usage=decode_usage(row[12]),
            error=None if row[13] is None else CallFailure(row[13], row[14] or "", row[15] or ""),
            replies=tuple(replies) if row[16] is None else sequences.get(row[16], ()),
        )
    except CAUSES as error:
        return _unreadable_call(row[1], row[2], error, place)


def _unreadable_call(run_id: str, key: str, error: Exception, place: str) -> JournalCorruptError:
    return unreadable(f"The call {key!r} of the run {run_id!r}", error, place=place, row=f"call {key}")


def doctored_sequence(sequence_id: str, place: str) -> JournalCorruptError:
    """Give the error that says that a sequence does not match its hash."""
    return JournalCorruptError(
        f"The inputs or replies {sequence_id} do not match their hash", place=place, row=f"sequence {sequence_id}"
    )


def question_record(row: Any, answer: Any, place: str) -> Question:
    """Give the record of a question whose answer was read.

    Raises:
        JournalCorruptError: the row cannot be read.
    """
    try:
        check_texts(row, ("run", "key", "text"), 0)
        return Question(row[0], row[1], row[2], as_time(row[3]), answer, as_time_or_none(row[5]))
    except CAUSES as error:
        raise unreadable(name_of_question(row), error, place=place, row=f"question {row[1]}") from error


def name_of_question(row: Any) -> str:
    """Give what an error calls a question."""
    return f"The question {row[1]!r} of the run {row[0]!r}"


def _state(stored: Any, known: tuple[Any, ...]) -> Any:
    if stored not in known:
        raise ValueError(f"its `state` is {stored!r}, and not one of {', '.join(known)}")
    return stored
