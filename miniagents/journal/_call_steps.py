"""What is written of single calls; `_answer_steps.py` reads it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from miniagents.journal._bodies import Row
from miniagents.journal._seals import SEALED_COLUMNS, Identity, SealedReply, equality, seal
from miniagents.journal._sequences import EMPTY, NewSequence, ids_of, store_sequences
from miniagents.journal._store import Statement, Steps, insert_messages
from miniagents.journal.errors import JournalError
from miniagents.journal.records import CallFailure, StartedCall


class HasOperation(Protocol):
    """What is to be done, and whatever else a store knows of it."""

    operation: Any


J = TypeVar("J", bound=HasOperation)


class Start(NamedTuple):
    """What is stored of a call that begins, for the first time or once more."""

    run_id: str
    key: str
    parent: str | None
    agent: str
    version: str
    settings: str | None
    settings_rows: Sequence[Row]
    inputs: NewSequence | None
    attempts: int
    started_at: float

    @property
    def identity(self) -> Identity:
        """What a seal is made of, beside how it ends."""
        inputs = None if self.inputs is None else self.inputs.id
        return self.run_id, self.key, self.parent, self.agent, self.version, self.settings, inputs


class Reply(NamedTuple):
    """What is stored of one reply."""

    position: int
    hash: str
    tokens: bytes | None
    rows: Sequence[Row]


class End(NamedTuple):
    """What is stored of a call that has ended."""

    run_id: str
    key: str
    state: str
    ended_at: float
    usage: str | None
    error: CallFailure | None
    replies: Sequence[Reply]
    """All of them; where there are `outputs`, those that no call of the run has replied with before."""
    inputs: NewSequence | None
    equal: str | None
    is_repeated: bool
    """Whether replies of an earlier attempt may be there."""
    outputs: NewSequence | None
    """All replies of a call that passed on what others had replied with."""
    seal: str | None
    """See `_seals`; None for a call that answers nothing, or whose beginning is not known here."""

    @property
    def is_answer(self) -> bool:
        """Whether the call is to be answered by its replies later on."""
        return self.state == "finished" and self.outputs is None


CallWrite = Start | End


def groups(jobs: Iterable[J]) -> Iterator[list[J]]:
    """Give jobs in their order, those together that `store_calls` can do at once; any other one is by itself."""
    group: list[J] = []
    seen: set[tuple[type, str, str]] = set()
    for job in jobs:
        write = job.operation
        if isinstance(write, Start | End):
            # Once more: a call that is made again, or ends twice. A beginning after the end is another attempt.
            name = (write.run_id, write.key)
            if (type(write), *name) in seen or (isinstance(write, Start) and (End, *name) in seen):
                yield group
                group, seen = [], set()
            seen.add((type(write), *name))
            group.append(job)
            continue
        if group:
            yield group
            group, seen = [], set()
        yield [job]
    if group:
        yield group


def equality_of(call: StartedCall) -> str | None:
    """Give what equal calls have in common; None where the inputs are not known."""
    if call.inputs is None:
        return None
    ids = ids_of([message.hash_key for message in call.inputs])
    settings = None if call.settings is None else call.settings.hash_key
    return equality(call.agent, call.version, settings, ids[-1] if ids else EMPTY)


def store_calls(writes: Sequence[CallWrite], place: str) -> Steps[list[JournalError | None]]:
    """Record beginnings and ends of calls, all in few statements; each call has at most one of each, in this order.

    What is given tells which of them are refused, as a call has ended whose beginning was never recorded. Nothing is
    written of these.
    """
    starts = {(write.run_id, write.key): write for write in writes if isinstance(write, Start)}
    ends = {(write.run_id, write.key): write for write in writes if isinstance(write, End)}
    refused: dict[tuple[str, str], JournalError] = {}
    for name, end in list(ends.items()):
        # A call whose beginning is not written yet is written once, as it is at its end.
        if name not in starts and not (yield from _update_ended(end)):
            del ends[name]
            refused[name] = JournalError(
                f"The call {end.key!r} has ended, and its beginning was never recorded: `call_started` comes first",
                place=place,
                row=f"call {end.key}",
            )
    found = [*(write.inputs for write in (*starts.values(), *ends.values())), *(end.outputs for end in ends.values())]
    sequences = [sequence for sequence in found if sequence is not None]
    rows = [row for start in starts.values() for row in start.settings_rows]
    rows += [row for sequence in sequences for row in sequence.rows]
    rows += [row for end in ends.values() for reply in end.replies for row in reply.rows]
    yield from insert_messages(rows)
    yield from store_sequences(sequences)
    if starts:
        yield Statement(_INSERT_CALL, [_call_row(start, ends.get(name)) for name, start in starts.items()], many=True)
    yield from _store_replies(list(ends.values()))
    return [refused.get((write.run_id, write.key)) for write in writes]


_INSERT_CALL = """INSERT INTO journal_calls
           (run, key, parent, agent, version, settings, inputs, equal, attempts, started_at,
            state, ended_at, usage, error_type, error_text, error_traceback, seal, outputs)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (run, key) DO UPDATE SET
           parent = excluded.parent, agent = excluded.agent, version = excluded.version,
           settings = excluded.settings, inputs = excluded.inputs, equal = excluded.equal,
           attempts = excluded.attempts, started_at = excluded.started_at, state = excluded.state,
           ended_at = excluded.ended_at,
           usage = COALESCE(excluded.usage, journal_calls.usage), error_type = excluded.error_type,
           error_text = excluded.error_text, error_traceback = excluded.error_traceback, seal = excluded.seal,
           outputs = CASE excluded.state WHEN 'started' THEN journal_calls.outputs ELSE excluded.outputs END"""
# What it had replied with before stays until it ends again, as the rows of its replies do.


def _call_row(start: Start, end: End | None) -> tuple[Any, ...]:
    inputs = None if start.inputs is None else start.inputs.id
    equal = equality(start.agent, start.version, start.settings, inputs)
    ended: tuple[Any, ...] = ("started", None, None, None, None, None, None, None)
    if end is not None:
        ended = _how_ended(end)
        if end.inputs is not None:
            inputs, equal = end.inputs.id, end.equal or equal
    return (
        start.run_id, start.key, start.parent, start.agent, start.version, start.settings, inputs, equal,
        start.attempts, start.started_at, *ended,
    )  # fmt: skip


def _how_ended(end: End) -> tuple[Any, ...]:
    outputs = None if end.outputs is None else end.outputs.id
    error = end.error
    if error is None:
        return end.state, end.ended_at, end.usage, None, None, None, end.seal, outputs
    return end.state, end.ended_at, end.usage, error.type, error.text, error.traceback, end.seal, outputs


def _update_ended(end: End) -> Steps[bool]:
    rows = yield Statement(
        """UPDATE journal_calls SET state = ?, ended_at = ?, usage = ?, error_type = ?, error_text = ?,
               error_traceback = ?, seal = ?, outputs = ?, inputs = COALESCE(CAST(? AS TEXT), inputs),
               equal = COALESCE(CAST(? AS TEXT), equal)
           WHERE run = ? AND key = ? RETURNING seq""",
        (*_how_ended(end), end.inputs and end.inputs.id, end.equal, end.run_id, end.key),
    )
    if rows and end.is_answer and end.seal is None:
        replies = [reply[:3] for reply in end.replies]
        yield from _seal(end.run_id, end.key, replies)
    return bool(rows)


def _seal(run_id: str, key: str, replies: Iterable[SealedReply]) -> Steps[None]:
    """Seal a call as it is stored."""
    rows = yield Statement(f"SELECT {SEALED_COLUMNS} FROM journal_calls c WHERE c.run = ? AND c.key = ?", (run_id, key))
    parent, agent, version, settings, inputs, usage, *_ = rows[0]
    yield Statement(
        "UPDATE journal_calls SET equal = ?, seal = ? WHERE run = ? AND key = ?",
        (
            equality(agent, version, settings, inputs),
            seal((run_id, key, parent, agent, version, settings, inputs), usage, replies),
            run_id,
            key,
        ),
    )


def _store_replies(ends: Sequence[End]) -> Steps[None]:
    repeated = [(end.run_id, end.key) for end in ends if end.is_repeated]
    if repeated:
        yield Statement(f"DELETE FROM journal_replies WHERE call = {_SEQ}", repeated, many=True)
    rows = [(end.run_id, end.key, reply.position, reply.hash, reply.tokens) for end in ends for reply in end.replies]
    if rows:
        yield Statement(
            f"INSERT INTO journal_replies (call, position, hash, tokens) VALUES ({_SEQ}, ?, ?, ?)", rows, many=True
        )


_SEQ = "(SELECT seq FROM journal_calls WHERE run = ? AND key = ?)"
