"""`PromisingContext.activate()`: a context for a whole event loop."""

import asyncio
import contextvars

import pytest

from miniagents.promising.errors import NoActiveContextError
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from tests.unit.promising.tools import collect, let_others_run, run_program, stream_of


async def current() -> PromisingContext:
    return PromisingContext.get_current()


async def in_a_foreign_task() -> PromisingContext:
    """Look for the context in a task whose variables do not descend from the caller's."""
    return await asyncio.get_running_loop().create_task(current(), context=contextvars.Context())


async def test_activate_makes_the_context_current_until_it_is_finalized() -> None:
    context = PromisingContext()

    assert context.activate() is context
    assert PromisingContext.get_current() is context
    assert await asyncio.create_task(current()) is context

    await context.afinalize()
    with pytest.raises(NoActiveContextError):
        PromisingContext.get_current()


async def test_afinalize_awaits_the_background_work() -> None:
    context = PromisingContext()
    context.activate()
    promise = Promise(resolver=lambda _: let_others_run())

    await context.afinalize()

    assert promise.done()


async def test_tasks_that_do_not_descend_from_the_caller_find_it_too() -> None:
    context = PromisingContext()
    context.activate()

    assert await in_a_foreign_task() is context

    await context.afinalize()
    with pytest.raises(NoActiveContextError):
        await in_a_foreign_task()


async def test_request_handlers_find_a_context_that_a_start_up_hook_in_a_task_of_its_own_activated() -> None:
    context = PromisingContext()

    async def start_up_hook() -> None:
        context.activate()

    await asyncio.create_task(start_up_hook())

    assert await asyncio.create_task(current()) is context
    assert await in_a_foreign_task() is context
    await context.afinalize()


async def test_a_nearer_context_wins_over_the_one_that_serves_the_loop() -> None:
    loops_own = PromisingContext()
    loops_own.activate()

    async def with_its_own() -> None:
        async with PromisingContext() as nearer:
            assert PromisingContext.get_current() is nearer
        assert PromisingContext.get_current() is loops_own

    await asyncio.get_running_loop().create_task(with_its_own(), context=contextvars.Context())
    await loops_own.afinalize()


async def test_it_may_be_finalized_in_another_task() -> None:
    context = PromisingContext()
    context.activate()
    promise = Promise(resolver=lambda _: let_others_run())

    await asyncio.get_running_loop().create_task(context.afinalize(), context=contextvars.Context())

    assert promise.done()
    with pytest.raises(NoActiveContextError):
        await in_a_foreign_task()
    with pytest.raises(NoActiveContextError):
        PromisingContext.get_current()


async def test_after_it_was_finalized_it_can_be_activated_again() -> None:
    context = PromisingContext()
    for _ in range(2):
        context.activate()
        assert await Promise(resolver=lambda _: asyncio.sleep(0, 1)) == 1
        await context.afinalize()


async def test_finalizing_what_is_not_active_does_nothing() -> None:
    context = PromisingContext()
    await context.afinalize()
    async with context:
        pass
    await context.afinalize()


async def test_a_second_activation_raises_runtime_error() -> None:
    context = PromisingContext().activate()

    with pytest.raises(RuntimeError, match="active already"):
        context.activate()

    await context.afinalize()


async def test_two_activated_contexts_nest() -> None:
    first = PromisingContext().activate()
    second = PromisingContext().activate()

    assert await in_a_foreign_task() is second
    await second.afinalize()
    assert await in_a_foreign_task() is first
    await first.afinalize()


def test_activated_before_a_loop_runs_it_serves_the_loop_that_comes() -> None:
    context = PromisingContext()
    context.activate()
    assert PromisingContext.get_current() is context

    async def main() -> None:
        assert PromisingContext.get_current() is context
        assert await in_a_foreign_task() is context
        background = Promise(resolver=lambda _: let_others_run())
        assert await collect(stream_of("a", "b")) == ["a", "b"]
        await context.afinalize()
        assert background.done()

    asyncio.run(main())

    with pytest.raises(NoActiveContextError):
        asyncio.run(current())


def test_activated_before_a_loop_runs_it_is_found_by_foreign_tasks_first_of_all() -> None:
    context = PromisingContext().activate()

    async def main() -> None:
        assert await Promise(resolver=lambda _: current()) is context
        await context.afinalize()

    # As a server does that runs its own loop, where nothing descends from the module that activated.
    contextvars.Context().run(asyncio.run, main())


async def test_it_does_not_serve_the_loop_of_another_thread() -> None:
    context = PromisingContext().activate()

    def other_loop() -> str:
        try:
            asyncio.run(current())
        except NoActiveContextError:
            return "none"
        return "found"

    # In a thread without this task's variables.
    assert await asyncio.get_running_loop().run_in_executor(None, contextvars.Context().run, other_loop) == "none"
    await context.afinalize()


def test_a_process_that_never_finalizes_still_ends() -> None:
    ended = run_program(
        """
import asyncio
from miniagents.promising.promising import Promise, PromisingContext

PromisingContext().activate()

async def main():
    lazy = Promise(start_asap=False, resolver=lambda _: asyncio.sleep(0))
    endless = Promise(resolver=lambda _: asyncio.Event().wait())
    print(await Promise(resolver=lambda _: asyncio.sleep(0, "worked")))

asyncio.run(main())
"""
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "worked\n", "")


def test_a_process_that_activates_and_never_runs_a_loop_ends() -> None:
    ended = run_program("from miniagents.promising.promising import PromisingContext; PromisingContext().activate()")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_context_that_was_never_finalized_can_be_followed_by_another_one() -> None:
    async def main() -> PromisingContext:
        assert PromisingContext.get_current() is not forgotten
        assert await StreamedPromise(prefill_pieces=["a"]) == ("a",)
        return PromisingContext.get_current()

    async def forget() -> PromisingContext:
        return PromisingContext().activate()

    forgotten = asyncio.run(forget())

    context = PromisingContext()
    assert context.run(main()) is context
