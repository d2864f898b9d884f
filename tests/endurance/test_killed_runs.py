"""A run that is killed at any moment, and started again, ends as if nothing had happened; nothing is paid for twice."""

import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from miniagents.journal import CallRecord, Journal
from tests.endurance.killed_program import LEAVES
from tests.endurance.killing import Plan
from tests.endurance.tools import times

# A server of Postgres, and a schema there that goes away with the test.
from tests.unit.journal.conftest import (  # noqa: F401
    a_new_connection_may_look_for_certificates,
    postgres_url,
)

PROGRAM = Path(__file__).parent / "killing.py"
ROOT = PROGRAM.parents[2]
# The same dice again: KILLED_RUNS_DICE=... python -m pytest tests/endurance/test_killed_runs.py
DICE = os.environ.get("KILLED_RUNS_DICE") or secrets.token_hex(4)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs `fork` and signals"),
    pytest.mark.allow_blocking("the tests read what other processes have left behind, after they have ended"),
]


@dataclass(frozen=True)
class Run:
    """A run that was killed, perhaps more than once, and has ended then."""

    run_id: str
    points: list[str]
    lines: list[list[str]]
    """What its attempts have noted, word by word."""
    output: str
    calls: list[CallRecord]
    state: str

    def what_is_wrong(self, whole: "Run", *, seen_is_kept: bool) -> Iterator[str]:
        """Say what is not as it should be, if anything."""
        if self.output:
            yield f"it has written: {self.output}"
        if self.lines[-1] != ["left"]:
            yield f"it has not ended: {self.lines[-1]}"
        if any(result != whole.results[0] for result in self.results):
            yield f"it ended with {self.results}, and not with {whole.results}"
        yield from self._what_was_lost(seen_is_kept=seen_is_kept)
        if self.state != "finished":
            yield f"the journal says that it is {self.state}"
        if Counter(call.agent for call in self.calls) != Counter(call.agent for call in whole.calls):
            yield f"the journal has these calls: {Counter(call.agent for call in self.calls)}"
        if unfinished := [call for call in self.calls if call.state != "finished"]:
            yield f"these have not finished: {unfinished}"
        leaves = {call.key for call in self.calls if call.agent in LEAVES}
        if leaves != {line[1] for line in self.lines if line[0] == "begin" and "/" not in line[1]}:
            yield "the calls in the journal are not those that were made"

    @property
    def results(self) -> list[str]:
        return [" ".join(rest) for kind, *rest in self.lines if kind == "result"]

    def _what_was_lost(self, *, seen_is_kept: bool) -> Iterator[str]:
        kept: set[str] = set()
        running: set[str] = set()
        answers: dict[str, list[str]] = {}
        for kind, *rest in self.lines:
            if kind == "attempt":
                running = set()
            elif kind == "committed" or (kind == "seen" and seen_is_kept):
                kept.add(rest[-1] if kind == "committed" else rest[1])
            elif kind == "begin":
                if rest[0] in kept:
                    yield f"this had been answered, and was done again: {rest}"
                if rest[0] in running:
                    yield f"this was done twice in one attempt: {rest}"
                running.add(rest[0])
            elif kind == "missing" and seen_is_kept:
                yield f"this had been awaited, and is not in the journal: {rest}"
            if kind == "seen" and answers.setdefault(rest[0], rest) != rest:
                yield f"this was {answers[rest[0]]}, and became {rest}"


async def kept_run(plan: Plan, run_id: str, points: list[str]) -> Run:
    """Give what a run has left behind, in a journal that is whole."""
    url = plan.journal(run_id)
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with await Journal.open(url) as journal:
        states = {record.run_id: record.state async for record in journal.runs()}
        calls = [call async for call in journal.log(run_id)]
    lines = [line.split(" ") for line in plan.lines(run_id)]
    return Run(run_id, points, lines, plan.output(run_id).read_text(), calls, states[run_id])


async def run_program(work: str, plan: Plan) -> dict[str, list[str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(PROGRAM), work, json.dumps(vars(plan)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    finally:
        # Where this test was cut off.
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode()) == (0, ""), f"{plan}\n{errors.decode()}"
    return json.loads(output)


async def killed(plan: Plan) -> tuple[Run, list[Run]]:
    """Kill as many victims as planned; give a run that was not killed, and those that were."""
    whole, *others = [
        await kept_run(plan, run_id, points) for run_id, points in (await run_program("kill_many", plan)).items()
    ]
    return whole, others


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal, of SQLite one for each run."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/{{run}}.db"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("durability", "kills"), [("step", 200), ("lazy", 40)], ids=["step", "lazy"])
async def test_a_run_killed_at_any_moment_ends_with_the_same_result_and_does_nothing_again_that_was_recorded(
    url: str, tmp_path: Path, durability: str, kills: int
) -> None:
    plans = [Plan(url, str(tmp_path), durability, times(kills) // 2, f"{DICE}{half}") for half in "ab"]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(killed(plan)) for plan in plans]
    halves = [task.result() for task in tasks]

    wrong = [
        f"{run.run_id}, killed at {run.points}: {found}"
        for whole, runs in halves
        for run in runs
        for found in run.what_is_wrong(whole, seen_is_kept=durability == "step")
    ]
    assert not wrong, f"{len(wrong)} are wrong with KILLED_RUNS_DICE={DICE}:\n" + "\n".join(wrong[:8])
    assert sum(len(run.points) for _, runs in halves for run in runs) >= times(kills)


@pytest.mark.timeout(300)
async def test_questions_survive_a_kill_and_answered_in_reverse_they_lead_to_the_result(
    url: str, tmp_path: Path
) -> None:
    plan = Plan(url, str(tmp_path), "step", 0, DICE)

    still_open = await run_program("ask_and_kill", plan)

    assert still_open == {"asked": ["a", "b", "c"], "two answered": ["a"], "all answered": []}
    run = await kept_run(plan, plan.whole_run, [])
    said = " ".join(f"plain(before {key})  {key}=answer {key} streaming(after answer {key}) " for key in "abc")
    assert run.results == [repr(said)]
    # What tells a person how to answer, and nothing else.
    assert all("answer with `miniagents ask" in line for line in run.output.splitlines())
    assert not list(replace(run, output="").what_is_wrong(run, seen_is_kept=True))
