"""What a run needs of the journal that it is in."""

from typing import Any, Protocol

from miniagents.journal._looking import Looking
from miniagents.journal._store import Store
from miniagents.journal.records import Question


class JournalOfRun(Protocol):
    """What a run needs of its journal."""

    store: Store
    looking: Looking

    def now(self) -> float:
        """The time, by the clock of the database."""
        ...

    async def wait_for_answer(self, run_id: str, key: str) -> Question:
        """Wait until a question is answered."""
        ...

    async def let_go(self, run: Any, state: str) -> None:
        """End a run."""
        ...
