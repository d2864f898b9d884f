"""`Claims`: which call of a resumed run gets which answer from before; each is given to one."""

import asyncio
from collections.abc import Mapping

from miniagents.journal._call_steps import equality_of
from miniagents.journal._reading_ahead import Answers
from miniagents.journal._run_steps import Known
from miniagents.journal.records import FinishedCall, StartedCall


class Claims:
    """Gives the answers that are there, each once."""

    def __init__(self, answers: Answers, calls: Mapping[str, Known]) -> None:
        """`calls` are all that the run knows; it may change while they are worked on."""
        self._answers = answers
        self._calls = calls
        self._taken: set[str] = set()
        self._given_away: dict[str, asyncio.Event] = {}
        """Those that are being read for another call."""

    def take(self, key: str) -> None:
        """Take note that a call begins once more, so that its answer is no longer what it was."""
        if key in self._calls:
            self._taken.add(key)
            self._answers.forget(key)

    async def by_key(self, key: str, call: StartedCall | None) -> FinishedCall | None:
        """Give the answer of the call of this key; None if it has none, or another call has got it.

        Also None if `call`, the one that asks, is not equal to it.
        """
        given_away = self._given_away.get(key)
        if given_away is not None:
            # Before the call that asks is recorded in its place it is to be read.
            await given_away.wait()
        known = self._calls.get(key)
        if known is None or known.state != "finished" or key in self._taken:
            return None
        if call is not None and known.equal != equality_of(call):
            # Where somebody has changed it nothing is to be executed in its place.
            await self._answers.check(key)
            return None
        # Before anything is awaited, so that nobody else gets it meanwhile.
        self._taken.add(key)
        return await self._answers.read(key)

    async def of_equal_call(self, call: StartedCall, *, same_parent: bool) -> FinishedCall | None:
        """Give an answer that nobody has got to a call that is equal to this one, or None.

        With `same_parent` only of calls below the same parent.
        """
        equal = equality_of(call)
        for key in self._answers.of_calls_like(equal) if equal is not None else ():
            if key in self._taken or key == call.key or (same_parent and self._calls[key].parent != call.parent):
                continue
            self._taken |= {key, call.key}
            given_away = self._given_away[key] = asyncio.Event()
            try:
                found = await self._answers.read(key)
            finally:
                del self._given_away[key]
                given_away.set()
            if found is not None:
                return found
        return None
