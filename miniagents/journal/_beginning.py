"""Taking hold of a run; where that is cancelled, nobody holds it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from miniagents.journal import _run_steps
from miniagents.journal._owners import is_at_work, is_gone
from miniagents.journal._store import Fence, Store
from miniagents.journal.errors import JournalError
from miniagents.promising._runner import runner_tasks


async def begin(
    store: Store, run_id: str, owner: str, *, now: Callable[[], float], lease_s: float, takes_over: bool
) -> _run_steps.Begun:
    """Take hold of a run, new or not.

    Raises:
        RunBusyError: somebody holds it, and `takes_over` is false.
    """
    holder = await store.read(lambda: _run_steps.read_owner(run_id))
    gone, at_work = await asyncio.to_thread(_look_for, holder) if holder else (None, None)
    steps = partial(
        _run_steps.begin, run_id, owner, now=now, lease_s=lease_s, may_take_from=gone, at_work=at_work,
        takes_over=takes_over, place=store.place,
    )  # fmt: skip
    begun = store.submit(steps)
    try:
        # To await it would cancel it, though it is committed all the same.
        await asyncio.wait([begun])
    except asyncio.CancelledError:
        await _to_the_end(_let_go(store, run_id, begun, now))
        raise
    return begun.result()


def _look_for(holder: str) -> tuple[str | None, str | None]:
    """Give who is known to be gone, and who is known to be there."""
    return holder if is_gone(holder) else None, holder if is_at_work(holder) else None


async def _let_go(
    store: Store, run_id: str, begun: "asyncio.Future[_run_steps.Begun]", now: Callable[[], float]
) -> None:
    # What could not be begun, or let go of, is held by nobody, or until the lease ends.
    with contextlib.suppress(JournalError):
        fence = Fence(run_id, (await begun).token)
        await store.submit(lambda: _run_steps.let_go(run_id, "interrupted", now()), fence=fence)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for it, however often this is cancelled meanwhile."""
    task = asyncio.create_task(work, name="letting go of a run")
    # A context that cancels all tasks of its loop leaves it alone.
    runner_tasks.add(task)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()
