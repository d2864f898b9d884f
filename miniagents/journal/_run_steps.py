"""What is written and read of runs: who holds them, what was asked in them, what was to happen once."""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from miniagents.journal._bad_rows import unreadable
from miniagents.journal._bodies import Row
from miniagents.journal._store import Statement, Steps, insert_messages
from miniagents.journal._values import check_text
from miniagents.journal.errors import JournalError, RunBusyError
from miniagents.journal.records import CallState

_CALL_STATES = frozenset(get_args(CallState))


class Known(NamedTuple):
    """What a resumed run knows of a call from the start."""

    equal: str | None
    state: CallState
    attempts: int
    parent: str | None
    usage: str | None
    """Of its earlier attempts."""


class Begun(NamedTuple):
    """A run that was begun."""

    token: int
    calls: dict[str, Known]
    """By key, in the order in which they were started; empty if the run is new."""
    is_resumed: bool


def read_owner(run_id: str) -> Steps[str | None]:
    """Give who holds a run; None if there is no such run, empty if nobody does."""
    rows = yield Statement("SELECT owner FROM journal_runs WHERE run = ?", (run_id,))
    owner: Any = rows[0][0] if rows else None
    # What is none is seen to by `begin`.
    return owner if isinstance(owner, str) else None


_MOST_NAMED = 5


def check_run(run_id: str, place: str) -> Steps[None]:
    """Refuse a run that there is not.

    Raises:
        JournalError: there is none; the latest ones are named.
    """
    rows = yield Statement("SELECT run FROM journal_runs WHERE run = ?", (run_id,))
    if not rows:
        latest = yield Statement(f"SELECT run FROM journal_runs ORDER BY started_at DESC LIMIT {_MOST_NAMED}")
        names = ", ".join(repr(row[0]) for row in latest) or "there are none"
        raise JournalError(f"There is no run {run_id!r}. The latest runs: {names}", place=place, row=f"run {run_id}")


def begin(
    run_id: str,
    owner: str,
    *,
    now: Callable[[], float],
    lease_s: float,
    may_take_from: str | None,
    at_work: str | None = None,
    takes_over: bool,
    place: str,
) -> Steps[Begun]:
    """Take hold of a run, new or not; from `may_take_from`, who is known to be gone, before its lease ends.

    From `at_work`, who is known to be there, it is not taken because its lease has ended.

    Raises:
        RunBusyError: somebody holds it, and `takes_over` is false.
        JournalCorruptError: what is stored of it, or of one of its calls, cannot be read.
    """
    yield Statement(
        """INSERT INTO journal_runs (run, state, started_at, active_at, owner, token, lease_until)
           VALUES (?, 'new', ?, ?, '', 0, 0) ON CONFLICT (run) DO UPDATE SET active_at = journal_runs.active_at""",
        (run_id, now(), now()),
    )
    # The write before has locked the row, so that nobody can take the run in between.
    rows = yield Statement("SELECT owner, state, token, lease_until FROM journal_runs WHERE run = ?", (run_id,))
    holder, state, token, lease_until = _checked_run(run_id, rows[0], place)
    is_free = holder in ("", owner, may_take_from) or (lease_until <= now() and holder != at_work)
    if not is_free and not takes_over:
        remaining = "" if holder == at_work else _remaining(lease_until - now())
        raise RunBusyError(
            f"The run {run_id!r} is being worked on by {_named(holder)}. Wait until that has ended"
            f"{remaining}, choose another run id, or take the run over: "
            '`MiniAgents(on_busy_run="fence")`',
            place=place,
            run_id=run_id,
        )
    if holder != owner:
        token += 1
    yield Statement(
        "UPDATE journal_runs SET state = 'running', ended_at = NULL, active_at = ?, owner = ?, token = ?, "
        "lease_until = ? WHERE run = ?",
        (now(), owner, token, now() + lease_s, run_id),
    )
    rows = []
    if state != "new":
        rows = yield Statement(
            "SELECT key, equal, state, attempts, parent, usage, "
            "(seal IS NULL) = (state = 'finished' AND outputs IS NULL) FROM journal_calls WHERE run = ? ORDER BY seq",
            (run_id,),
        )
    # In one go, as there may be a hundred thousand.
    calls = {row[0]: Known(*row[1:6]) for row in rows}
    for key, _, call_state, attempts, _, _, has_other_state in rows:
        if has_other_state or call_state not in _CALL_STATES or attempts.__class__ is not int:
            why = f"its `state` is {call_state!r}, and its `attempts` are {attempts!r}, and one of these was changed"
            raise unreadable(f"The call {key!r} of the run {run_id!r}", why, place=place, row=f"call {key}")
    return Begun(token, calls, state != "new")


def _checked_run(run_id: str, row: Any, place: str) -> tuple[str, str, int, float]:
    owner, state, token, lease_until = row
    for name, value, kinds in (
        ("owner", owner, str), ("state", state, str), ("token", token, int), ("lease_until", lease_until, int | float),
    ):  # fmt: skip
        if not isinstance(value, kinds):
            raise unreadable(f"The run {run_id!r}", f"its `{name}` is {value!r}", place=place, row=f"run {run_id}")
    return owner, state, token, lease_until


def _named(owner: str) -> str:
    host, _, rest = owner.partition(" ")
    return f"process {rest.split()[0]} on {host}" if rest else "another process"


def _remaining(seconds: float) -> str:
    return f" (without a sign of life from it, the run is free in {max(1, round(seconds))} s)"


def renew(run_id: str, now: float, lease_s: float) -> Steps[None]:
    """Give a sign of life."""
    yield Statement(
        "UPDATE journal_runs SET active_at = ?, lease_until = ? WHERE run = ?", (now, now + lease_s, run_id)
    )


def let_go(run_id: str, state: str, now: float) -> Steps[None]:
    """Record how a run has ended, and leave it to whoever wants it next; what is written for it later is refused."""
    yield Statement(
        "UPDATE journal_runs SET state = ?, ended_at = ?, active_at = ?, owner = '', token = token + 1, "
        "lease_until = 0 WHERE run = ?",
        (state, now, now, run_id),
    )


# --------------------------------------------------------------------------------------------------------- questions

QUESTION_COLUMNS = "run, key, text, asked_at, answer, answered_at"


def ask(run_id: str, key: str, text: str, now: float, place: str) -> Steps[Any]:
    """Put a question, unless it is there already; the row of it.

    Raises:
        JournalError: another question has this key.
        UnstorableValueError: a database cannot hold the key, or the text.
    """
    check_text(key, "key", place)
    check_text(text, "text", place, may_be_empty=True)
    yield Statement(
        "INSERT INTO journal_questions (run, key, text, asked_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (run, key) DO NOTHING",
        (run_id, key, text, now),
    )
    rows = yield Statement(
        f"SELECT {QUESTION_COLUMNS} FROM journal_questions WHERE run = ? AND key = ?",
        (run_id, key),
    )
    if rows[0][2] != text:
        raise JournalError(
            f"The run {run_id!r} has asked {rows[0][2]!r} under the key {key!r}; {text!r} needs a key of its own",
            place=place,
            row=f"question {key}",
        )
    return rows[0]


def answer(run_id: str, key: str, value: str, rows: list[Row], now: float, place: str) -> Steps[None]:
    """Answer a question.

    Raises:
        JournalError: there is no such question, or it has another answer already.
    """
    yield from insert_messages(rows)
    changed = yield Statement(
        "UPDATE journal_questions SET answer = ?, answered_at = ? WHERE run = ? AND key = ? AND answer IS NULL "
        "RETURNING run",
        (value, now, run_id, key),
    )
    if changed:
        return
    found = yield Statement("SELECT answer FROM journal_questions WHERE run = ? AND key = ?", (run_id, key))
    row = f"question {key} of run {run_id}"
    if not found:
        yield from check_run(run_id, place)
        others = yield Statement("SELECT key FROM journal_questions WHERE run = ? AND answer IS NULL", (run_id,))
        keys = ", ".join(repr(other[0]) for other in others) or "none"
        raise JournalError(
            f"The run {run_id!r} has not asked anything under the key {key!r}. Open questions of it: {keys}",
            place=place,
            row=row,
        )
    if found[0][0] != value:
        raise JournalError(
            f"The question {key!r} of the run {run_id!r} was answered already: {found[0][0]}", place=place, row=row
        )


# ------------------------------------------------------------------------------------------------------------ once


def remember(run_id: str, key: str, value: str, rows: list[Row], now: float) -> Steps[str]:
    """Store what came of something, unless it is there already; what is stored then."""
    yield from insert_messages(rows)
    yield Statement(
        "INSERT INTO journal_onces (run, key, value, recorded_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (run, key) DO NOTHING",
        (run_id, key, value, now),
    )
    stored = yield Statement("SELECT value FROM journal_onces WHERE run = ? AND key = ?", (run_id, key))
    return stored[0][0]


def recall(run_id: str, key: str) -> Steps[str | None]:
    """Give what came of something; None if nothing is stored."""
    rows = yield Statement("SELECT value FROM journal_onces WHERE run = ? AND key = ?", (run_id, key))
    return rows[0][0] if rows else None
