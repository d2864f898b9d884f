"""Signs of life: without them a run is free for others when its lease has ended."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Protocol

from miniagents.journal import _run_steps
from miniagents.journal._store import Fence, Store
from miniagents.journal.errors import JournalError

_SHORTEST_PAUSE_S = 0.01


class HeldRun(Protocol):
    """A run, and with which token it is held."""

    run_id: str
    token: int


async def renew_leases(store: Store, runs: Iterable[HeldRun], now: Callable[[], float], lease_s: float) -> None:
    """Give one sign of life for each of these runs."""
    for run in runs:
        # One that was taken over hears of it at its next write.
        with contextlib.suppress(JournalError):
            renewed = partial(_run_steps.renew, run.run_id, now(), lease_s)
            await store.submit(renewed, fence=Fence(run.run_id, run.token))


async def renew_on(renew: Callable[[], Awaitable[None]], lease_s: float, is_needed: Callable[[], bool]) -> None:
    """Renew leases, three times as often as they would end, as long as there are any; what fails is tried again."""
    while True:
        await asyncio.sleep(max(_SHORTEST_PAUSE_S, lease_s / 3))
        if not is_needed():
            return
        with contextlib.suppress(JournalError):
            await renew()
