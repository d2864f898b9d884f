"""The quick variant: counts that are the same on every machine and at every load, each with its bound.

Beside tasks, objects and bytes it counts the steps of the event loop (callbacks that were called), which is what time
goes into where tasks pass tokens to each other, and which does not depend on how fast anything is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import quick_events, quick_journal, quick_models
from benchmarks.counting import CountingLoop, Counts
from benchmarks.subjects import bare_asyncio, on_miniagents


@dataclass(frozen=True)
class Check:
    """A count and the bound that it must keep."""

    name: str
    count: Callable[[], float]
    at_most: float


def value_of(function: Callable[..., Awaitable[float | None]], **params: Any) -> float:
    """Run a case of ours and give the number that it returns."""
    with asyncio.Runner() as runner:
        value = runner.run(on_miniagents.inside_context(_awaited(function, params)))
    assert value is not None, function
    return value


def counted(function: Callable[..., Awaitable[Any]], **params: Any) -> Counts:
    """Run a case, of ours or of the floor, and give what its loop has counted meanwhile."""
    loop = CountingLoop()
    is_ours = function.__module__ == on_miniagents.__name__

    async def main() -> Counts:
        before = loop.counts()
        await function(**params)
        return loop.counts().less(before)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(on_miniagents.inside_context(main()) if is_ours else main())


async def _awaited(function: Callable[..., Awaitable[Any]], params: dict[str, Any]) -> Any:
    return await function(**params)


def steps_against_floor(function: str, **params: Any) -> float:
    """How many steps of the loop ours takes for each one of the floor."""
    ours = counted(getattr(on_miniagents, function), **params).steps
    return ours / counted(getattr(bare_asyncio, function), **params).steps


def tasks_per(function: Callable[..., Awaitable[Any]], units: int, **params: Any) -> float:
    """How many tasks are made for each unit of the work."""
    return counted(function, **params).tasks / units


def steps_growth(function: Callable[..., Awaitable[Any]], parameter: str, few: int, **more: Any) -> float:
    """How many times the steps per unit at 100 x the size are those at the size."""
    many = 100 * few
    steps = [counted(function, **{parameter: size, **more}).steps / size for size in (few, many)]
    return steps[1] / steps[0]


def forward_steps() -> float:
    """How many steps a token takes through 50 agents that forward it, for each one through one."""
    deep, flat = (counted(on_miniagents.forward, tokens=2000, depth=depth, burst=1).steps for depth in (50, 1))
    return deep / flat


def tokens_before_first() -> float:
    """Of 2,000 tokens at hand, how many are made before the reader has the first."""
    made = 0

    async def read() -> int:
        async def stream(_: dict[str, Any]) -> Any:
            nonlocal made
            for made in range(2000):  # noqa: B007 - counted outside
                yield "t"

        async for _ in on_miniagents.Message.promise(message_token_streamer=stream):
            return made
        raise AssertionError("The stream had no token.")

    with asyncio.Runner() as runner:
        return float(runner.run(on_miniagents.inside_context(read())))


def garbage(kind: str) -> Callable[[], float]:
    """Give the count of the objects of cyclic garbage per call of this kind."""
    return lambda: value_of(on_miniagents.garbage_per_call, calls=50, kind=kind)


def per_model_token(count: Callable[..., Any], per_read: int, relays: int = 0) -> Callable[[], float]:
    """Give what a token of a model costs that comes through an agent."""

    def counted_once() -> float:
        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            return runner.run(on_miniagents.inside_context(quick_models.per_token(count, per_read, relays)))

    return counted_once


CHECKS: tuple[Check, ...] = (
    Check("tasks per live call", lambda: value_of(on_miniagents.live_call_tasks, calls=500), 1),
    Check("bytes per live call", lambda: value_of(on_miniagents.live_call_bytes, calls=500), 4096),
    Check("bytes retained per token", lambda: value_of(on_miniagents.retained_bytes, tokens=5000), 90),
    *(
        Check(f"cyclic garbage per call, {kind}", garbage(kind), 0)
        for kind in ("plain", "nested", "streaming", "forwarding", "unread")
    ),
    Check("tasks made per trivial call", lambda: tasks_per(on_miniagents.calls_in_sequence, 200, calls=200), 1),
    Check("tasks made per nested agent", lambda: tasks_per(on_miniagents.flatten_agents, 31, levels=3), 1),
    Check("tasks made for 125 plain messages", lambda: tasks_per(on_miniagents.flatten_lists, 1, levels=3), 1),
    Check("loop steps per trivial call", lambda: counted(on_miniagents.calls_in_sequence, calls=200).steps / 200, 4),
    Check(
        "loop steps to those of a chain of queues, one by one, 10 agents",
        lambda: steps_against_floor("restream", tokens=1000, depth=10, burst=1),
        1.1,
    ),
    Check(
        "loop steps to those of a chain of queues, in bursts, 10 agents",
        lambda: steps_against_floor("restream", tokens=5000, depth=10, burst=50),
        2.5,
    ),
    Check("loop steps through 50 forwarding agents to those through one", forward_steps, 1.2),
    Check("tokens made before the reader has the first of 2,000", tokens_before_first, 100),
    Check(
        "loop steps per token at 100 x the tokens",
        lambda: steps_growth(on_miniagents.restream, "tokens", 100, depth=1, burst=1),
        1.15,
    ),
    Check(
        "loop steps per message at 100 x the messages",
        lambda: steps_growth(on_miniagents.reply_of_messages, "messages", 30),
        1.15,
    ),
    Check(
        "loop steps for 20 live readers to those of the floor",
        lambda: steps_against_floor("readers_live", readers=20, tokens=200),
        1.5,
    ),
    Check("loop steps per token of a model, one in a read", per_model_token(quick_models.steps, 1), 2.1),
    Check("loop steps per token of a model, 50 in a read", per_model_token(quick_models.steps, 50), 0.1),
    Check("loop steps per token of a model, one in a read, 5 relays", per_model_token(quick_models.steps, 1, 5), 7.2),
    Check("function calls per token of a model, 50 in a read", per_model_token(quick_models.calls, 50), 26),
    Check("bytes per token of a model", per_model_token(quick_models.bytes_at_the_most, 50), 100),
    Check("tasks made per recorded call", quick_journal.tasks_per_recorded_call, 2),
    Check("loop steps per recorded call", quick_journal.steps_per_recorded_call, 9),
    Check("loop steps of a durable call to those of another, no journal", quick_journal.steps_without_journal, 1),
    Check("first tokens that wait for a file that is locked, of 5", quick_journal.first_tokens_that_wait, 0),
    Check("leaves executed again in a resumed run, of 100", quick_journal.executed_again, 0),
    Check("bytes of the journal per message of 1 kB, of 1,000", quick_journal.bytes_per_message, 2500),
    Check("loop steps per event over three hops, of 1,000", quick_events.steps_per_event, 0.5),
    Check("tasks made per event over three hops, of 1,000", quick_events.tasks_per_event, 0.05),
    Check("handlers that do not begin while others wait, of 100", quick_events.handlers_held_back, 0),
    Check("loop steps from an event to an idle handler", quick_events.steps_to_idle_handler, 2),
    Check("blocks of memory kept per finished flow, of 2,000", quick_events.blocks_kept_per_flow, 0.1),
)


def check_structure() -> int:
    """Print all counts; gives the exit code, 1 if any is above its bound."""
    began = time.monotonic()
    broken = 0
    for check in CHECKS:
        count = check.count()
        is_kept = count <= check.at_most
        broken += not is_kept
        print(f"{check.name:66} {count:9.6g}  <= {check.at_most:<6g} {'ok' if is_kept else 'TOO MANY'}", flush=True)
    print(f"{len(CHECKS)} counts, {broken} of them too high, in {time.monotonic() - began:.0f} s")
    return 1 if broken else 0
