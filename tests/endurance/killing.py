"""Kills runs of `killed_program.py` at random points, and resumes them; run by `test_killed_runs.py`.

    python killing.py kill_many|ask_and_kill JSON

This process imports everything, and forks a victim for each attempt, which runs the program as a run of a journal. The
victim is killed on a line that it notes, by itself, or a moment after a line, by this process, which may add to what was
noted, between two attempts:

    committed KEY                 the journal has the answer of this call
    missing HASH                  it does not have this message, which was given last
"""

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniagents.journal import Journal, JournalError
from tests.endurance.killed_program import END_OF_LINE, LEAVES, asking, attempt, everything, program

HANGS_AFTER_S = 30
LONGEST_DELAY_S = 0.004


@dataclass(frozen=True)
class Plan:
    """Where, and how, the victims of this process live; a run of its own each, or more than one in a row."""

    url: str
    """The journal; `{run}` in it stands for the name of the run."""
    folder: str
    durability: str
    kills: int
    """How many victims are to die."""
    dice: str

    @property
    def whole_run(self) -> str:
        """The first run, which is not killed in `kill_many`."""
        return f"run-{self.dice}-0"

    def witness(self, run_id: str) -> Path:
        return Path(self.folder, f"{run_id}.witness")

    def lines(self, run_id: str) -> list[str]:
        """What the victims have noted; without lines that were cut off."""
        noted = self.witness(run_id).read_text().splitlines()
        return [line.removesuffix(END_OF_LINE) for line in noted if line.endswith(END_OF_LINE)]

    def output(self, run_id: str) -> Path:
        return Path(self.folder, f"{run_id}.output")

    def journal(self, run_id: str) -> str:
        return self.url.format(run=run_id)


def become_the_victim(plan: Plan, run_id: str, agent: Any) -> None:
    """Run the program, all of it, and end the process."""
    # One that hangs says where, and ends with another exit code than any that is right.
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    exit_code = 1
    try:
        output = os.open(plan.output(run_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        attempt.lines = itertools.count()
        attempt.dice = random.Random()
        attempt.differs = plan.durability == "step"
        attempt.note_fd = os.open(plan.witness(run_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        asyncio.run(program(plan.journal(run_id), run_id, agent, durability=plan.durability))
        exit_code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(exit_code)


@contextlib.contextmanager
def victim(plan: Plan, run_id: str, agent: Any) -> Iterator[int]:
    """A victim; it is killed at the end, if it is still there."""
    pid = os.fork()
    if pid == 0:
        become_the_victim(plan, run_id, agent)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def play(plan: Plan, run_id: str, agent: Any, kill_at: int | None = None, delay_s: float | None = None) -> int:
    """Run a victim, which is killed on that line or, by this process, so long after it; give how it ended."""
    hears_fd, tells_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hears_fd)
        attempt.kill_at = kill_at
        attempt.told_fd = None if delay_s is None else tells_fd
        become_the_victim(plan, run_id, agent)
    os.close(tells_fd)
    # Nothing is there to be read if it ends without having come so far.
    if delay_s is not None and os.read(hears_fd, 1):
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)
    os.close(hears_fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def look(plan: Plan, run_id: str) -> None:
    """Note which answers the journal has now, after the victim has died; fails where it is damaged."""
    url = plan.journal(run_id)
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///"))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with await Journal.open(url) as journal:
        if run_id not in [record.run_id async for record in journal.runs()]:
            return
        found = [
            f"committed {call.key}"
            async for call in journal.log(run_id)
            if call.agent in LEAVES and call.state == "finished"
        ]
        for line in [line for line in plan.lines(run_id) if line.startswith("given ")][-5:]:
            try:
                await journal.stored(line.removeprefix("given "))
            except JournalError:
                found.append(line.replace("given", "missing"))
    with plan.witness(run_id).open("a") as witness:
        witness.write("\n" + "".join(f"{line}{END_OF_LINE}\n" for line in found))


def kill_and_resume(plan: Plan, number: int, lines: int, dice: random.Random) -> tuple[str, list[str]]:
    """Kill a run, some of them more than once, and let it end; give its name, and when it was killed."""
    run_id = f"run-{plan.dice}-{number}"
    points: list[str] = []
    for _ in range(dice.choice([1, 1, 2, 4])):
        kill_at, delay_s = dice.randrange(lines), dice.choice([None, dice.uniform(0, LONGEST_DELAY_S)])
        exit_code = play(plan, run_id, everything, kill_at, delay_s)
        if exit_code != -signal.SIGKILL:
            # Done already; or it has failed by itself, which it has written down.
            break
        points.append(f"line {kill_at}" + ("" if delay_s is None else f" and {delay_s * 1e6:.0f} us"))
        if plan.durability != "step" or dice.random() < 0.3:
            asyncio.run(look(plan, run_id))
    play(plan, run_id, everything)
    if dice.random() < 0.1:
        # Once more, now that all is there: what was recorded last is read, too.
        asyncio.run(look(plan, run_id))
        play(plan, run_id, everything)
    return run_id, points


def kill_many(plan: Plan) -> dict[str, list[str]]:
    """Kill so many victims; give when, by run."""
    dice = random.Random(plan.dice)
    whole = plan.whole_run
    assert play(plan, whole, everything) == 0, plan.output(whole).read_text()
    lines = len(plan.lines(whole))
    points: dict[str, list[str]] = {whole: []}
    while sum(map(len, points.values())) < plan.kills and len(points) < 3 * plan.kills:
        run_id, found = kill_and_resume(plan, len(points), lines, dice)
        points[run_id] = found
    return points


# -- questions ----------------------------------------------------------------------------------------------------------


def until(is_so: Callable[[], bool]) -> None:
    """Look again and again: it is another process that makes it so."""
    give_up_at = time.monotonic() + HANGS_AFTER_S
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def until_noted(plan: Plan, run_id: str, line: str) -> None:
    until(lambda: line in plan.lines(run_id))


async def open_questions(url: str, run_id: str) -> list[str]:
    async with await Journal.open(url) as journal:
        if run_id not in [record.run_id async for record in journal.runs()]:
            return []
        return sorted([one.key async for one in journal.questions(run_id) if one.answered_at is None])


async def answer(url: str, run_id: str, key: str) -> None:
    async with await Journal.open(url) as journal:
        await journal.answer(run_id, key, f"answer {key}")


def ask_and_kill(plan: Plan) -> dict[str, list[str]]:
    """Kill a run that has asked, and again after each answer, given in reverse; give what was open after each kill."""
    run_id = plan.whole_run
    url = plan.journal(run_id)
    still_open: dict[str, list[str]] = {}
    with victim(plan, run_id, asking):
        until(lambda: len(asyncio.run(open_questions(url, run_id))) == 3)
    still_open["asked"] = asyncio.run(open_questions(url, run_id))
    # While nobody waits for it.
    asyncio.run(answer(url, run_id, "c"))
    with victim(plan, run_id, asking):
        until_noted(plan, run_id, "answered c")
        # While somebody does.
        asyncio.run(answer(url, run_id, "b"))
        until_noted(plan, run_id, "answered b")
    still_open["two answered"] = asyncio.run(open_questions(url, run_id))
    asyncio.run(answer(url, run_id, "a"))
    play(plan, run_id, asking)
    still_open["all answered"] = asyncio.run(open_questions(url, run_id))
    return still_open


def main(plan: Plan, work: str) -> dict[str, list[str]]:
    """Do the work that the command line names."""
    # In this process, so that whatever is loaded when it is used is there when the victims begin.
    attempt.note_fd = os.open(os.devnull, os.O_WRONLY)
    asyncio.run(program("memory://", "warm", everything))
    if plan.url.startswith("postgres"):
        asyncio.run(program(plan.journal("warm"), f"warm-{plan.dice}", everything))
    gc.freeze()
    return {"kill_many": kill_many, "ask_and_kill": ask_and_kill}[work](plan)


if __name__ == "__main__":
    print(json.dumps(main(Plan(**json.loads(sys.argv[2])), sys.argv[1])))
