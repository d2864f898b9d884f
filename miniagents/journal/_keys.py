"""What calls are known by: keys that are made of what is called, and with what, not of when or in which order."""

import hashlib
from collections.abc import Sequence

from miniagents.journal._values import check_text
from miniagents.promising.ext.frozen import Frozen

_DIGITS = 40


def version_of(marked: str, journal_key: str | None, place: str) -> str:
    """Give the version of a call: that of its agent, and what tells the call apart from equal ones.

    Raises:
        TypeError: `journal_key` is no text.
        UnstorableValueError: it has what the journal at `place` cannot hold.
    """
    if journal_key is None:
        return marked
    # The types do not keep a user from it.
    if not isinstance(journal_key, str) or not journal_key:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`journal_key` is a text, such as 'first', not {journal_key!r}.")
    check_text(journal_key, "journal_key", place)
    return f"{marked} journal_key={journal_key}"


def likeness(agent: str, version: str, settings: Frozen | None, inputs: str) -> str:
    """Give what equal calls have in common: agent, version, settings, and what their inputs are known by."""
    return _digest((agent, version, "" if settings is None else settings.hash_key, inputs))


def key_of(parent: str, like: str, number: int) -> str:
    """Give the key of the call that is the `number`-th of those that are so alike, counted from 0, in its parent."""
    return _digest((parent, like, str(number)))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:_DIGITS]
