"""What is written of a call that goes on: a reply, and what it has used."""

from miniagents.journal._call_steps import Reply
from miniagents.journal._store import Statement, Steps, insert_messages


def store_reply(run_id: str, key: str, position: int, reply: Reply) -> Steps[None]:
    """Record one reply of a call that was started; at its end it is recorded with all others once more."""
    yield from insert_messages(reply.rows)
    yield Statement(
        """INSERT INTO journal_replies (call, position, hash, tokens)
           SELECT seq, CAST(? AS INTEGER), CAST(? AS TEXT), ? FROM journal_calls WHERE run = ? AND key = ?
           ON CONFLICT (call, position) DO UPDATE SET hash = excluded.hash, tokens = excluded.tokens""",
        (position, reply.hash, reply.tokens, run_id, key),
    )


def store_usage(run_id: str, key: str, usage: str | None) -> Steps[None]:
    """Record what a call that was started has used so far."""
    yield Statement("UPDATE journal_calls SET usage = ? WHERE run = ? AND key = ?", (usage, run_id, key))
