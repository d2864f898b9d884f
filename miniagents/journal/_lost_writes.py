"""Whether a write in the background has failed in a run, so that what was built upon it has a gap.

What comes after such a write may be on its way already, and refer to inputs that are not there then. It is noted with
the run, so that whoever looks at it later does not take that for a file that was damaged.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from miniagents.journal._store import Due, Fence, Statement, Steps, Store, in_list
from miniagents.journal.errors import JournalError

_KEY = ""
"""Under which it stands among what has happened once in a run; no name of a user's is empty."""


def note_lost_write(store: Store, fence: Fence, now: float) -> None:
    """Have it noted soon, in the background. Where that fails as well, it is noted with the next write that fails."""

    def steps() -> Steps[None]:
        yield Statement(
            "INSERT INTO journal_onces (run, key, value, recorded_at) VALUES (?, ?, 'null', ?) "
            "ON CONFLICT (run, key) DO NOTHING",
            (fence.run_id, _KEY, now),
        )

    # It may be closed by now.
    with contextlib.suppress(JournalError):
        store.submit(steps, fence=fence, due=Due.SOON).add_done_callback(_ignore_error)


def _ignore_error(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def runs_with_lost_writes(runs: Iterable[str]) -> Steps[set[str]]:
    """Give those of these runs of which it is noted."""
    marks, names = in_list(list(dict.fromkeys(runs)))
    rows = yield Statement(f"SELECT run FROM journal_onces WHERE key = ? AND run IN {marks}", [_KEY, *names])
    return {row[0] for row in rows}
