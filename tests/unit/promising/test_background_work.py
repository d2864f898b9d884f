"""The background work of a context: how it is started, flushed, awaited and cancelled."""

import asyncio
import gc
import weakref

import pytest

from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import ByHand, WaitsForRelease, error_of, everything_in, let_others_run


class SomeError(Exception):
    pass


# --------------------------------------------------------------------------------------------------- start_asap


async def test_start_asap_gives_an_asyncio_task(context: PromisingContext) -> None:
    task = context.start_asap(asyncio.sleep(0, "result"))

    assert isinstance(task, asyncio.Task)
    assert await task == "result"


async def test_start_asap_takes_any_awaitable(context: PromisingContext) -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result("from a future")

    assert await context.start_asap(future) == "from a future"
    assert await context.start_asap(Promise(prefill_result="from a promise")) == "from a promise"


async def test_a_background_task_is_awaited_when_the_context_ends() -> None:
    async with PromisingContext() as context:
        job = WaitsForRelease()
        context.start_asap(job())
        asyncio.get_running_loop().call_later(0, job.release.set)

    assert job.state == "done"


async def test_a_background_task_is_kept_alive_though_nobody_holds_it() -> None:
    job = WaitsForRelease()
    async with PromisingContext() as context:
        task = weakref.ref(context.start_asap(job()))
        await let_others_run()
        gc.collect()
        assert task() is not None
        job.release.set()

    assert job.state == "done"


async def test_a_background_task_is_cancelled_and_awaited_when_the_block_fails() -> None:
    job = WaitsForRelease()
    with pytest.raises(SomeError):
        async with PromisingContext() as context:
            context.start_asap(job())
            await let_others_run()
            raise SomeError

    assert job.state == "cancelled"


async def test_a_background_task_is_cancelled_and_awaited_when_the_block_is_cancelled() -> None:
    job = WaitsForRelease()

    async def main() -> None:
        async with PromisingContext() as context:
            context.start_asap(job())
            await asyncio.Event().wait()

    task = asyncio.create_task(main())
    await let_others_run()
    task.cancel()

    assert isinstance(await error_of(task), asyncio.CancelledError)
    assert job.state == "cancelled"


async def test_a_cancellation_while_the_context_waits_for_its_work_cancels_that_work() -> None:
    job = WaitsForRelease()

    async def main() -> None:
        async with PromisingContext() as context:
            context.start_asap(job())

    task = asyncio.create_task(main())
    await let_others_run()
    assert job.state == "running"
    task.cancel()

    assert isinstance(await error_of(task), asyncio.CancelledError)
    assert job.state == "cancelled"


async def test_cancelling_a_background_task_by_hand_harms_nothing() -> None:
    job = WaitsForRelease()
    async with PromisingContext() as context:
        task = context.start_asap(job())
        await let_others_run()
        task.cancel()

    assert job.state == "cancelled"


# --------------------------------------------------------------------------------------------------- aflush_tasks


async def test_aflush_tasks_waits_until_no_task_is_left_those_started_meanwhile_included(
    context: PromisingContext,
) -> None:
    finished: list[int] = []

    async def generation(number: int) -> None:
        await let_others_run()
        if number < 5:
            context.start_asap(generation(number + 1))
        finished.append(number)

    context.start_asap(generation(0))

    await context.aflush_tasks()

    assert finished == [0, 1, 2, 3, 4, 5]


async def test_aflush_tasks_with_nothing_to_do_returns_at_once(context: PromisingContext) -> None:
    await context.aflush_tasks()


async def test_aflush_tasks_waits_for_promises_too(context: PromisingContext) -> None:
    job = WaitsForRelease()
    promise = Promise(resolver=job)
    flushing = asyncio.create_task(context.aflush_tasks())
    await let_others_run()
    assert not flushing.done()

    job.release.set()
    await flushing

    assert promise.done()


async def test_aflush_tasks_inside_a_background_task_does_not_wait_for_itself(context: PromisingContext) -> None:
    job = WaitsForRelease()
    context.start_asap(job())
    flushing = [context.start_asap(context.aflush_tasks()) for _ in range(2)]
    await let_others_run()
    assert not any(task.done() for task in flushing)

    job.release.set()

    await asyncio.gather(*flushing)


# --------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(
    "settings", [{"start_asap": False}, {"start_asap": True, "read_ahead": 1}], ids=["lazy", "at its read_ahead bound"]
)
async def test_a_parked_producer_is_cancelled_and_a_later_reader_gets_the_pieces_so_far(
    settings: dict[str, bool],
) -> None:
    streamer = ByHand("abcdef")
    async with PromisingContext():
        streamer.let_go(6)
        promise = StreamedPromise(streamer=streamer, **settings)
        reader = aiter(promise)
        assert await anext(reader) == "a"
        await let_others_run()

    assert streamer.is_cleaned_up
    found = await everything_in(promise)
    assert found[:-1] == streamer.made
    assert 1 <= len(streamer.made) <= 3
    assert isinstance(found[-1], PromiseCancelledError)
    assert isinstance(found[-1], Exception)
    assert await error_of(promise) is found[-1]
    # The reader that was in the middle gets no more than the others.
    assert type((await everything_in(reader))[-1]) is PromiseCancelledError


async def test_a_lazy_stream_that_never_began_is_cancelled_for_later_readers() -> None:
    streamer = ByHand("a")
    async with PromisingContext():
        promise = StreamedPromise(streamer=streamer, start_asap=False)
        lazy_value = Promise(start_asap=False, resolver=WaitsForRelease())

    assert [type(item) for item in await everything_in(promise)] == [PromiseCancelledError]
    assert isinstance(await error_of(promise), PromiseCancelledError)
    assert isinstance(await error_of(lazy_value), PromiseCancelledError)
    assert streamer.runs == 0


async def test_what_was_produced_inside_can_be_read_after_the_end() -> None:
    async with PromisingContext():
        value = Promise(resolver=lambda _: asyncio.sleep(0, "value"))
        stream = StreamedPromise(prefill_pieces=["a", "b"])

    assert await value == "value"
    assert await everything_in(stream) == ["a", "b"]
    assert await stream == ("a", "b")


@pytest.mark.virtual_clock
async def test_work_that_ignores_its_cancellation_is_named_and_left_after_the_grace_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    released = asyncio.Event()

    async def stubborn_job() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    loop = asyncio.get_running_loop()
    try:
        with pytest.raises(SomeError):
            async with PromisingContext(shutdown_grace_s=7) as context:
                context.start_asap(stubborn_job())
                await asyncio.sleep(1)
                raise SomeError
        ended_at = loop.time()
    finally:
        released.set()
        await let_others_run()

    assert ended_at == pytest.approx(8)
    assert "stubborn_job" in caplog.text


@pytest.mark.virtual_clock
async def test_the_grace_period_is_ten_seconds_by_default_and_work_that_cleans_up_takes_its_time() -> None:
    cleaned_up_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def job_with_a_long_clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(9)
            cleaned_up_at.append(loop.time())

    with pytest.raises(SomeError):
        async with PromisingContext() as context:
            context.start_asap(job_with_a_long_clean_up())
            await asyncio.sleep(1)
            raise SomeError

    assert cleaned_up_at == [pytest.approx(10)]
    assert PromisingContext().shutdown_grace_s == 10


async def test_a_context_with_no_work_ends_at_once() -> None:
    async with PromisingContext():
        pass
