"""Laws of promises that wait for each other, whatever the graph of their waits looks like."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents.promising.errors import DeadlockError, PromiseCancelledError
from miniagents.promising.promising import Promise, PromisingContext, StreamedPromise
from miniagents.testing.virtual_clock import run_with_virtual_clock

# Virtual time, so that it passes at once.
TIME_LIMIT_S = 3600

few = st.integers(0, 5)
graphs = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, size - 1), max_size=3, unique=True), min_size=size, max_size=size)
)
pytestmark = pytest.mark.allow_errors_in_log("of several promises that fail together, not all have a reader")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` in a new context on virtual time and see that no task is left."""

    async def in_a_context() -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            async with PromisingContext():
                await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_with_virtual_clock(in_a_context())


async def outcome_of(promise: Any) -> object:
    try:
        return await promise
    except (DeadlockError, PromiseCancelledError) as error:
        return type(error)


def reachable(graph: list[list[int]], start: int) -> set[int]:
    found: set[int] = set()
    pending = list(graph[start])
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += graph[node]
    return found


def make_promises(graph: list[list[int]], is_stream: list[bool], pauses: list[int], start_asap: bool) -> list[Any]:
    """Make one promise for each node, which waits for those it has edges to, one after the other."""
    promises: list[Any] = []

    async def wait_for_others(node: int) -> int:
        for other in graph[node]:
            await asyncio.sleep(pauses[node])
            await promises[other]
        return node

    async def streamer(node: int) -> AsyncIterator[int]:
        yield await wait_for_others(node)

    for node in range(len(graph)):
        if is_stream[node]:
            promise: Any = StreamedPromise(streamer=lambda _, node=node: streamer(node), start_asap=start_asap)
        else:
            promise = Promise(resolver=lambda _, node=node: wait_for_others(node), start_asap=start_asap)
        promises.append(promise)
    return promises


@given(graphs, st.lists(st.booleans(), min_size=6, max_size=6), st.lists(few, min_size=6, max_size=6), st.booleans())
@settings(deadline=None)
def test_exactly_those_who_wait_for_a_circle_get_a_deadlock_error_and_nobody_waits_for_ever(
    graph: list[list[int]], is_stream: list[bool], pauses: list[int], start_asap: bool
) -> None:
    in_a_circle = {node for node in range(len(graph)) if node in reachable(graph, node)}
    stuck = {node for node in range(len(graph)) if in_a_circle & ({node} | reachable(graph, node))}

    async def main() -> None:
        promises = make_promises(graph, is_stream, pauses, start_asap)
        outcomes = await asyncio.gather(*map(outcome_of, promises))
        assert {node for node, outcome in enumerate(outcomes) if outcome is DeadlockError} == stuck

    run(main)


@given(
    graphs,
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.lists(few, min_size=6, max_size=6),
    st.booleans(),
    few,
    few,
)
@settings(deadline=None)
def test_cancelling_one_of_several_promises_at_any_moment_fails_at_most_those_who_wait_for_it(
    graph: list[list[int]], is_stream: list[bool], pauses: list[int], start_asap: bool, victim: int, moment: int
) -> None:
    # Edges to higher numbers only: no circles here.
    graph = [[other for other in others if other > node] for node, others in enumerate(graph)]
    victim %= len(graph)
    touched = {victim} | {node for node in range(len(graph)) if victim in reachable(graph, node)}

    async def main() -> None:
        promises = make_promises(graph, is_stream, pauses, start_asap)
        waiting = [asyncio.create_task(outcome_of(promise)) for promise in promises]
        await asyncio.sleep(moment)
        was_done = promises[victim].done()
        assert promises[victim].cancel() is not was_done
        outcomes = await asyncio.gather(*waiting)
        cancelled = {node for node, outcome in enumerate(outcomes) if outcome is PromiseCancelledError}
        assert cancelled <= (set() if was_done else touched)
        assert was_done or victim in cancelled
        for node in set(range(len(graph))) - cancelled:
            assert outcomes[node] == ((node,) if is_stream[node] else node)

    run(main)


async def counting(total: int) -> AsyncIterator[int]:
    for number in range(total):
        await asyncio.sleep(number % 2)
        yield number


async def read_some(promise: StreamedPromise[int, Any], count: int) -> None:
    reader = aiter(promise)
    for _ in range(count):
        if await anext(reader, None) is None:
            break


async def read_all(promise: StreamedPromise[int, Any]) -> tuple[list[int], bool]:
    """Give the pieces, and whether the stream is whole."""
    found: list[int] = []
    try:
        async for piece in promise:
            found.append(piece)
    except PromiseCancelledError:
        return found, False
    return found, True


totals_modes_and_reads = st.tuples(
    st.integers(0, 6),
    st.fixed_dictionaries({"start_asap": st.booleans(), "read_ahead": st.none() | st.integers(0, 4)}),
    st.lists(st.integers(0, 8), max_size=3),
)


@given(st.lists(totals_modes_and_reads, max_size=5), st.booleans())
@settings(deadline=None)
def test_a_context_ends_however_far_its_streams_were_read_and_later_readers_get_a_beginning_of_each(
    streams: list[tuple[int, dict[str, Any], list[int]]], reads_in_the_background: bool
) -> None:
    promises: list[StreamedPromise[int, Any]] = []

    async def main() -> None:
        context = PromisingContext.get_current()
        for total, mode, reads in streams:
            promise = StreamedPromise(streamer=lambda _, total=total: counting(total), **mode)
            promises.append(promise)
            for count in reads:
                reading = read_some(promise, count)
                await (asyncio.sleep(0, context.start_asap(reading)) if reads_in_the_background else reading)

    async def program() -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            async with PromisingContext():
                await main()
            for (total, _, reads), promise in zip(streams, promises, strict=True):
                found, is_whole = await read_all(promise)
                assert found == list(range(total if is_whole else len(found)))
                assert len(found) >= min(total, max(reads, default=0))

    run_with_virtual_clock(program())
