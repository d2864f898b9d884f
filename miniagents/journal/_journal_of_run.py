"""What a run needs of the journal that it is in."""

from typing import Any, Protocol

from miniagents.journal._store import Store
from miniagents.journal.records import Question


class JournalOfRun(Protocol):
    """What a run needs of its journal."""

    store: Store

    def now(self) -> float:
        """The time, by the clock of the database."""
        ...

    async def restored_value(self, stored: str) -> Any:
        """Make a stored value again."""
        ...

    async def restored_question(self, row: Any) -> Question:
        """Make the record of a question."""
        ...

    async def wait_for_answer(self, run_id: str, key: str) -> Question:
        """Wait until a question is answered."""
        ...

    async def let_go(self, run: Any, state: str) -> None:
        """End a run."""
        ...
