"""The event loop on virtual time."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from miniagents.testing import VirtualTimeLoop, run_with_virtual_clock


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_a_day_of_sleep_takes_a_day_of_the_loop_and_next_to_no_time_on_the_wall() -> None:
    async def sleep_a_day() -> float:
        await asyncio.sleep(24 * 3600)
        return now_s()

    began = time.monotonic()

    assert run_with_virtual_clock(sleep_a_day()) == 24 * 3600
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("years", [1, 100], ids=lambda years: f"{years} years")
def test_even_sleeps_that_a_float_cannot_tell_to_the_nanosecond_end(years: int) -> None:
    async def sleep() -> float:
        await asyncio.sleep(years * 365 * 24 * 3600)
        return now_s()

    assert run_with_virtual_clock(sleep()) == pytest.approx(years * 365 * 24 * 3600)


def test_things_happen_in_the_order_of_their_times_whatever_the_order_they_were_started_in() -> None:
    happened: list[tuple[float, str]] = []

    async def do(what: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        happened.append((now_s(), what))

    async def main() -> None:
        await asyncio.gather(do("third", 30), do("first", 0.001), do("second", 7.5))

    run_with_virtual_clock(main())

    assert happened == [(0.001, "first"), (7.5, "second"), (30.0, "third")]


def test_time_stands_still_while_anything_can_run() -> None:
    async def main() -> tuple[float, bool]:
        timer = asyncio.create_task(asyncio.sleep(0.001))
        for _ in range(10_000):
            await asyncio.sleep(0)
        return now_s(), timer.done()

    assert run_with_virtual_clock(main()) == (0.0, False)


def test_a_timeout_expires_at_its_exact_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return now_s()

    assert run_with_virtual_clock(main()) == 60


def test_a_timeout_does_not_expire_while_a_thread_is_at_work() -> None:
    async def main() -> str:
        release = threading.Event()
        # A short time on the wall, where virtual time would have reached the timeout at once.
        asyncio.get_running_loop().call_later(0.02, release.set)

        async with asyncio.timeout(20):
            return "done" if await asyncio.to_thread(release.wait, 10) else "gave up"

    assert run_with_virtual_clock(main()) == "done"


def test_after_the_thread_has_ended_time_jumps_again() -> None:
    async def main() -> float:
        await asyncio.to_thread(str)
        began = now_s()
        await asyncio.sleep(3600)
        return now_s() - began

    assert run_with_virtual_clock(main()) == pytest.approx(3600)


def test_a_thread_that_outlives_the_program_is_awaited_without_a_warning() -> None:
    release = threading.Event()
    ended: list[bool] = []

    async def main() -> None:
        work = asyncio.get_running_loop().run_in_executor(None, lambda: ended.append(release.wait(10)))
        await asyncio.sleep(0)
        # In real time: the program has ended when the thread is let go.
        threading.Timer(0.05, release.set).start()
        work.cancel()

    run_with_virtual_clock(main())

    assert ended == [True]


def test_sockets_of_the_same_loop_are_served_before_time_jumps() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> tuple[bytes, float]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, family=socket.AF_INET)
        async with server, asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return answer, now_s()

    answer, took_s = run_with_virtual_clock(main())

    assert answer == b"hello\n"
    assert took_s < 1


def test_an_error_of_the_coroutine_is_raised_as_it_is() -> None:
    async def fail() -> None:
        await asyncio.sleep(5)
        raise LookupError("no such day")

    with pytest.raises(LookupError, match="no such day"):
        run_with_virtual_clock(fail())


def test_async_generators_are_closed_before_the_loop_is() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("closed")

    async def main() -> None:
        asyncio.get_running_loop().kept = generator = numbers()  # type: ignore[attr-defined]
        assert await anext(generator) == 1

    run_with_virtual_clock(main())

    assert closed == ["closed"]


async def test_it_refuses_to_start_inside_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="running event loop.*virtual_clock"):
        run_with_virtual_clock(asyncio.sleep(0))


@pytest.mark.virtual_clock
async def test_the_marker_puts_a_test_on_the_virtual_clock() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)

    await asyncio.sleep(3600)

    assert now_s() == pytest.approx(3600)


async def test_a_test_without_the_marker_runs_on_the_loop_that_asyncio_gives() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
