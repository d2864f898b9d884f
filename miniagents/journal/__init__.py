"""The journal: messages, calls, runs and questions, kept in SQLite, Postgres or memory.

```python
async with await Journal.open("sqlite:///runs.db") as journal:
    async for run in journal.runs():
        print(run.run_id, run.state, run.calls)
```

Messages are stored once, by their content; a run is written by one process at a time, through what
`journal.begin_run("my-run")` gives. Nothing in the core knows of this package, and the modules of databases are loaded
when a journal is opened.
"""

from miniagents.journal._extension import journal_extension
from miniagents.journal.cassette import (
    Cassette,
    CassetteMissError,
    CassetteModeError,
    RecordedCallError,
)
from miniagents.journal.errors import (
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalUnreachableError,
    JournalVersionError,
    RunBusyError,
    UncertainCallError,
    UnstorableValueError,
)
from miniagents.journal.journal import Journal
from miniagents.journal.records import (
    CallFailure,
    CallRecord,
    FinishedCall,
    Pruned,
    Question,
    RunRecord,
    StartedCall,
    StoredMessage,
    StoredReply,
)
from miniagents.journal.run_journal import RunJournal

__all__ = [
    "CallFailure",
    "CallRecord",
    "Cassette",
    "CassetteMissError",
    "CassetteModeError",
    "FinishedCall",
    "Journal",
    "JournalCorruptError",
    "JournalError",
    "JournalLockedError",
    "JournalUnreachableError",
    "JournalVersionError",
    "Pruned",
    "Question",
    "RecordedCallError",
    "RunBusyError",
    "RunJournal",
    "RunRecord",
    "StartedCall",
    "StoredMessage",
    "StoredReply",
    "UncertainCallError",
    "UnstorableValueError",
    "journal_extension",
]
