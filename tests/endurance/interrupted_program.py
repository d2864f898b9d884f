"""A program that is interrupted again and again; run by `test_signals.py`, as a process of its own.

    python interrupted_program.py FOLDER ROUNDS SEED

Each round forks a child, which runs a program with agents to its natural end unless a signal comes before. In every
second round the signal is sent by the parent after a random time; in the others the child sends it to itself on
reaching a random line of code below `run()`. The child notes in `FOLDER/<round>.events` what began and what ended, and
leaves its output in `FOLDER/<round>.output`; the parent notes the signal and how the child ended in `FOLDER/rounds`.
"""

import asyncio
import faulthandler
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from miniagents import InteractionContext, Message, MiniAgents, miniagent

FOLDER = Path(sys.argv[1])
ROUNDS = int(sys.argv[2])
SEED = sys.argv[3]
MAX_DELAY_S = 0.04
HANGS_AFTER_S = 15
CALIBRATION = -1

note_fd = -1


def note(text: str) -> None:
    # At once and in one piece, whatever happens next.
    os.write(note_fd, f"{text}\n".encode())


@contextmanager
def noted(name: str) -> Iterator[None]:
    """An open file, and a note when it is opened and when it is closed again."""
    # Closed by hand: that this happens is what is under test.
    file = open(os.devnull, "w")  # noqa: SIM115
    note(f"begin {name} {id(file)}")
    try:
        yield
    finally:
        file.close()
        note(f"end {name} {id(file)}")


# -- the program --------------------------------------------------------------------------------------------------------


@miniagent
async def streaming(ctx: InteractionContext) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        with noted("tokens"):
            for number in range(5):
                yield f"{number} "
                await asyncio.sleep(0.001)

    with noted("streaming"):
        ctx.reply(Message.promise(message_token_streamer=tokens))
        await asyncio.sleep(0.002)


@miniagent
async def asking(ctx: InteractionContext) -> None:
    async def subtask() -> None:
        with noted("subtask"):
            await asyncio.sleep(0.004)

    with noted("asking"):
        ctx.wait_for(subtask())
        ctx.reply(streaming.inquire(ctx.message_promises))
        try:
            async for message in streaming.inquire(start_asap=False):
                ctx.reply(str(await message))
        finally:
            with noted("asynchronous clean-up"):
                await asyncio.sleep(0.001)


@miniagent
async def conversing(ctx: InteractionContext) -> None:
    with noted("conversing"):
        async for message in ctx.message_promises:
            ctx.reply(f"You said: {await message}")


@miniagent
async def fired(ctx: InteractionContext) -> None:
    with noted("fired"):
        await asyncio.sleep(0.02)


async def task_of_the_users_own() -> None:
    with noted("task"):
        await asyncio.sleep(3600)


async def background_work() -> None:
    with noted("background"):
        await asyncio.to_thread(time.sleep, 0.002)


async def main() -> None:
    note("main begins")
    with noted("main"):
        own_task = asyncio.create_task(task_of_the_users_own())
        fired.kick_off()
        MiniAgents.get_current().start_asap(background_work())
        for _ in range(2):
            replies = [asking.inquire(["a", "b"]) for _ in range(3)]
            call = conversing.initiate_inquiry()
            call.send_message("hi")
            async for message in call.reply_sequence():
                async for _ in message:
                    pass
            async with replies[0]:
                await anext(aiter(replies[0]))
            for sequence in replies[1:]:
                await sequence
    assert not own_task.done()
    note("main ends")


def program() -> None:
    try:
        note("enter")
        MiniAgents().run(main())
    finally:
        sys.settrace(None)
        note("leave")


# -- the rounds ---------------------------------------------------------------------------------------------------------


class SignalAtALine:
    """Sends a signal to this process when so many lines of code have run."""

    def __init__(self, line: int, number: int) -> None:
        self.seen = 0
        self._line = line
        self._number = number

    def __call__(self, frame: FrameType, event: str, _: object) -> "SignalAtALine":
        if event == "line":
            self.seen += 1
            if self.seen == self._line:
                note(f"signal in {frame.f_code.co_qualname} {frame.f_lineno}")
                os.kill(os.getpid(), self._number)
        return self


def become_the_child(round_number: int, ready_fd: int) -> None:
    global note_fd
    output = os.open(FOLDER / f"{round_number}.output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    note_fd = os.open(FOLDER / f"{round_number}.events", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # One that hangs says where, and ends with another exit code than any that is right.
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    os.write(ready_fd, b"!")
    os.close(ready_fd)


def last_event(round_number: int) -> str:
    return (FOLDER / f"{round_number}.events").read_text().splitlines()[-1]


def play(round_number: int, line: int | None, number: int, delay_s: float | None) -> int | None:
    """Run one round; in the child, give nothing, and in the parent how the child ended."""
    ready_fd, child_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_fd)
        become_the_child(round_number, child_fd)
        if line is not None:
            tracer = SignalAtALine(line, number)
            sys.settrace(tracer)
            if round_number == CALIBRATION:
                program()
                note(str(tracer.seen))
                os._exit(0)
        return None
    os.close(child_fd)
    os.read(ready_fd, 1)
    os.close(ready_fd)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def play_all() -> bool:
    """Run all rounds; whether this is the parent, who has seen their ends."""
    dice = random.Random(SEED)
    if play(CALIBRATION, 0, signal.SIGINT, None) is None:
        return False
    lines = int(last_event(CALIBRATION))
    with open(FOLDER / "rounds", "w") as report:
        for round_number in range(ROUNDS):
            number = dice.choice([signal.SIGINT, signal.SIGTERM])
            line = dice.randint(1, lines) if round_number % 2 else None
            delay_s = None if round_number % 2 else dice.uniform(0, MAX_DELAY_S)
            exit_code = play(round_number, line, number, delay_s)
            if exit_code is None:
                # The parent's copy is flushed by the parent.
                os.dup2(os.open(os.devnull, os.O_WRONLY), report.fileno())
                return False
            report.write(json.dumps([round_number, int(number), exit_code]) + "\n")
            report.flush()
    return True


if not play_all():
    # Here, at the top of the program, so that what it raises meets the interpreter and nobody else.
    program()
