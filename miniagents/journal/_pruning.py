"""`Pruning`: one removal of old runs, from the first to the last step."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import count, islice
from typing import Any

from miniagents.journal._leases import renew_on
from miniagents.journal._own_tasks import OwnTask
from miniagents.journal._pruning_steps import (
    CALL_COLUMNS,
    PAGE,
    VALUES,
    Old,
    fingerprint,
    hashes_in_row,
    old_runs,
    page,
    remove_calls,
    remove_history,
    remove_runs,
    renew_removed,
    sweep,
)
from miniagents.journal._store import Needs, Store
from miniagents.journal.records import Pruned

_AT_A_TIME = 1000
"""So many messages are removed at once."""
_CLOCKS_DIFFER_BY_S = 60.0
_numbers = count()


class Pruning:
    """Removes runs that are old, and what no other run needs. Begun once more, it goes on where it was cut off.

    A run stays listed, without its calls, until all is removed that only it needed; nobody can begin it meanwhile.
    """

    def __init__(self, store: Store, owner: str, now: Callable[[], float], lease_s: float) -> None:
        self._store = store
        # One of its own, also beside another one of the same journal: it holds what it has taken, and nothing else.
        self._pruner = f"{owner}-pruning-{next(_numbers)}"
        self._now = now
        self._lease_s = lease_s
        self._signs_of_life = OwnTask("signs of life of runs that are removed")

    async def prune(self, older_than: timedelta) -> Pruned:
        """Remove the runs in which nothing has happened for so long."""
        try:
            return await self._prune(older_than)
        finally:
            await self._signs_of_life.end()

    async def _prune(self, older_than: timedelta) -> Pruned:
        old = Old(self._now() - older_than.total_seconds(), self._pruner)
        held: list[tuple[str, int]] = []
        calls = 0
        after = ""
        while runs := await self._store.read(partial(old_runs, old, self._now(), after)):
            after = runs[-1]
            for run_id in runs:
                token, removed = await self._empty(run_id, old)
                calls += removed
                if token is not None:
                    held.append((run_id, token))
                    self._signs_of_life.go_on(partial(renew_on, self._renew_leases, self._lease_s, lambda: True))
        histories = 0
        while await self._store.submit(lambda: remove_history(old, self._now())):
            histories += 1
        if not held and not histories:
            return Pruned(0, 0, 0)
        messages = await self._remove_unneeded()
        for start in range(0, len(held), PAGE):
            some = held[start : start + PAGE]
            await self._store.submit(partial(remove_runs, some, old))
        await self._store.shrink()
        return Pruned(len(held), calls, messages)

    async def _renew_leases(self) -> None:
        await self._store.submit(partial(renew_removed, self._pruner, self._now(), self._lease_s))

    async def _empty(self, run_id: str, old: Old) -> tuple[int | None, int]:
        token: int | None = None
        calls = 0
        while True:
            removed = await self._store.submit(partial(remove_calls, run_id, old, token, self._now(), self._lease_s))
            token = removed.token
            calls += removed.calls
            if removed.is_empty:
                return token, calls

    async def _remove_unneeded(self) -> int:
        since = self._now() - _CLOCKS_DIFFER_BY_S
        needed, needed_sequences, seen = await self._needed()
        sequences = [row[0] async for row in self._rows("journal_sequences", ["id"]) if row[0] not in needed_sequences]
        unneeded = [row[0] async for row in self._rows("journal_messages", ["hash"]) if row[0] not in needed]
        removed = 0
        rest_of_messages, rest_of_sequences = iter(unneeded), iter(sequences)
        while True:
            some = list(islice(rest_of_messages, _AT_A_TIME))
            others = list(islice(rest_of_sequences, _AT_A_TIME))
            if not some and not others:
                return removed
            removed += await self._store.submit(
                partial(sweep, some, others, since, seen, self._store.place), needs=Needs.TO_BE_ALONE
            )

    async def _needed(self) -> tuple[set[str], set[str], dict[int, int]]:
        """Give the messages, and the sequences, that something refers to, and the fingerprints of calls."""
        needed: set[str] = set()
        sequences: set[str] = set()
        seen: dict[int, int] = {}
        async for row in self._rows("journal_calls", ["seq"], *CALL_COLUMNS):
            sequences.update(row[1:3])
            needed.add(row[3])
            seen[row[0]] = fingerprint(row)
        # What a sequence that stays begins with stays, too.
        previous = {row[0]: row[1] async for row in self._rows("journal_sequences", ["id"], "previous")}
        for one in list(sequences):
            before = previous.get(one)
            while before is not None and before not in sequences:
                sequences.add(before)
                before = previous.get(before)
        async for one, items in self._rows("journal_sequences", ["id"], "items"):
            if one in sequences:
                needed.update(items.split())
        async for row in self._rows("journal_replies", ["call", "position"], "hash"):
            needed.add(row[2])
        async for row in self._rows("journal_kept", ["history", "position"], "hash"):
            needed.add(row[2])
        for table, column in VALUES:
            async for row in self._rows(table, ["run", "key"], column):
                needed.update(hashes_in_row(table, row, self._store.place))
        inside = {row[0]: row[1].split() async for row in self._rows("journal_messages", ["hash"], "refs") if row[1]}
        pending = [one for one in needed if one in inside]
        while pending:
            new = [ref for ref in inside[pending.pop()] if ref not in needed]
            needed.update(new)
            pending += [ref for ref in new if ref in inside]
        return needed, sequences, seen

    async def _rows(self, table: str, key: Sequence[str], *columns: str) -> AsyncIterator[Any]:
        after: tuple[Any, ...] = ()
        while True:
            rows = await self._store.read(partial(page, table, key, columns, after))
            for row in rows:
                yield row
            # Those who write may be faster than this, and what they write last is looked at in the end.
            if len(rows) < PAGE:
                return
            after = tuple(rows[-1])[: len(key)]
