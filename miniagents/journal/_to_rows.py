"""From messages and values to what is stored of them, and the errors where they cannot be."""

import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from miniagents.journal._bodies import Row, rows_of
from miniagents.journal._call_steps import End, Reply, Start
from miniagents.journal._cassette_forms import masked_text, secrets_of_environment
from miniagents.journal._classes import SameNameError
from miniagents.journal._sequences import EMPTY, NewSequence, ids_of
from miniagents.journal._tokens import encode_tokens
from miniagents.journal._values import BadValueError, encode_value
from miniagents.journal.errors import UnstorableValueError
from miniagents.journal.records import CallFailure
from miniagents.messages import Message
from miniagents.promising._wording import text_of
from miniagents.promising.ext.frozen import Frozen

_MOST_KNOWN = 20_000
"""So many sequences, and so many messages, are remembered to be stored."""
_MOST_LATEST = 8
"""So many dialogs may go on in one run at a time without being hashed from their beginnings on with each call."""
_LEAST_LATEST = 8
"""Shorter ones are not worth being remembered."""


class ToRows:
    """Makes rows for one run, and knows what it has stored already."""

    def __init__(self, place: str) -> None:
        self._place = place
        # Those of one run alone: what a run needs is not pruned by others while it is held.
        self._sequences: dict[str, bool] = {}
        """Those that are stored, and whether each of their messages is a reply that is stored by itself, too."""
        self._replied: dict[str, None] = {}
        """Messages that are stored as replies by themselves."""
        self._latest: tuple[_Hashed, ...] = ()
        self._settings: dict[str, None] = {}
        """Settings that are stored."""

    def rows(self, frozen: Frozen, field: str) -> Sequence[Row]:
        """Give the rows of `frozen`, and of all messages inside it.

        Raises:
            UnstorableValueError: something in it cannot be stored; `field` is named.
        """
        try:
            return rows_of(frozen)
        except (ValueError, SameNameError) as error:
            raise UnstorableValueError(str(error), place=self._place, field=field) from error

    def reply(self, position: int, message: Message, tokens: Sequence[str] | None) -> Reply:
        """Give what is stored of a reply.

        Raises:
            UnstorableValueError: it cannot be stored.
        """
        stored = None if tokens is None else encode_tokens(tokens, str(message))
        # Before its hash key: those of the messages inside it are there then, however deep they are nested.
        rows = self.rows(message, f"replies[{position}]")
        return Reply(position, rows[-1].hash, stored, rows)

    def settings(self, settings: Frozen | None) -> tuple[str | None, Sequence[Row]]:
        """Give the hash of the settings of a call, and what is to be stored of them.

        Raises:
            UnstorableValueError: they cannot be stored.
        """
        if settings is None:
            return None, ()
        known = settings.hash_key
        return known, () if known in self._settings else self.rows(settings, "settings")

    def replies(
        self, replies: Sequence[tuple[Message, Sequence[str] | None]], *, passes_on: bool
    ) -> tuple[list[Reply], NewSequence | None]:
        """Give the replies that are stored by themselves, and all of them as a sequence if those are not all.

        With `passes_on` a message that has been replied with before in this run is not stored by itself once more.

        Raises:
            UnstorableValueError: one cannot be stored.
        """
        if not passes_on:
            return [self.reply(position, *reply) for position, reply in enumerate(replies)], None
        outputs = self._sequence([message for message, _ in replies], "replies")
        covered = len(outputs.ids)
        while covered and not self._sequences.get(outputs.ids[covered - 1]):
            covered -= 1
        new = [
            self.reply(position, *replies[position])
            for position in range(covered, len(replies))
            if outputs.hashes[position] not in self._replied
        ]
        if len(new) == len(replies):
            return new, None
        # Their messages come with the sequence.
        return [reply._replace(rows=()) for reply in new], outputs

    def inputs(self, messages: Sequence[Message] | None) -> NewSequence | None:
        """Give what is stored of inputs: an earlier sequence, and what is new; None for None.

        Raises:
            UnstorableValueError: one of them cannot be stored.
        """
        return None if messages is None else self._sequence(messages, "inputs")

    def _sequence(self, messages: Sequence[Message], field: str) -> NewSequence:
        if len(messages) == 1:
            return self._sequence_of_one(messages[0], field)
        # A copy: whoever has given a list may change it.
        made: dict[int, Sequence[Row]] = {}
        hashed = self._hashed(tuple(messages), field, made)
        known = len(messages)
        while known and hashed.ids[known - 1] not in self._sequences:
            known -= 1
        rows: dict[str, Row] = {}
        for index in range(known, len(messages)):
            if hashed.hashes[index] not in rows and hashed.hashes[index] not in self._replied:
                of_this = made.get(index)
                for row in of_this if of_this is not None else self.rows(messages[index], f"{field}[{index}]"):
                    rows[row.hash] = row
        return NewSequence(hashed.ids, hashed.hashes, known, list(rows.values()))

    def _sequence_of_one(self, message: Message, field: str) -> NewSequence:
        """Give what the rest of `_sequence` would, of what most calls get."""
        # See `reply`.
        rows = self.rows(message, f"{field}[0]")
        message_hash = rows[-1].hash
        ids = ids_of((message_hash,))
        if ids[0] in self._sequences:
            return NewSequence(ids, (message_hash,), 1, ())
        return NewSequence(ids, (message_hash,), 0, () if message_hash in self._replied else rows)

    def _hashed(self, messages: tuple[Message, ...], field: str, made: dict[int, Sequence[Row]]) -> "_Hashed":
        """Give the hashes of messages, as far as they begin like others a moment ago those of then.

        The rows that had to be made to that end are put into `made`, by the positions of their messages.
        """
        length, latest = 0, None
        for one in self._latest:
            alike = _length_alike(messages, one.messages)
            if alike > length:
                length, latest = alike, one
            if length == len(messages):
                break
        hashes = [] if latest is None else latest.hashes[:length]
        ids = [] if latest is None else latest.ids[:length]
        for index in range(length, len(messages)):
            # See `reply`.
            made[index] = rows = self.rows(messages[index], f"{field}[{index}]")
            hashes.append(rows[-1].hash)
        ids += ids_of(hashes[length:], behind=ids[-1] if ids else EMPTY)
        hashed = _Hashed(messages, hashes, ids)
        if len(messages) >= _LEAST_LATEST:
            # One that goes on takes the place of its beginning.
            others = [one for one in self._latest if one is not latest or length < len(one.messages)]
            self._latest = (hashed, *others[: _MOST_LATEST - 1])
        return hashed

    def has_begun(self, start: Start) -> None:
        """Take note that what this says of a call is stored."""
        self._was_stored(start.inputs)
        if start.settings is not None and start.settings not in self._settings:
            self._settings[start.settings] = None
            _forget_the_first(self._settings)

    def _was_stored(self, sequence: NewSequence | None) -> None:
        """Take note that these messages are stored, so that longer sequences can refer to them."""
        if sequence is not None and sequence.id != EMPTY:
            self._sequences.setdefault(sequence.id, False)
            _forget_the_first(self._sequences)

    def were_replied(self, hashes: Iterable[str]) -> None:
        """Take note that these messages are stored as replies by themselves."""
        self._replied.update(dict.fromkeys(hashes))
        _forget_the_first(self._replied)

    def has_ended(self, end: End) -> None:
        """Take note that what this says of a call is stored."""
        self._was_stored(end.inputs)
        self._was_stored(end.outputs)
        if end.state != "finished":
            # What it has replied with goes when it is made again.
            return
        self.were_replied(reply.hash for reply in end.replies)
        if end.outputs is not None:
            self._sequences[end.outputs.id] = True

    def forget_what_was_stored(self) -> None:
        """Refer to nothing that was stored before: some of it may not be there."""
        self._sequences.clear()
        self._replied.clear()
        self._settings.clear()


class _Hashed(NamedTuple):
    messages: tuple[Message, ...]
    hashes: list[str]
    ids: list[str]


def _length_alike(messages: Sequence[Message], others: Sequence[Message]) -> int:
    """Give how many messages at the beginning are the very same ones."""
    length = 0
    # Not `==`, which looks into them.
    for one, other in zip(messages, others, strict=False):
        if one is not other:
            break
        length += 1
    return length


def _forget_the_first(known: dict[str, Any]) -> None:
    while len(known) > _MOST_KNOWN:
        del known[next(iter(known))]


def encoded(value: Any, field: str, place: str) -> tuple[str, list[Row]]:
    """Give a value as JSON, and the rows of the objects in it.

    Raises:
        UnstorableValueError: something in it cannot be stored.
    """
    try:
        return encode_value(value, field)
    except BadValueError as error:
        raise UnstorableValueError(error.why, place=place, field=error.field) from error
    except SameNameError as error:
        raise UnstorableValueError(str(error), place=place, field=field) from error


def error_as_text(error: BaseException) -> CallFailure:
    """Give what is stored of an error: without the keys and passwords that are in so many of them."""
    kind = type(error)
    trace = "".join(traceback.format_exception(error))
    return CallFailure(f"{kind.__module__}.{kind.__qualname__}", *map(_storable, (text_of(error), trace)))


def _storable(text: str) -> str:
    """Give the text of an error without secrets, and without what a database cannot hold."""
    return (
        masked_text(text, secrets_of_environment())
        .encode("utf-8", "backslashreplace")
        .decode()
        .replace("\x00", "\\x00")
    )
