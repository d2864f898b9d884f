"""Histories of dialogs, as the agents that keep them see them: `History`.

A run that is resumed does again what it has done before, and must not keep twice what it has kept then. So what a call
brings is compared with what was kept next: where it is the same, nothing is stored, and the call gets the history up to
there, as it did then, so that whoever is asked with it finds itself answered as well. (Where several calls go on at
once, they may come in any order.) With the first call that brings something else the dialog goes on from its end, and
whatever begins after that is new, also if it was said before in the same words.
"""

import asyncio
import hashlib
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from miniagents.journal._bad_rows import CAUSES, unreadable
from miniagents.journal._bodies import Row
from miniagents.journal._history_steps import Place, append, read_history, read_started_at
from miniagents.journal._to_rows import encoded
from miniagents.journal.run_journal import RunJournal
from miniagents.messages import Message

_DIGITS = 16


class History(Protocol):
    """Messages in a row, to which more are added."""

    def call(self) -> AbstractContextManager["HistoryCall"]:
        """Give what one call reads and keeps; it is to be entered when the call begins."""
        ...


class HistoryCall(Protocol):
    """One call that reads a history, or keeps something there."""

    async def read(self) -> list[Message]:
        """Give what is kept by now; while a resumed run repeats itself, what was kept by then."""
        ...

    async def keep(self, messages: Sequence[Message]) -> list[Message]:
        """Put messages at the end, unless they are a repetition; give all that was kept up to there."""
        ...


def history_of(run: object, name: str | None, scope: str) -> History:
    """Give the history `name` of the journal; None: that of the part of the run that has the key `scope`.

    It is to be held as long as that part goes on: it knows how far the run has repeated itself. What is kept for a run
    that is in no journal (that of a cassette) is gone with it.
    """
    return _StoredHistory(run, name, scope) if isinstance(run, RunJournal) else _HistoryInMemory()


class _HistoryInMemory:
    """What is kept as long as this is there."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def call(self) -> AbstractContextManager[HistoryCall]:
        return nullcontext(self)

    async def read(self) -> list[Message]:
        return list(self._messages)

    async def keep(self, messages: Sequence[Message]) -> list[Message]:
        self._messages.extend(messages)
        return list(self._messages)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one call has kept before the run was resumed."""

    hashes: tuple[str, ...]
    end: int
    """The place behind the last one."""


class _StoredHistory:
    """A history in a journal, for one part of one run; it has read it up to some place."""

    def __init__(self, run: RunJournal, name: str | None, scope: str) -> None:
        self._run = run
        self._scope = scope
        self._is_shared = name is not None
        self._name = f"run {scope} {run.run_id}" if name is None else f"named {name}"
        # The order of what is kept is that in which it was to be kept.
        self._lock = asyncio.Lock()
        self._part = ""
        self._places: list[Place] = []
        self._unclaimed: list[_Entry] = []
        self._repeated_to: int | None = None
        self._open_calls = 0
        self._appended = 0

    @contextmanager
    def call(self) -> Generator[HistoryCall]:
        self._open_calls += 1
        try:
            # Whoever begins after something new was kept repeats nothing.
            yield _StoredHistoryCall(self, may_repeat=not self._appended)
        finally:
            self._open_calls -= 1

    async def read(self) -> list[Message]:
        """Give what is kept."""
        async with self._lock:
            await self._open()
            if self._is_shared:
                await self._read_on()
            return self._messages_to(self._repeated_to)

    async def keep(self, messages: Sequence[Message], *, may_repeat: bool) -> list[Message]:
        """Put messages at the end, unless they are a repetition."""
        async with self._lock:
            await self._open()
            # Before the hash keys: those of the messages inside of them are there then, however deep they are nested.
            _, rows = encoded(list(messages), "messages", self._run.place)
            hashes = tuple([message.hash_key for message in messages])
            entry = self._claim(hashes) if may_repeat else None
            if entry is not None:
                self._repeated_to = entry.end if self._unclaimed else None
                return self._messages_to(entry.end)
            self._appended += 1
            self._repeated_to = None
            await self._append(messages, hashes, rows)
            return self._messages_to(None)

    async def _open(self) -> None:
        """Read it for the first time, and find what this part of the run has kept before."""
        if self._part:
            return
        run = self._run
        started_at = await run.read_now(lambda: read_started_at(run.run_id))
        await self._read_on()
        # A run of the same name that begins after this one was pruned is another one.
        part = hashlib.sha256(f"{run.run_id}\x1f{started_at!r}\x1f{self._scope}".encode()).hexdigest()[:_DIGITS]
        begin = 0
        for end, place in enumerate(self._places, start=1):
            if place.origin is None:
                continue
            kept_by, token = self._kept_by(place.origin, end)
            if kept_by == part and token < run.token:
                messages = [one.message for one in self._places[begin:end]]
                hashes = tuple([message.hash_key for message in messages if message is not None])
                self._unclaimed.append(_Entry(hashes, end))
            begin = end
        self._part = part

    def _kept_by(self, origin: str, end: int) -> tuple[str, int]:
        """Give which part of a run has kept what ends there, and the token that the run had."""
        try:
            kept_by, token, _ = origin.split(" ")
            return kept_by, int(token)
        except CAUSES as error:
            what = f"The origin {origin!r} of what is kept in the history {self._name!r} up to {end}"
            raise unreadable(what, error, place=self._run.place, row=f"history {self._name}") from error

    def _claim(self, hashes: tuple[str, ...]) -> _Entry | None:
        # As many calls as go on at once may have come in another order then.
        found = next((entry for entry in self._unclaimed[: self._open_calls] if entry.hashes == hashes), None)
        if found is not None:
            self._unclaimed.remove(found)
        return found

    async def _append(self, messages: Sequence[Message], hashes: Sequence[str], rows: list[Row]) -> None:
        run, known = self._run, len(self._places)
        origin = f"{self._part} {run.token} {self._appended}"
        now = run.now()
        end = await run.write_now(lambda: append(self._name, run.run_id, hashes, rows, origin, known, now))
        new: list[Place] = [Place(message, None) for message in messages] or [Place(None, None)]
        if end == known + len(new):
            self._places += new
            return
        if end < known + len(new):
            # It was pruned meanwhile, and has begun anew.
            self._places.clear()
        await self._read_on()

    async def _read_on(self) -> None:
        run, known = self._run, len(self._places)
        self._places += await run.read_now(lambda: read_history(self._name, known, run.place))

    def _messages_to(self, end: int | None) -> list[Message]:
        return [place.message for place in self._places[:end] if place.message is not None]


class _StoredHistoryCall:
    """One call of somebody who reads a history, or keeps something there."""

    def __init__(self, history: _StoredHistory, *, may_repeat: bool) -> None:
        self._history = history
        self._may_repeat = may_repeat

    async def read(self) -> list[Message]:
        return await self._history.read()

    async def keep(self, messages: Sequence[Message]) -> list[Message]:
        return await self._history.keep(messages, may_repeat=self._may_repeat)
