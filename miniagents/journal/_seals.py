"""Seals: what binds the row of a call to itself and to its replies, so that one that was changed answers nothing.

Messages are known by their hashes; this does the same for the rows that refer to them. It is a digest without a secret:
it shows what was lost, mixed up or edited, not what somebody has forged who knows how it is made.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

SealedReply = tuple[int, str, bytes | None]
"""Of one reply: its position, hash and tokens."""
_DIGITS = 40


def equality(agent: str, version: str, settings: str | None, inputs: str | None) -> str | None:
    """Give what equal calls have in common; None where the inputs are not known."""
    if inputs is None:
        return None
    text = "\x1f".join((agent, version, settings or "", inputs))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


Identity = tuple[str, str, str | None, str, str, str | None, str | None]
"""Of a call: its run, key, parent, agent, version, settings, and the id of its inputs."""


def seal(identity: Identity, usage: str | None, replies: Iterable[SealedReply]) -> str:
    """Give the seal of a call that has finished."""
    parts = [one or "" for one in identity]
    parts.append(usage or "")
    for position, message_hash, tokens in replies:
        parts += (str(position), message_hash, tokens.hex() if tokens else "")
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:_DIGITS]


SEALED_COLUMNS = "c.parent, c.agent, c.version, c.settings, c.inputs, c.usage, c.equal, c.seal"


def check_seal(run_id: str, key: str, sealed: Sequence[Any], replies: Iterable[SealedReply]) -> None:
    """Refuse a call that is not what was written; `sealed` has `SEALED_COLUMNS`.

    Raises:
        ValueError: somebody has changed, or lost, a part of it.
        TypeError, AttributeError: a column has something that was never written there.
    """
    parent, agent, version, settings, inputs, usage, equal, stored = sealed
    if seal((run_id, key, parent, agent, version, settings, inputs), usage, replies) != stored:
        raise ValueError("its columns, or its replies, are not those that were written")
    if equality(agent, version, settings, inputs) != equal:
        raise ValueError("its `equal` is not that which was written")
