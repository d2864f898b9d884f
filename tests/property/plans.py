"""Plans of what to nest in what.

A plan is plain data: it says what to build. `by_hand` flattens a plan; `build` makes the real objects of it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hypothesis import strategies as st

from miniagents import InteractionContext, Message, MessagePromise, MessageSequence, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError
from miniagents.testing import run_with_virtual_clock

Plan = tuple[str, Any]

# Errors that nobody reads belong to some of these programs; what is logged of them is another test's matter.
QUIET = logging.getLogger("tests.property.quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

turn_into_sequence = MessageSequence.turn_into_sequence_promise


class PlannedError(Exception):
    """An exception that stands among the messages."""


# -- plans ---------------------------------------------------------------------------------------------------------------

short_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
_leaves: st.SearchStrategy[Plan] = st.one_of(
    st.tuples(st.just("text"), short_texts),
    st.tuples(st.just("message"), short_texts),
    st.tuples(st.just("tokens"), st.lists(short_texts, max_size=4)),
    st.tuples(st.just("slow tokens"), st.lists(short_texts, max_size=4)),
    st.tuples(st.just("dict"), short_texts),
    st.tuples(st.just("none"), st.none()),
    st.tuples(st.just("error"), short_texts),
)
_CONTAINERS = [
    "list",
    "tuple",
    "generator",
    "async generator",
    "slow async generator",
    "sequence",
    "agent",
    "lazy agent",
]


def _plans(children: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    return st.tuples(st.sampled_from(_CONTAINERS), st.lists(children, max_size=4))


plans: st.SearchStrategy[Plan] = st.recursive(_leaves, _plans, max_leaves=15)
# How many times others may run before something happens.
pauses = st.integers(min_value=0, max_value=12)


def by_hand(plan: Plan) -> list[str]:
    """The texts, and `error: ...` where an exception stands, in order."""
    kind, content = plan
    match kind:
        case "text" | "message" | "dict":
            return [f"text: {content}"]
        case "tokens" | "slow tokens":
            return [f"text: {''.join(content)}"]
        case "none":
            return []
        case "error":
            return [f"error: {content}"]
        case _:
            return [flat for child in content for flat in by_hand(child)]


def parts(plan: Plan) -> list[Plan]:
    """What is delivered out of order each for itself: ordinary iterables are opened at once, the rest keeps its order."""
    kind, content = plan
    return [part for child in content for part in parts(child)] if kind in ("list", "tuple", "generator") else [plan]


# -- what they stand for ---------------------------------------------------------------------------------------------------


async def pause(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@miniagent
async def reply_all(ctx: InteractionContext, plans: Any) -> None:
    for plan in plans:
        ctx.reply(build(plan))
        await asyncio.sleep(0)


def build(plan: Plan) -> Any:  # noqa: C901 - one branch a kind
    """The real object that a plan stands for; needs an active context."""
    kind, content = plan
    match kind:
        case "text":
            return content
        case "message":
            return Message(content)
        case "dict":
            return {"content": content}
        case "none":
            return None
        case "error":
            return PlannedError(content)
        case "tokens":
            return Message.promise(message_token_streamer=_token_streamer(content, pause_times=0))
        case "slow tokens":
            return Message.promise(message_token_streamer=_token_streamer(content, pause_times=3), start_asap=False)
        case "list":
            return [build(child) for child in content]
        case "tuple":
            return tuple(build(child) for child in content)
        case "generator":
            return _generator(content)
        case "async generator":
            return _async_generator(content, pause_times=0)
        case "slow async generator":
            return _async_generator(content, pause_times=2)
        case "sequence":
            return turn_into_sequence([build(child) for child in content])
        case "agent" | "lazy agent":
            return reply_all.fork(mutable_state={"plans": content}).inquire(start_asap=kind == "agent")
        case _:
            raise AssertionError(kind)


def _token_streamer(tokens: list[str], pause_times: int) -> Any:
    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        for token in tokens:
            await pause(pause_times)
            yield token

    return stream


def _generator(children: list[Plan]) -> Iterator[Any]:
    for child in children:
        yield build(child)


async def _async_generator(children: list[Plan], pause_times: int) -> AsyncIterator[Any]:
    for child in children:
        await pause(pause_times)
        yield build(child)


# -- readers -------------------------------------------------------------------------------------------------------------


async def pieces_of(sequence: Any) -> list[str]:
    """All that one iteration gives, in the words of `by_hand`; a cancellation of the sequence as `cancelled`."""
    pieces: list[str] = []
    reader = aiter(sequence)
    while True:
        try:
            piece: MessagePromise = await anext(reader)
            pieces.append(f"text: {await piece}")
        except StopAsyncIteration:
            return pieces
        except PlannedError as error:
            pieces.append(f"error: {error}")
        except PromiseCancelledError:
            pieces.append("cancelled")


async def whole_of(sequence: Any) -> list[str]:
    """What awaiting the whole gives, in the same words: all messages, or the first error alone."""
    try:
        return [f"text: {message}" for message in await sequence]
    except PlannedError as error:
        return [f"error: {error}"]


def whole_by_hand(flat: list[str]) -> list[str]:
    errors = [piece for piece in flat if piece.startswith("error: ")]
    return errors[:1] or flat


def run(main: Any) -> None:
    """Run `main(context)` in a context, and see to it that no task is left behind."""

    async def program() -> None:
        async with MiniAgents(background_errors="log", logger=QUIET) as context:
            await main(context)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    async def in_time() -> None:
        # Of virtual time, so that it passes at once.
        async with asyncio.timeout(3600):
            await program()

    run_with_virtual_clock(in_time())
