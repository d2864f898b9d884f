"""What other threads may do with a context: `run_from_thread`, and clear errors for the rest."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from miniagents.promising.errors import PromisingError
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import ByHand, collect, let_others_run


class SomeError(Exception):
    pass


async def in_a_bare_thread(function: Callable[[], Any]) -> Any:
    """Run the function in a thread without this task's variables, as a thread of the user's own would."""
    return await asyncio.get_running_loop().run_in_executor(None, function)


async def test_a_coroutine_function_runs_on_the_loop_of_the_context(context: PromisingContext) -> None:
    async def add(one: int, other: int) -> tuple[int, PromisingContext, threading.Thread]:
        await asyncio.sleep(0)
        result = await Promise(resolver=lambda _: asyncio.sleep(0, one + other))
        return result, PromisingContext.get_current(), threading.current_thread()

    result = await in_a_bare_thread(lambda: context.run_from_thread(add, 1, 2))

    assert result == (3, context, threading.current_thread())


async def test_a_plain_function_runs_on_the_loop_of_the_context(context: PromisingContext) -> None:
    def where(word: str) -> tuple[str, threading.Thread, asyncio.AbstractEventLoop]:
        return word, threading.current_thread(), asyncio.get_running_loop()

    result = await in_a_bare_thread(lambda: context.run_from_thread(where, "here"))

    assert result == ("here", threading.current_thread(), asyncio.get_running_loop())


@pytest.mark.parametrize("is_async", [True, False], ids=["coroutine function", "plain function"])
async def test_what_the_function_raises_comes_out_in_the_thread(context: PromisingContext, is_async: bool) -> None:
    error = SomeError("from the loop")

    async def fail() -> None:
        raise error

    def fail_at_once() -> None:
        raise error

    with pytest.raises(SomeError) as caught:
        await in_a_bare_thread(lambda: context.run_from_thread(fail if is_async else fail_at_once))

    assert caught.value is error


async def test_several_threads_at_once(context: PromisingContext) -> None:
    async def double(number: int) -> int:
        return await Promise(resolver=lambda _: asyncio.sleep(0, 2 * number))

    calls = [in_a_bare_thread(lambda number=number: context.run_from_thread(double, number)) for number in range(10)]

    assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_a_thread_reaches_a_context_that_another_thread_runs() -> None:
    context = PromisingContext()
    results: list[object] = []

    async def main() -> None:
        thread = threading.Thread(target=lambda: results.append(context.run_from_thread(Promise.aresolve, promise)))
        promise = Promise(resolver=lambda _: asyncio.sleep(0, "value"))
        thread.start()
        await asyncio.to_thread(thread.join)

    context.run(main())

    assert results == ["value"]


async def test_on_the_loops_own_thread_it_is_a_clear_error_and_no_hang(context: PromisingContext) -> None:
    async def never() -> None:
        raise AssertionError("this must not run")

    with pytest.raises(PromisingError, match="thread"):
        context.run_from_thread(never)


def test_a_context_that_is_not_active_is_a_clear_error_without_a_never_awaited_warning() -> None:
    async def never() -> None:
        raise AssertionError("this must not run")

    context = PromisingContext()
    with pytest.raises(PromisingError, match="not active"):
        context.run_from_thread(never)
    context.run(asyncio.sleep(0))
    with pytest.raises(PromisingError, match="not active"):
        context.run_from_thread(never)


async def test_a_promise_without_a_loop_is_a_clear_error_without_a_never_awaited_warning(
    context: PromisingContext,
) -> None:
    variables = contextvars.copy_context()

    async def value(_: object) -> int:
        return 1

    def make_a_promise() -> None:
        with pytest.raises(PromisingError, match="run_from_thread"):
            Promise(resolver=value)

    await in_a_bare_thread(lambda: variables.run(make_a_promise))


async def test_start_asap_from_a_foreign_thread_is_a_clear_error_without_a_never_awaited_warning(
    context: PromisingContext,
) -> None:
    async def never() -> None:
        raise AssertionError("this must not run")

    def start() -> None:
        with pytest.raises(PromisingError, match="run_from_thread"):
            context.start_asap(never())

    await in_a_bare_thread(start)


async def test_a_promise_made_on_another_threads_loop_in_this_context_is_a_clear_error(
    context: PromisingContext,
) -> None:
    async def value(_: object) -> int:
        return 1

    async def make_a_promise() -> None:
        with pytest.raises(PromisingError, match="thread"):
            await Promise(resolver=value)

    # `to_thread` takes the variables along, so that the context is found there, on another loop.
    await asyncio.to_thread(asyncio.run, make_a_promise())


async def test_a_background_task_on_another_threads_loop_in_this_context_is_a_clear_error(
    context: PromisingContext,
) -> None:
    async def never() -> None:
        raise AssertionError("this must not run")

    async def start() -> None:
        with pytest.raises(PromisingError, match="thread"):
            context.start_asap(never())

    await asyncio.to_thread(asyncio.run, start())


@pytest.mark.parametrize("kind", ["a promise", "a lazy promise", "the pieces of a stream", "the whole of a stream"])
async def test_reading_on_another_threads_loop_is_a_clear_error_and_no_hang(
    context: PromisingContext, kind: str
) -> None:
    streamer = ByHand("ab")
    stream = StreamedPromise(streamer=streamer)
    promise = Promise(resolver=lambda _: release.wait(), start_asap=kind != "a lazy promise")
    release = asyncio.Event()

    async def read() -> None:
        with pytest.raises(PromisingError, match="thread"):
            async with asyncio.timeout(2):
                if kind == "the pieces of a stream":
                    await collect(stream)
                else:
                    await (stream if kind == "the whole of a stream" else promise)

    try:
        await asyncio.to_thread(asyncio.run, read())
    finally:
        release.set()
        streamer.let_go(3)
    assert await promise is True
    assert await stream == ("a", "b")


async def test_cancelling_from_a_foreign_thread_is_a_clear_error(context: PromisingContext) -> None:
    streamer = ByHand("a")
    stream = StreamedPromise(streamer=streamer)
    await let_others_run()

    def cancel() -> None:
        with pytest.raises(PromisingError, match="thread"):
            stream.cancel()

    try:
        await in_a_bare_thread(cancel)
    finally:
        streamer.let_go(2)
