"""The tables, the same in SQLite and Postgres.

journal_messages   every message (and settings) once, by hash; `refs` are the hashes of messages directly inside it
journal_sequences  inputs of calls, and replies: an earlier sequence and the hashes that are new; `id` is a hash of all
journal_runs       runs, and who holds them: `token` grows with each process that takes one, and fences off the last
journal_calls      calls of agents; `equal` is a hash of agent, version, settings and inputs; `outputs` is the sequence
                   of the replies, where other calls of the run had replied with some of them before; `seal` is a
                   hash of the row and the replies of a call that may be answered by them (`_seals.py`)
journal_replies    what a call replied with, and the tokens it came in; where there are `outputs`, only what is new
journal_questions  what people were asked; `answer` is JSON
journal_onces      what was to happen only once in a run, and what came of it, as JSON
journal_histories  histories of dialogs, and how long they are; `run` is the one that has kept something there last
journal_kept       the messages of histories; `origin` tells who has kept those up to there
journal_unfiled    SQLite only: steps of calls that are committed, and soon put into the tables above
"""

VERSION = 1

_TABLES = (
    "CREATE TABLE journal_messages (hash TEXT PRIMARY KEY, body TEXT NOT NULL, kinds TEXT, refs TEXT)",
    "CREATE TABLE journal_sequences (id TEXT PRIMARY KEY, previous TEXT, items TEXT NOT NULL){compact}",
    """CREATE TABLE journal_runs (
        run TEXT PRIMARY KEY, state TEXT NOT NULL, started_at {real} NOT NULL, active_at {real} NOT NULL,
        ended_at {real}, owner TEXT NOT NULL, token BIGINT NOT NULL, lease_until {real} NOT NULL)""",
    """CREATE TABLE journal_calls (
        seq {serial} PRIMARY KEY, run TEXT NOT NULL, key TEXT NOT NULL, parent TEXT, agent TEXT NOT NULL,
        version TEXT NOT NULL, settings TEXT, inputs TEXT, outputs TEXT, equal TEXT, seal TEXT, state TEXT NOT NULL,
        attempts BIGINT NOT NULL, started_at {real} NOT NULL, ended_at {real}, usage TEXT,
        error_type TEXT, error_text TEXT, error_traceback TEXT, UNIQUE (run, key))""",
    "CREATE INDEX journal_calls_equal ON journal_calls (equal) WHERE state = 'finished'",
    """CREATE TABLE journal_replies (
        call BIGINT NOT NULL, position BIGINT NOT NULL, hash TEXT NOT NULL, tokens {blob},
        PRIMARY KEY (call, position)){compact}""",
    "CREATE INDEX journal_replies_hash ON journal_replies (hash)",
    """CREATE TABLE journal_questions (
        run TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, asked_at {real} NOT NULL,
        answer TEXT, answered_at {real}, PRIMARY KEY (run, key))""",
    """CREATE TABLE journal_onces (
        run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, recorded_at {real} NOT NULL,
        PRIMARY KEY (run, key))""",
    """CREATE TABLE journal_histories (
        id {serial} PRIMARY KEY, name TEXT NOT NULL UNIQUE, run TEXT NOT NULL, length BIGINT NOT NULL,
        active_at {real} NOT NULL)""",
    """CREATE TABLE journal_kept (
        history BIGINT NOT NULL, position BIGINT NOT NULL, hash TEXT, origin TEXT,
        PRIMARY KEY (history, position)){compact}""",
)

SQLITE_TABLES = [
    *(table.format(real="REAL", blob="BLOB", serial="INTEGER", compact=" WITHOUT ROWID") for table in _TABLES),
    "CREATE TABLE journal_unfiled (seq INTEGER PRIMARY KEY, steps TEXT NOT NULL)",
]
POSTGRES_TABLES = [
    *(table.format(real="DOUBLE PRECISION", blob="BYTEA", serial="BIGSERIAL", compact="") for table in _TABLES),
    "CREATE TABLE journal_version (version BIGINT NOT NULL)",
]
