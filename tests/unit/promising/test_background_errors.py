"""Errors that nobody received: told once, in a line; those that somebody received: not at all."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator

import pytest

from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import collect, error_of, let_others_run, stream_of


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


async def failing_resolver(_: object) -> None:
    await asyncio.sleep(0)
    raise SomeError("the resolver is broken")


async def failing_streamer(_: object) -> AsyncIterator[str]:
    yield "a"
    raise SomeError("the streamer is broken")


# --------------------------------------------------------------------------------------------------- received


async def test_an_error_that_somebody_received_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with PromisingContext():
        await error_of(Promise(resolver=failing_resolver))
        await error_of(StreamedPromise(streamer=failing_streamer))
        await error_of(collect(StreamedPromise(streamer=failing_streamer)))
    gc.collect()

    assert caplog.text == ""


async def test_it_is_enough_that_one_of_several_readers_received_it(caplog: pytest.LogCaptureFixture) -> None:
    async with PromisingContext():
        promise = StreamedPromise(streamer=failing_streamer)
        early = aiter(promise)
        await anext(early)
        await error_of(promise)
        del promise, early
        gc.collect()

    assert caplog.text == ""


async def test_an_error_received_after_the_end_of_the_context_is_raised_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PromisingContext():
        promise = Promise(resolver=failing_resolver)

    assert isinstance(await error_of(promise), SomeError)
    assert caplog.text.count("the resolver is broken") == 1


async def test_an_error_that_passes_through_several_promises_is_received_once_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PromisingContext():
        inner = Promise(resolver=failing_resolver)
        middle = Promise(resolver=lambda _: inner.aresolve())
        assert await error_of(Promise(resolver=lambda _: middle.aresolve())) is await error_of(inner)

    assert caplog.text == ""


# --------------------------------------------------------------------------------------------------- not received


@pytest.mark.parametrize("kind", ["promise", "stream"])
async def test_an_error_that_nobody_received_is_logged_in_one_line_when_the_promise_is_dropped(
    context: PromisingContext, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    promise: object = (
        Promise(resolver=failing_resolver) if kind == "promise" else StreamedPromise(streamer=failing_streamer)
    )
    await context.aflush_tasks()
    await let_others_run()
    assert caplog.text == ""

    del promise
    gc.collect()

    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert "SomeError: the " in caplog.text
    assert f"failing_{'resolver' if kind == 'promise' else 'streamer'}" in caplog.text


async def test_an_error_that_nobody_received_is_logged_when_the_context_ends(caplog: pytest.LogCaptureFixture) -> None:
    async with PromisingContext() as context:
        promise = Promise(resolver=failing_resolver)
        await context.aflush_tasks()
        assert caplog.text == ""

    assert caplog.text.count("the resolver is broken") == 1
    del promise
    gc.collect()
    assert caplog.text.count("the resolver is broken") == 1


async def test_an_error_of_a_reader_that_left_earlier_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with PromisingContext() as context:
        promise = StreamedPromise(streamer=failing_streamer, read_ahead=1)
        async for _ in promise:
            break
        await context.aflush_tasks()
        await let_others_run()

    assert caplog.text.count("the streamer is broken") == 1


async def test_an_error_that_reaches_a_promise_that_nobody_reads_is_logged_once_though_it_passed_two(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PromisingContext():
        inner = Promise(resolver=failing_resolver)
        Promise(resolver=lambda _: inner.aresolve())

    assert caplog.text.count("the resolver is broken") == 1


async def test_the_logger_and_the_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("of the test")
    async with PromisingContext(logger=logger, log_level_for_errors=logging.WARNING):
        Promise(resolver=failing_resolver)

    assert [(record.name, record.levelno) for record in caplog.records] == [("of the test", logging.WARNING)]


async def test_a_promise_that_failed_unread_does_not_fail_the_program(caplog: pytest.LogCaptureFixture) -> None:
    async with PromisingContext():
        Promise(resolver=failing_resolver)

    assert "the resolver is broken" in caplog.text


async def test_what_fails_because_it_is_cancelled_with_the_program_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails_when_cancelled(_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise SomeError("a consequence") from None

    with pytest.raises(SomeError, match="the cause"):
        async with PromisingContext() as context:
            promise = Promise(resolver=fails_when_cancelled)
            context.start_asap(fails_when_cancelled(None))
            await let_others_run()
            raise SomeError("the cause")

    del promise
    gc.collect()
    assert caplog.text == ""


# --------------------------------------------------------------------------------------------------- tasks


async def test_an_error_of_a_background_task_is_logged_and_does_not_fail_the_context(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PromisingContext() as context:
        context.start_asap(failing_resolver(None))

    assert caplog.text.count("the resolver is broken") == 1


async def test_with_suppress_errors_off_whoever_awaits_the_task_gets_its_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PromisingContext() as context:
        task = context.start_asap(failing_resolver(None), suppress_errors=False)
        with pytest.raises(SomeError):
            await task
        del task
        gc.collect()

    assert caplog.text == ""


async def test_one_failed_background_task_does_not_harm_the_others(caplog: pytest.LogCaptureFixture) -> None:
    finished: list[str] = []

    async def works() -> None:
        await let_others_run()
        finished.append("worked")

    async with PromisingContext() as context:
        context.start_asap(failing_resolver(None))
        context.start_asap(works())

    assert finished == ["worked"]
    assert "the resolver is broken" in caplog.text


# --------------------------------------------------------------------------------------------------- exits


def test_an_exit_wins_over_the_result_and_names_other_exits_in_its_notes() -> None:
    async def exits(code: int) -> None:
        raise SystemExit(code)

    async def main() -> str:
        Promise(resolver=lambda _: exits(3))
        Promise(resolver=lambda _: exits(4))
        return "result"

    with pytest.raises(SystemExit) as caught:
        PromisingContext().run(main())

    assert caught.value.code == 3
    assert any("SystemExit: 4" in note for note in caught.value.__notes__)


def test_an_error_of_the_main_function_wins_over_an_exit_in_the_background_which_is_in_its_notes() -> None:
    async def exits(_: object) -> None:
        raise SystemExit(3)

    async def main() -> None:
        Promise(resolver=exits)
        await let_others_run()
        raise SomeError("of main")

    with pytest.raises(SomeError, match="of main") as caught:
        PromisingContext().run(main())

    assert any("SystemExit: 3" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("exit_class", "is_logged"), [(KeyboardInterrupt, False), (SystemExit, False), (SomeExit, True)]
)
async def test_an_exit_comes_bare_out_of_async_with_too_and_is_logged_unless_it_merely_asks_for_the_end(
    caplog: pytest.LogCaptureFixture, exit_class: type[BaseException], is_logged: bool
) -> None:
    async def exits(_: object) -> None:
        raise exit_class

    with pytest.raises(exit_class):
        async with PromisingContext():
            Promise(resolver=exits)
            stream_of("a")

    assert len(caplog.records) == is_logged
    assert (exit_class.__name__ in caplog.text) == is_logged
