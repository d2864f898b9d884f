"""Waits that merely last: they are never taken for a deadlock, only reported when nothing moves."""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from miniagents.promising import _deadlock
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from tests.support.freezing import freeze_modules
from tests.unit.promising.tools import collect

pytestmark = pytest.mark.virtual_clock

AN_HOUR = 3600


def now() -> float:
    return asyncio.get_running_loop().time()


# --------------------------------------------------------------------------------------------------- no false alarm


async def test_a_wait_for_something_that_is_not_ours_is_never_an_error(context: PromisingContext) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(AN_HOUR, event.set)

    assert await Promise(resolver=lambda _: event.wait()) is True
    assert now() >= AN_HOUR


async def test_two_promises_that_await_a_third_are_no_circle(context: PromisingContext) -> None:
    slow = Promise(resolver=lambda _: asyncio.sleep(AN_HOUR, "slow"))
    others = [Promise(resolver=lambda _: slow.aresolve()) for _ in range(2)]

    assert await asyncio.gather(*others) == ["slow", "slow"]


async def test_a_circle_with_a_timeout_in_it_resolves_itself(context: PromisingContext) -> None:
    async def patient(_: object) -> str:
        try:
            return await asyncio.wait_for(second.aresolve(), 0.1)
        except TimeoutError:
            return "gave up"

    second: Promise[str]
    first = Promise(resolver=patient)
    second = Promise(resolver=lambda _: first.aresolve())

    assert await second == "gave up"


async def write_later(appender: StreamAppender[str]) -> None:
    await asyncio.sleep(AN_HOUR)
    appender.append("late")
    appender.close()


async def test_an_appender_that_a_sleeping_task_holds_is_no_deadlock(context: PromisingContext) -> None:
    appender = StreamAppender[str]().open()
    writer = asyncio.create_task(write_later(appender))

    assert await StreamedPromise(streamer=appender) == ("late",)
    await writer


async def test_an_appender_that_a_timer_holds_is_no_deadlock(context: PromisingContext) -> None:
    appender = StreamAppender[str]().open()
    promise = StreamedPromise(streamer=appender)
    asyncio.get_running_loop().call_later(AN_HOUR, appender.close)

    assert await promise == ()


holders: list[object] = []


@pytest.fixture
def modules_are_seen() -> Iterator[None]:
    """The collector sees what was there before the tests, as in any program; see `tests/conftest.py`."""
    gc.unfreeze()
    yield
    freeze_modules()


@pytest.mark.usefixtures("modules_are_seen")
async def test_an_appender_that_a_global_holds_is_no_deadlock(context: PromisingContext) -> None:
    def close_all() -> None:
        for holder in holders:
            holder.close()

    asyncio.get_running_loop().call_later(AN_HOUR, close_all)
    appender = StreamAppender[str]().open()
    holders.append(appender)
    try:
        assert await StreamedPromise(streamer=appender) == ()
    finally:
        holders.clear()


@pytest.fixture
def modules_were_frozen_by_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server that forks its workers; the modules of the tests are frozen, see `tests/conftest.py`."""
    monkeypatch.setattr(_deadlock, "FROZEN_BY_PYTHON", 0)


@pytest.mark.usefixtures("modules_were_frozen_by_the_program")
async def test_where_the_collector_does_not_see_all_nobody_is_told_of_a_deadlock(context: PromisingContext) -> None:
    asyncio.get_running_loop().call_later(AN_HOUR, lambda: holders.pop().close())
    holders.append(StreamAppender[str]().open())

    assert await StreamedPromise(streamer=holders[0]) == ()


async def test_an_appender_that_an_object_of_another_task_holds_is_no_deadlock(context: PromisingContext) -> None:
    class Holder:
        def __init__(self, appender: StreamAppender[str]) -> None:
            self.appender = appender

        async def write(self) -> None:
            await write_later(self.appender)

    appender = StreamAppender[str]().open()
    writer = asyncio.create_task(Holder(appender).write())

    assert await StreamedPromise(streamer=appender) == ("late",)
    await writer


async def test_an_appender_that_a_nested_function_of_a_timer_sees_is_no_deadlock(context: PromisingContext) -> None:
    appender = StreamAppender[str]().open()

    def write() -> None:
        appender.append("late")
        appender.close()

    asyncio.get_running_loop().call_later(AN_HOUR, write)

    assert await StreamedPromise(streamer=appender) == ("late",)


async def test_an_appender_that_only_a_thread_holds_is_no_deadlock(context: PromisingContext) -> None:
    released = threading.Event()

    def close_from_a_thread(appender: StreamAppender[str]) -> None:
        released.wait(10)
        context.run_from_thread(appender.close)

    async def read(promise: StreamedPromise[str, object]) -> object:
        return await promise

    appender = StreamAppender[str]().open()
    reader = asyncio.create_task(read(StreamedPromise(streamer=appender)))
    closing = asyncio.get_running_loop().run_in_executor(None, close_from_a_thread, appender)
    del appender
    try:
        # Longer than it takes until somebody looks; while a thread is at work this is time on the wall.
        await asyncio.sleep(0.4)
        assert not reader.done()
    finally:
        released.set()
    await closing

    assert await reader == ()


async def test_a_long_wait_is_not_looked_at_again_and_again(
    context: PromisingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", counting)
    event = asyncio.Event()
    loop.call_later(AN_HOUR, event.set)

    await Promise(resolver=lambda _: event.wait())

    assert len(timers) < 20


# --------------------------------------------------------------------------------------------------- stalls


async def wait_long_for_a_promise(seconds: float) -> None:
    async def waits_for_an_event(_: object) -> None:
        await event.wait()

    async def waits_for_the_other(_: object) -> None:
        await other

    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    other = Promise(resolver=waits_for_an_event)
    await Promise(resolver=waits_for_the_other)


async def test_after_30_seconds_without_progress_one_log_line_shows_who_waits_for_whom(
    context: PromisingContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="miniagents"):
        await wait_long_for_a_promise(AN_HOUR)

    assert len(caplog.records) == 1
    text = caplog.text
    assert text.index("waits_for_the_other") < text.index("waits_for_an_event")
    assert "30" in text
    assert caplog.records[0].levelno < logging.ERROR


async def test_before_30_seconds_nothing_is_logged(context: PromisingContext, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="miniagents"):
        await wait_long_for_a_promise(29)

    assert caplog.text == ""


async def test_the_time_of_the_stall_report_can_be_set(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="miniagents"):
        async with PromisingContext(stall_report_s=200):
            await wait_long_for_a_promise(190)
            assert caplog.text == ""
            await wait_long_for_a_promise(210)
            assert "waits_for_an_event" in caplog.text


async def test_progress_keeps_the_stall_report_away(
    context: PromisingContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow_pieces(_: object) -> AsyncIterator[int]:
        for number in range(20):
            await asyncio.sleep(20)
            yield number

    with caplog.at_level(logging.INFO, logger="miniagents"):
        await collect(StreamedPromise(streamer=slow_pieces))

    assert caplog.text == ""


async def test_who_waits_gives_the_tree_at_any_time(context: PromisingContext) -> None:
    task = asyncio.create_task(wait_long_for_a_promise(5))
    await asyncio.sleep(1)

    tree = context.who_waits()

    assert tree.index("waits_for_the_other") < tree.index("waits_for_an_event")
    await task
