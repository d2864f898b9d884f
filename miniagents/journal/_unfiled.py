"""Steps of calls that are committed and not yet filed: one row at the end of one table, for SQLite.

A call belongs into ten pages of the file: messages, inputs, calls, replies and their indices. To write these for each
call by itself takes longer than all else, while many calls at once share them. So a few steps are committed as a text
in `journal_unfiled`, and filed together: when nothing comes for a moment, when they have become many, and before
anything else is read or written, by whichever process does so.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from miniagents.journal._bodies import Row
from miniagents.journal._call_steps import CallWrite, End, Reply, Start, groups, store_calls
from miniagents.journal._sequences import NewSequence
from miniagents.journal._store import Operation, Statement, Steps, T
from miniagents.journal.errors import JournalCorruptError
from miniagents.journal.records import CallFailure

IDLE_S: Final = 0.05
"""After so long without a write what is there is filed."""
MOST_UNFILED: Final = 500
"""So many steps are filed at once, at most, before others are committed."""
MOST_AT_A_TIME: Final = 50
"""More steps than that in one transaction share the pages as it is."""
MOST_CHARACTERS: Final = 16_000
"""A longer text is not worth writing twice."""


class UnfiledStepsError(Exception):
    """Something is committed that is not where it is read; it is to be filed first."""


@dataclass(slots=True)
class _Unfiled:
    operation: CallWrite


def encode_steps(writes: Iterable[CallWrite]) -> str:
    """Give steps as JSON."""
    return _ENCODER.encode([_encoded(write) for write in writes])


# Cycles are not looked for: there are none, and it takes as long as the rest.
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False)


def _encoded(write: CallWrite) -> tuple[Any, ...]:
    inputs = None if write.inputs is None else _without_what_is_known(write.inputs)
    if isinstance(write, Start):
        # As `_replace` would, several times faster.
        return "start", (*write[:7], inputs, *write[8:])
    outputs = None if write.outputs is None else _without_what_is_known(write.outputs)
    replies = [(reply.position, reply.hash, reply.tokens and reply.tokens.hex(), reply.rows) for reply in write.replies]
    error = None if write.error is None else (write.error.type, write.error.text, write.error.traceback)
    return "end", (*write[:5], error, replies, inputs, write.equal, write.is_repeated, outputs, write.seal)


def _without_what_is_known(sequence: NewSequence) -> NewSequence:
    ids, hashes, known, rows = sequence
    # Of the beginning only its id is needed: the rest of a long dialog would be written with each of its turns.
    return NewSequence(ids[known - 1 :], ["", *hashes[known:]], 1, rows) if known else sequence


def decode_steps(text: str) -> list[CallWrite]:
    """Give the steps of which `encode_steps` made `text`.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        return [_decoded(kind, fields) for kind, fields in json.loads(text)]
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _decoded(kind: str, fields: Sequence[Any]) -> CallWrite:
    if kind == "start":
        start = Start(*fields)
        return start._replace(settings_rows=_rows(start.settings_rows), inputs=_sequence(start.inputs))
    run_id, key, state, ended_at, usage, error, replies, inputs, equal, is_repeated, outputs, seal = fields
    return End(
        run_id,
        key,
        state,
        ended_at,
        usage,
        None if error is None else CallFailure(*error),
        [
            Reply(position, message_hash, None if tokens is None else bytes.fromhex(tokens), _rows(rows))
            for position, message_hash, tokens, rows in replies
        ],
        _sequence(inputs),
        equal,
        is_repeated,
        _sequence(outputs),
        seal,
    )


def _rows(stored: Iterable[Any]) -> list[Row]:
    return [Row(*row) for row in stored]


def _sequence(stored: Any) -> NewSequence | None:
    if stored is None:
        return None
    ids, hashes, known, rows = stored
    return NewSequence(ids, hashes, known, _rows(rows))


ADD_SQL: Final = (
    "INSERT INTO journal_unfiled (steps) SELECT ? WHERE EXISTS (SELECT 1 FROM journal_runs WHERE run = ? AND token = ?)"
)
"""Adds nothing if the run, see `Fence`, is not held any more."""


def file_steps(place: str) -> Steps[None]:
    """Put what is not filed where it belongs.

    Raises:
        JournalCorruptError: somebody has changed a row.
    """
    rows = yield Statement("SELECT seq, steps FROM journal_unfiled ORDER BY seq")
    if not rows:
        return
    unfiled: list[_Unfiled] = []
    for seq, steps in rows:
        try:
            unfiled += map(_Unfiled, decode_steps(steps))
        except ValueError as error:
            raise JournalCorruptError(
                f"A row of `journal_unfiled` cannot be read: {error}", place=place, row=f"unfiled {seq}"
            ) from error
    for group in groups(unfiled):
        # None is refused: that was seen to when they were committed.
        yield from store_calls([one.operation for one in group], place)
    yield Statement("DELETE FROM journal_unfiled")


def if_all_is_filed(operation: Operation[T]) -> Operation[T]:
    """Give an operation that raises `UnfiledStepsError` if something is not filed."""

    def checked() -> Steps[T]:
        rows = yield Statement("SELECT 1 FROM journal_unfiled LIMIT 1")
        if rows:
            raise UnfiledStepsError
        result = yield from operation()
        return result

    return checked
