"""What the quick variant counts of the journal."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

from benchmarks.counting import CountingLoop, Counts
from benchmarks.subjects import on_miniagents_journal as subject


def counted_chain(**how: Any) -> Counts:
    """Give what a loop does for each call of a chain of 50."""
    loop = CountingLoop()

    async def main() -> Counts:
        async with aclosing(subject.journal_chain(calls=50, shape="in sequence", **how)) as steps:
            await anext(steps)
            before = loop.counts()
            await anext(steps)
            return loop.counts().less(before)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def tasks_per_recorded_call() -> float:
    """How many tasks are made for a durable call."""
    return counted_chain(durability="step").tasks / 50


def steps_per_recorded_call() -> float:
    """How many steps of the loop a durable call takes."""
    return counted_chain(durability="step").steps / 50


def steps_without_journal() -> float:
    """How many steps a durable call takes where there is no journal, for each one of a call that is not durable."""
    durable, plain = (counted_chain(durability="", durable=is_durable).steps for is_durable in (True, False))
    return durable / plain


def first_tokens_that_wait() -> float:
    """How many first tokens of 5 durable calls do not come while the file is locked."""

    async def count() -> int:
        waiting = 0
        with tempfile.TemporaryDirectory() as folder:
            async with subject.recorded(folder) as journal:
                for index in range(5):
                    await journal.flush()
                    try:
                        # Less than the time for which the journal waits for a lock.
                        async with asyncio.timeout(3):
                            await subject.first_token_after(f"question {index}", Path(folder, subject.NAME), locks=True)
                    except TimeoutError:
                        waiting += 1
        return waiting

    return float(asyncio.run(count()))


def executed_again() -> float:
    """How many leaves a resumed run of 100 finished calls executes, when asked in another order."""

    async def count() -> int:
        with tempfile.TemporaryDirectory() as folder:
            await subject.record_run(folder, 100)
            answerer = subject.Answerer()
            async with subject.recorded(folder):
                for number in reversed(range(100)):
                    await answerer.agent.inquire(str(number))
            return answerer.executed

    return float(asyncio.run(count()))


def bytes_per_message() -> float:
    """How many bytes of the file a message of 1 kB takes, of 1,000."""
    return asyncio.run(subject.journal_bytes(messages=1000)) / 1000
