"""What the tests of promises share."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from miniagents.promising.promising import StreamedPromise

ROOT = Path(__file__).parents[3]
# Far beyond what a single step needs, and still next to nothing.
MANY_TASK_SWITCHES = 50


async def collect(stream: AsyncIterable[Any]) -> list[Any]:
    """Give the pieces of the stream as a list; an error in it is raised."""
    return [piece async for piece in stream]


async def everything_in(stream: AsyncIterable[Any]) -> list[Any]:
    """Give pieces and errors in their order, going on behind each error until the stream says that it is over."""
    iterator = aiter(stream)
    found: list[Any] = []
    while True:
        try:
            found.append(await anext(iterator))
        except StopAsyncIteration:
            return found
        except asyncio.CancelledError:
            raise  # it is this task that was cancelled: no stream ever raises it
        except BaseException as error:
            found.append(error)


async def error_of(awaitable: Any) -> BaseException:
    """Give the exception that awaiting raises."""
    try:
        result = await awaitable
    except BaseException as error:
        return error
    raise AssertionError(f"no error was raised, the result is {result!r}")


async def let_others_run() -> None:
    """Let all tasks that are ready run, and those that they make ready, and so on."""
    for _ in range(MANY_TASK_SWITCHES):
        await asyncio.sleep(0)


def stream_of(*pieces: Any, **settings: Any) -> StreamedPromise[Any, Any]:
    """Give a promise whose streamer yields these pieces one by one, and raises those that are exceptions."""

    async def streamer(_promise: object) -> AsyncIterator[Any]:
        for piece in pieces:
            await asyncio.sleep(0)
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    return StreamedPromise(streamer=streamer, **settings)


class ByHand:
    """A streamer whose pieces come when the test says so, and which notes what happens to it."""

    def __init__(self, pieces: Iterable[Any] = "abcdefgh") -> None:
        self.pieces = list(pieces)
        self.made: list[Any] = []
        self.runs = 0
        self.is_cleaned_up = False
        self._permits = asyncio.Semaphore(0)

    def let_go(self, count: int = 1) -> None:
        """Allow so many more pieces; when all are out, one more permit ends the stream."""
        for _ in range(count):
            self._permits.release()

    async def __call__(self, _promise: object) -> AsyncIterator[Any]:
        self.runs += 1
        try:
            for piece in self.pieces:
                await self._permits.acquire()
                self.made.append(piece)
                yield piece
            await self._permits.acquire()
        finally:
            self.is_cleaned_up = True


class Counting:
    """A streamer that has any number of pieces at hand and notes how many it was asked for."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.made = 0

    async def __call__(self, _promise: object) -> AsyncIterator[int]:
        for number in range(self.total):
            self.made += 1
            yield number


class WaitsForRelease:
    """A background job, or a resolver, that ends when it is told to and notes its state."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.state = "not started"

    async def __call__(self, *_: object) -> str:
        self.state = "running"
        try:
            await self.release.wait()
            self.state = "done"
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        return "result"


# ------------------------------------------------------------------------------------------------ other processes


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with all warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=25
    )


@contextmanager
def running_program(program: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a program and wait until it has printed `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "ready\n":
            process.kill()
            raise AssertionError(f"the program printed {line!r} and {process.communicate()[1]!r}")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def interrupt(process: "subprocess.Popen[str]", number: int = signal.SIGINT) -> tuple[str, str]:
    """Send a signal and give what the program prints on both channels until it ends."""
    os.kill(process.pid, number)
    return process.communicate(timeout=10)
