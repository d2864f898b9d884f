"""For which call a value of a cassette is: so that equal names in several calls do not get each other's values."""

import hashlib
import json
from collections.abc import Callable, Iterable

from miniagents.journal._cassette_file import RecordedCall, RecordedValue
from miniagents.journal.errors import UnstorableValueError
from miniagents.journal.records import StartedCall

_UNKNOWN = "-"
_DIGITS = 10


class GoingOn:
    """The calls of a run that have begun and not ended."""

    def __init__(self) -> None:
        self._calls: dict[str, StartedCall] = {}

    def begin(self, call: StartedCall) -> None:
        """Take note of a call."""
        self._calls[call.key] = call

    def end(self, key: str) -> None:
        """Forget a call."""
        self._calls.pop(key, None)

    def named(self, key: str, asked: Callable[[StartedCall], RecordedCall]) -> str | None:
        """Give what a call is known by: its agent, and digests of the rest of `asked(call)`; None: nobody knows it."""
        call = self._calls.get(key)
        if call is None:
            return None
        try:
            shown = asked(call)
        except UnstorableValueError:
            # It is told where the call itself is recorded.
            return None
        inputs = _UNKNOWN if call.inputs is None else _digest(shown.inputs)
        return f"{shown.agent} {_digest([shown.version, shown.settings])} {inputs}"


def value_for(of: str | None, recorded: Iterable[RecordedValue]) -> RecordedValue | None:
    """Give the first value that is for this call: the very one, one for any, one whose input was still coming."""
    values = list(recorded)
    if of is None:
        return next((one for one in values if one.of is None), values[0] if values else None)
    return (
        next((one for one in values if one.of == of), None)
        or next((one for one in values if one.of is None), None)
        or next((one for one in values if one.of is not None and _may_be(one.of, of)), None)
    )


def _may_be(one: str, other: str) -> bool:
    first, _, input_of_one = one.rpartition(" ")
    second, _, input_of_other = other.rpartition(" ")
    return first == second and _UNKNOWN in (input_of_one, input_of_other)


def agent_in(of: str) -> str:
    """Give the agent of a call."""
    return of.rsplit(" ", 2)[0]


def _digest(shown: object) -> str:
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:_DIGITS]
