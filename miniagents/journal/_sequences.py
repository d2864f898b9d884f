"""Messages in a row, as calls get them or pass them on: an earlier sequence and what is new.

So a dialog of n turns takes space in n.

The id of a sequence is made of its last hash and the id of what stands before that. So the ids of all beginnings of a
sequence come along when its own is computed, and the longest one that is stored is found by its id.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from miniagents.journal._bodies import Row
from miniagents.journal._store import CHUNK, Statement, Steps, in_list

_ID_DIGITS = 40
EMPTY = hashlib.sha256(b"").hexdigest()[:_ID_DIGITS]
"""The id of the sequence without messages."""


class DoctoredSequenceError(Exception):
    """A sequence does not match its id, or its beginning is missing."""

    def __init__(self, sequence_id: str) -> None:
        self.sequence_id = sequence_id
        super().__init__(sequence_id)


class MissingSequenceError(DoctoredSequenceError):
    """A sequence, or its beginning, is missing."""


class NewSequence(NamedTuple):
    """A sequence that is to be stored, and the rows of its messages beyond what is known to be stored."""

    ids: Sequence[str]
    """The ids of its beginnings, the shortest first; the last one is its own."""
    hashes: Sequence[str]
    known: int
    """So many messages at its beginning are a sequence that is stored for certain."""
    rows: Sequence[Row]

    @property
    def id(self) -> str:
        """The id of all of it."""
        return self.ids[-1] if self.ids else EMPTY


def ids_of(hashes: Iterable[str], behind: str = EMPTY) -> list[str]:
    """Give the ids of the sequences that end with the first, the second, ... of these hashes, behind another one."""
    return list(accumulate(hashes, _next_id, initial=behind))[1:]


def _next_id(previous: str, message_hash: str) -> str:
    return hashlib.sha256((previous + message_hash).encode()).hexdigest()[:_ID_DIGITS]


def store_sequences(sequences: Iterable[NewSequence]) -> Steps[None]:
    """Store the hashes that are new; the messages are stored already."""
    rows: list[tuple[str, str | None, str]] = []
    for sequence in sequences:
        stored = sequence.known
        # Nothing shorter than a single message can be stored already.
        if not stored and len(sequence.ids) > 1:
            yield from _insert(rows)
            rows = []
            stored = yield from _longest_stored(sequence)
        if stored < len(sequence.hashes) or not sequence.hashes:
            previous = sequence.ids[stored - 1] if stored else None
            rows.append((sequence.id, previous, " ".join(sequence.hashes[stored:])))
    yield from _insert(rows)


def _insert(rows: Sequence[tuple[str, str | None, str]]) -> Steps[None]:
    if rows:
        yield Statement(
            "INSERT INTO journal_sequences (id, previous, items) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
            rows,
            many=True,
        )


def _longest_stored(sequence: NewSequence) -> Steps[int]:
    candidates = list(sequence.ids)
    lengths = {one: length for length, one in enumerate(sequence.ids, start=1)}
    while candidates:
        part, candidates = candidates[-CHUNK:], candidates[:-CHUNK]
        marks, parameters = in_list(part)
        rows = yield Statement(f"SELECT id FROM journal_sequences WHERE id IN {marks}", parameters)
        if rows:
            return max(lengths[row[0]] for row in rows)
    return 0


def load_sequences(
    wanted: Iterable[str], cache: dict[str, tuple[str, ...]], *, missing: Literal["raise", "leave out"] = "raise"
) -> Steps[None]:
    """Put the hashes of these sequences into `cache`, and take from it what is there already.

    Raises:
        MissingSequenceError: one, or its beginning, is missing.
        DoctoredSequenceError: one does not match its id.
    """
    cache.setdefault(EMPTY, ())
    rows: dict[str, tuple[str | None, str]] = {}
    new = [one for one in dict.fromkeys(wanted) if one not in cache]
    yield from _fetch(new, rows, with_beginnings=False)
    beginnings = {previous for previous, _ in rows.values() if previous and previous not in rows}
    yield from _fetch([one for one in beginnings if one not in cache], rows, with_beginnings=True)
    kept = set(new)
    for one in new:
        try:
            _assemble(one, rows, cache, keep=kept)
        except MissingSequenceError:
            if missing == "raise":
                raise


def _fetch(wanted: Sequence[str], rows: dict[str, tuple[str | None, str]], *, with_beginnings: bool) -> Steps[None]:
    for start in range(0, len(wanted), CHUNK):
        marks, parameters = in_list(wanted[start : start + CHUNK])
        of_these = f"SELECT id, previous, items FROM journal_sequences WHERE id IN {marks}"
        sql = of_these
        if with_beginnings:
            sql = (
                f"WITH RECURSIVE beginnings (id, previous, items) AS ({of_these} UNION "
                "SELECT s.id, s.previous, s.items FROM journal_sequences s "
                "JOIN beginnings b ON s.id = b.previous) SELECT id, previous, items FROM beginnings"
            )
        found = yield Statement(sql, parameters)
        rows.update((row[0], (row[1], row[2])) for row in found)


def _assemble(
    wanted: str, rows: dict[str, tuple[str | None, str]], cache: dict[str, tuple[str, ...]], keep: set[str]
) -> None:
    chain = [wanted]
    while chain[-1] not in cache:
        if chain[-1] not in rows:
            raise MissingSequenceError(chain[-1])
        chain.append(rows[chain[-1]][0] or EMPTY)
        if len(chain) > len(rows) + 2:
            raise DoctoredSequenceError(wanted)
    before = chain.pop()
    hashes = list(cache[before])
    for one in reversed(chain):
        for message_hash in rows[one][1].split():
            before = _next_id(before, message_hash)
            hashes.append(message_hash)
        if before != one:
            raise DoctoredSequenceError(one)
        # Not those in between: all beginnings of a long dialog together are large.
        if one in keep:
            cache[one] = tuple(hashes)
