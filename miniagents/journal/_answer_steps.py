"""The answers of finished calls, as they are read again: one by itself, or many at once."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from miniagents.journal._bad_rows import CAUSES, unreadable
from miniagents.journal._bodies import BadRowError, Row, restore, restore_all
from miniagents.journal._classes import SameNameError
from miniagents.journal._seals import SEALED_COLUMNS, SealedReply, check_seal
from miniagents.journal._store import Statement, Steps, fetch_messages, in_list
from miniagents.journal._times import as_time
from miniagents.journal._tokens import decode_tokens
from miniagents.journal._usage_json import decode_usage
from miniagents.journal.errors import JournalCorruptError, JournalError
from miniagents.journal.records import FinishedCall, StoredReply
from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen

MOST_PLAIN_CHARACTERS = 8_000
"""Of a reply that is read together with others; so many bytes its tokens may have, too."""
MOST_REPLIES = 512
"""So many are read together, at most: in the worst case four million characters."""


_USAGE, _KEY = 5, 8
"""Where these stand among the columns that are read: the sealed ones, and then the key."""


class PlainReply(NamedTuple):
    """One reply that is short, and has no message inside it."""

    row: Row
    tokens: bytes | None
    position: int


class PlainAnswer(NamedTuple):
    """The answer of a call as it is stored; nothing of it was looked at yet."""

    run_id: str
    key: str
    ended_at: Any
    sealed: Sequence[Any]
    """See `check_seal`."""
    replies: list[PlainReply]

    @property
    def length(self) -> int:
        """How many characters its replies have."""
        return sum([len(reply.row.body) for reply in self.replies])


def read_plain(run_id: str, keys: Sequence[str]) -> Steps[dict[str, PlainAnswer]]:
    """Give the answers of these calls of a run, by key; without those that are better read by `read_finished`.

    These are: not finished, long, of many replies or with other messages inside them, and where a message is missing.
    """
    marks, parameters = in_list(keys)
    rows = yield Statement(
        f"""SELECT {SEALED_COLUMNS}, c.key, c.ended_at, r.position, r.hash, m.kinds,
               CASE WHEN LENGTH(r.tokens) <= {MOST_PLAIN_CHARACTERS} THEN r.tokens END,
               CASE WHEN m.refs IS NULL AND LENGTH(m.body) <= {MOST_PLAIN_CHARACTERS}
                   AND (r.tokens IS NULL OR LENGTH(r.tokens) <= {MOST_PLAIN_CHARACTERS}) THEN m.body END
           FROM journal_calls c LEFT JOIN journal_replies r ON r.call = c.seq
               LEFT JOIN journal_messages m ON m.hash = r.hash
           WHERE c.run = ? AND c.key IN {marks} AND c.state = 'finished' AND c.outputs IS NULL
           ORDER BY c.key, r.position LIMIT {MOST_REPLIES}""",
        [run_id, *parameters],
    )
    found: dict[str, PlainAnswer] = {}
    others: set[str] = set()
    if len(rows) == MOST_REPLIES:
        # There may be more of it.
        others.add(rows[-1][_KEY])
    for row in rows:
        *sealed, key, ended_at, position, message_hash, kinds, tokens, body = row
        answer = found.get(key)
        if answer is None:
            answer = found[key] = PlainAnswer(run_id, key, ended_at, sealed, [])
        if body is not None:
            answer.replies.append(PlainReply(Row(message_hash, body, kinds, None), tokens, position))
        elif message_hash is not None:
            others.add(key)
    for key in others:
        del found[key]
    return found


def restored_answer(answer: PlainAnswer, place: str) -> FinishedCall:
    """Make the answer of a call again.

    Raises:
        JournalCorruptError: a reply does not match its hash, or something cannot be made again.
        JournalError: two classes have the name that is stored with a reply.
    """
    replies: list[StoredReply] = []
    for row, tokens, _ in answer.replies:
        try:
            message: Frozen | BadRowError = restore(row, {})
        except BadRowError as error:
            message = error
        except SameNameError as error:
            raise JournalError(str(error), place=place) from error
        replies.append(_reply(row.hash, message, tokens, answer.key, place))
    of_seal = [(reply.position, reply.row.hash, reply.tokens) for reply in answer.replies]
    return _finished_call(answer.run_id, answer.key, answer.ended_at, answer.sealed, replies, of_seal, place)


def read_finished(run_id: str, key: str, place: str) -> Steps[FinishedCall | None]:
    """Give the answer of a call of this run; None if it has not finished, or its replies are not stored with tokens."""
    rows = yield Statement(
        f"SELECT {SEALED_COLUMNS}, c.seq, c.run, c.key, c.ended_at FROM journal_calls c "
        "WHERE c.run = ? AND c.key = ? AND c.state = 'finished' AND c.outputs IS NULL",
        (run_id, key),
    )
    if not rows:
        return None
    found = yield from _finished(rows[0], place)
    return found


def read_equal(equal: str, since: float, place: str) -> Steps[FinishedCall | None]:
    """Give the latest answer of an equal call in any run, if it is not older than `since`."""
    rows = yield Statement(
        f"SELECT {SEALED_COLUMNS}, c.seq, c.run, c.key, c.ended_at FROM journal_calls c "
        "WHERE c.equal = ? AND c.state = 'finished' AND c.outputs IS NULL AND c.ended_at >= ? "
        "ORDER BY c.ended_at DESC, c.seq DESC LIMIT 1",
        (equal, since),
    )
    if not rows:
        return None
    found = yield from _finished(rows[0], place)
    return found


def _finished(row: Sequence[Any], place: str) -> Steps[FinishedCall]:
    *sealed, seq, run_id, key, ended_at = row
    replies = yield Statement(
        """SELECT r.hash, r.tokens, m.body, m.kinds, m.refs, r.position
           FROM journal_replies r LEFT JOIN journal_messages m ON m.hash = r.hash
           WHERE r.call = ? ORDER BY r.position""",
        (seq,),
    )
    stored = {reply[0]: Row(reply[0], *list(reply)[2:5]) for reply in replies if reply[2] is not None}
    inside = yield from fetch_messages([ref for row in stored.values() for ref in (row.refs or "").split()])
    try:
        restored = restore_all({**stored, **inside}.values())
    except SameNameError as error:
        raise JournalError(str(error), place=place) from error
    return _finished_call(
        str(run_id),
        str(key),
        ended_at,
        sealed,
        [_reply(reply[0], restored.get(reply[0]), reply[1], key, place) for reply in replies],
        [(reply[5], reply[0], reply[1]) for reply in replies],
        place,
    )


def _reply(
    message_hash: str, message: Frozen | BadRowError | None, tokens: bytes | None, key: str, place: str
) -> StoredReply:
    try:
        if not isinstance(message, Message):
            raise message if isinstance(message, BadRowError) else BadRowError("it is missing")
        return StoredReply(message, decode_tokens(tokens, str(message)))
    except (BadRowError, *CAUSES) as error:
        raise JournalCorruptError(
            f"The message {message_hash}, a reply of the call {key!r}, cannot be used: {error}",
            place=place,
            row=f"message {message_hash}",
        ) from error


def _finished_call(
    run_id: str,
    key: str,
    ended_at: Any,
    sealed: Sequence[Any],
    replies: Iterable[StoredReply],
    of_seal: Iterable[SealedReply],
    place: str,
) -> FinishedCall:
    try:
        # Last of all: what is wrong with a single reply, or a column, is told in words of its own.
        call = FinishedCall(run_id, key, as_time(ended_at), decode_usage(sealed[_USAGE]), tuple(replies))
        check_seal(run_id, key, sealed, of_seal)
        return call
    except CAUSES as error:
        raise unreadable(f"The call {key!r} of the run {run_id!r}", error, place=place, row=f"call {key}") from error
