"""`PromisingContext`: the ways in, nesting, background tasks, the end."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator

import pytest

from miniagents.promising.errors import (
    NoActiveContextError,
    PromisingError,
    WrongActiveContextError,
)
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import WaitsForRelease, everything_in, let_others_run


class SomeError(Exception):
    pass


class OwnContext(PromisingContext):
    pass


# --------------------------------------------------------------------------------------------------- run


def test_run_gives_the_result_of_the_awaitable() -> None:
    async def main() -> str:
        return await Promise(resolver=double)

    async def double(_: object) -> str:
        return "result"

    assert PromisingContext().run(main()) == "result"


def test_run_works_again_and_again_in_one_process_on_one_context_and_on_others() -> None:
    context = PromisingContext()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main(number: int) -> int:
        loops.append(asyncio.get_running_loop())
        assert PromisingContext.get_current() is context
        return await Promise(resolver=lambda _: asyncio.sleep(0, number))

    assert [context.run(main(number)) for number in range(3)] == [0, 1, 2]
    assert PromisingContext().run(asyncio.sleep(0, "other")) == "other"
    assert all(loop.is_closed() for loop in loops)
    with pytest.raises(NoActiveContextError):
        PromisingContext.get_current()


def test_run_raises_what_the_awaitable_raises() -> None:
    async def main() -> None:
        raise SomeError("from main")

    context = PromisingContext()
    with pytest.raises(SomeError, match="from main"):
        context.run(main())
    assert context.run(asyncio.sleep(0, "works again")) == "works again"


def test_run_awaits_the_background_work_before_it_returns() -> None:
    finished: list[str] = []

    async def job(_: object) -> None:
        await let_others_run()
        finished.append("promise")

    async def main() -> None:
        Promise(resolver=job)

    PromisingContext().run(main())

    assert finished == ["promise"]


async def test_run_inside_a_running_loop_is_a_clear_error_without_a_never_awaited_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def main() -> None:
        raise AssertionError("this must not run")

    with pytest.raises(RuntimeError, match=r"await PromisingContext\(\).arun"):
        PromisingContext().run(main())

    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


def test_run_refuses_what_cannot_be_awaited() -> None:
    async def main() -> None:
        raise AssertionError("this must not run")

    with pytest.raises(TypeError, match=r"main"):
        PromisingContext().run(main)


def test_run_leaves_no_task_of_the_program_behind() -> None:
    cleaned_up: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append("forgotten")

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        tasks.append(asyncio.create_task(forgotten()))
        await asyncio.sleep(0)

    PromisingContext().run(main())

    assert tasks[0].done()
    assert cleaned_up == ["forgotten"]


async def test_arun_awaits_inside_the_context_on_the_running_loop() -> None:
    context = PromisingContext()
    finished: list[str] = []

    async def job(_: object) -> None:
        await let_others_run()
        finished.append("background")

    async def main() -> str:
        assert PromisingContext.get_current() is context
        Promise(resolver=job)
        return "result"

    assert await context.arun(main()) == "result"
    assert finished == ["background"]
    with pytest.raises(NoActiveContextError):
        PromisingContext.get_current()


# --------------------------------------------------------------------------------------------------- async with


async def test_async_with_makes_the_context_current_until_the_block_is_left() -> None:
    async with PromisingContext() as context:
        assert PromisingContext.get_current() is context

    with pytest.raises(NoActiveContextError):
        PromisingContext.get_current()


def test_a_plain_with_says_that_async_with_is_meant() -> None:
    with pytest.raises(PromisingError, match="async with PromisingContext"):
        with PromisingContext():
            pass
    with pytest.raises(PromisingError, match="async with OwnContext"):
        with OwnContext():
            pass


async def test_a_second_activation_while_active_raises_runtime_error() -> None:
    async with PromisingContext() as context:
        with pytest.raises(RuntimeError, match="active already"):
            context.activate()
        with pytest.raises(RuntimeError, match="active already"):
            async with context:
                pass
        with pytest.raises(RuntimeError, match="active already"):
            await context.arun(asyncio.sleep(0))
        # The first activation is not harmed.
        assert PromisingContext.get_current() is context
        assert await Promise(resolver=lambda _: asyncio.sleep(0, 1)) == 1


async def test_a_context_that_was_left_can_be_entered_again() -> None:
    context = PromisingContext()
    for number in range(3):
        async with context:
            assert await Promise(resolver=lambda _, number=number: asyncio.sleep(0, number)) == number


async def test_a_refused_second_arun_leaves_no_never_awaited_warning(recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> None:
        raise AssertionError("this must not run")

    async with PromisingContext() as context:
        with pytest.raises(RuntimeError):
            await context.arun(main())

    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


# --------------------------------------------------------------------------------------------------- get_current


def test_without_a_context_the_error_names_the_ways_to_get_one() -> None:
    with pytest.raises(NoActiveContextError) as caught:
        OwnContext.get_current()

    for way in (r"OwnContext().run(main())", "async with OwnContext()", "activate()"):
        assert way in str(caught.value)


async def test_a_context_of_another_class_is_an_error_that_names_both(context: PromisingContext) -> None:
    with pytest.raises(WrongActiveContextError, match=r"`OwnContext`.*`PromisingContext`"):
        OwnContext.get_current()


async def test_a_subclass_is_found_as_its_base_class_too() -> None:
    async with OwnContext() as context:
        assert PromisingContext.get_current() is context
        assert OwnContext.get_current() is context


async def test_tasks_started_inside_find_the_context(context: PromisingContext) -> None:
    async def find(*_: object) -> PromisingContext:
        return PromisingContext.get_current()

    async def stream(_: object) -> AsyncIterator[PromisingContext]:
        yield PromisingContext.get_current()

    assert await asyncio.create_task(find()) is context
    assert await Promise(resolver=find) is context
    assert await Promise(start_asap=False, resolver=find) is context
    assert await StreamedPromise(streamer=stream) == (context,)


# --------------------------------------------------------------------------------------------------- nesting


async def test_contexts_nest_and_the_inner_one_is_found_first() -> None:
    async with PromisingContext() as outer:
        async with OwnContext() as inner:
            assert PromisingContext.get_current() is inner
            async with PromisingContext() as innermost:
                assert PromisingContext.get_current() is innermost
            assert PromisingContext.get_current() is inner
        assert PromisingContext.get_current() is outer


async def test_the_end_of_an_inner_context_awaits_its_own_work_only() -> None:
    outer_job, inner_job = WaitsForRelease(), WaitsForRelease()
    async with PromisingContext():
        outer_promise = Promise(resolver=outer_job)
        async with PromisingContext():
            inner_promise = Promise(resolver=inner_job)
            await let_others_run()
            inner_job.release.set()
        assert inner_promise.done()
        assert not outer_promise.done()
        outer_job.release.set()
    assert outer_promise.done()


@pytest.mark.virtual_clock
async def test_a_lazy_promise_belongs_to_the_context_that_it_was_made_in_wherever_it_is_first_awaited() -> None:
    job = WaitsForRelease()
    async with PromisingContext() as outer:
        promise = Promise(start_asap=False, resolver=job)
        async with PromisingContext():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(promise.aresolve(), 60)
            # The inner context ends, and neither waits for the work nor cancels it.
        assert job.state == "running"
        assert PromisingContext.get_current() is outer
        job.release.set()
        assert await promise == "result"


async def test_contexts_in_two_tasks_at_once_do_not_mix() -> None:
    async def use(context: PromisingContext) -> None:
        async with context:
            for _ in range(5):
                assert PromisingContext.get_current() is context
                await asyncio.sleep(0)

    await asyncio.gather(*(use(PromisingContext()) for _ in range(3)))


# --------------------------------------------------------------------------------------------------- variables

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_a_promise_sees_the_context_variables_of_the_place_where_it_was_made(
    context: PromisingContext, start_asap: bool
) -> None:
    async def see(_: object) -> str:
        return variable.get()

    async def stream(_: object) -> AsyncIterator[str]:
        yield variable.get()

    variable.set("where it was made")
    value = Promise(start_asap=start_asap, resolver=see)
    pieces = StreamedPromise(start_asap=start_asap, streamer=stream)
    variable.set("where it is read")

    assert await value == "where it was made"
    assert await everything_in(pieces) == ["where it was made"]


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
async def test_what_a_promise_sets_stays_its_own(context: PromisingContext, start_asap: bool) -> None:
    async def change(_: object) -> None:
        variable.set("changed by the resolver")

    variable.set("mine")
    await Promise(start_asap=start_asap, resolver=change)

    assert variable.get() == "mine"
