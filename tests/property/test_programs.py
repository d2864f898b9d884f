"""Random programs of agents: what every reader sees is what a simple sequential model says, at any speed.

A program is plain data: a tree of agents, each a list of steps. `Model` walks through it one step after another and says
what a reader of each call must see; `run` lets real agents do the same steps at the same time, with readers who come and
go, calls that are cancelled, eager and lazy ones, on virtual time.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError
from miniagents.testing.virtual_clock import run_with_virtual_clock

TIME_LIMIT_S = 24 * 3600
QUIET = logging.getLogger("tests.property.programs")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class PlannedError(Exception):
    """What agents fail with."""


# -- programs --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call of an agent that does `steps`, with `words` as its input."""

    steps: "tuple[Step, ...]"
    words: tuple[str, ...] = ()
    start_asap: bool | None = None
    prefix: str | None = None
    """A setting: given by a fork, and, with `overrides`, once more by the call."""
    overrides: bool = False
    one_by_one: bool = False
    """Whether the messages are sent one after another, while replies are read already."""


@dataclass(frozen=True)
class Step:
    """One thing that an agent does; `what` says which of the fields count."""

    what: Literal["say", "echo", "ask", "read and say", "pause", "reply an error", "fail", "fire", "cancel"]
    text: str = ""
    call: Call | None = None
    out_of_order: bool = False
    seconds: float = 0.0


_texts = st.sampled_from(["a", "b", "c", ""])
_pauses = st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0])
_simple_steps = st.one_of(
    st.builds(Step, what=st.just("say"), text=_texts, out_of_order=st.booleans()),
    st.just(Step("echo")),
    st.builds(Step, what=st.just("pause"), seconds=_pauses),
    st.builds(Step, what=st.just("reply an error"), text=_texts),
    st.builds(Step, what=st.just("fail"), text=_texts),
)


def _calls_of(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        steps=st.lists(steps, max_size=4).map(tuple),
        words=st.lists(_texts, max_size=3).map(tuple),
        start_asap=st.sampled_from([None, True, False]),
        prefix=st.sampled_from([None, "x", "y"]),
        overrides=st.booleans(),
        one_by_one=st.booleans(),
    )


def _steps_with(calls: st.SearchStrategy[Call]) -> st.SearchStrategy[Step]:
    return st.one_of(
        _simple_steps,
        st.builds(Step, what=st.just("ask"), call=calls, out_of_order=st.booleans()),
        st.builds(Step, what=st.sampled_from(["read and say", "fire"]), call=calls),
        st.builds(Step, what=st.just("cancel"), call=calls, seconds=_pauses),
    )


calls = st.recursive(_calls_of(_simple_steps), lambda inner: _calls_of(_steps_with(inner)), max_leaves=8)


# -- the model -------------------------------------------------------------------------------------------------------------

Seen = list[str]


@dataclass
class Expected:
    """What a reader must see: `in_order` in this order, each of `loose` in its own order somewhere between."""

    in_order: Seen = field(default_factory=list)
    loose: list[Seen] = field(default_factory=list)

    def everything(self) -> Counter[str]:
        return Counter(self.in_order) + Counter(piece for part in self.loose for piece in part)

    def agrees_with(self, seen: Seen) -> bool:
        return Counter(seen) == self.everything() and all(map(_is_within(seen), [self.in_order, *self.loose]))


def _is_within(whole: Seen) -> Any:
    def check(part: Seen) -> bool:
        rest = iter(whole)
        return all(piece in rest for piece in part)

    return check


def expected_of(call: Call) -> Expected:
    """Do the steps of `call` one after the other, as if nothing else ever happened at the same time."""
    expected = Expected()
    marks = effective_prefix(call) or ""
    for step in call.steps:
        match step.what:
            case "say":
                _put(expected, [f"{marks}{step.text}"], loosely=step.out_of_order)
            case "echo":
                expected.in_order += [f"{marks}{word}" for word in call.words]
            case "ask":
                assert step.call is not None
                inner = expected_of(step.call)
                _put(expected, inner.in_order, loosely=step.out_of_order)
                expected.loose += inner.loose
            case "read and say":
                assert step.call is not None
                count = sum(not piece.startswith("error") for piece in expected_of(step.call).everything().elements())
                expected.in_order.append(f"{marks}read {count}")
            case "reply an error":
                expected.in_order.append(f"error: {step.text}")
            case "fail":
                expected.in_order.append(f"error: {step.text}")
                break
            case "pause" | "fire" | "cancel":
                pass
    return expected


def _put(expected: Expected, pieces: Seen, *, loosely: bool) -> None:
    if loosely:
        expected.loose.append(pieces)
    else:
        expected.in_order += pieces


def effective_prefix(call: Call) -> str | None:
    return f"{call.prefix}!" if call.prefix and call.overrides else call.prefix


def has_loose_parts(call: Call) -> bool:
    return bool(expected_of(call).loose)


# -- the real thing ----------------------------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How many agents began and ended, whatever their end."""

    begun: int = 0
    ended: int = 0


@miniagent
async def playing(ctx: InteractionContext, call: Any, progress: Any, prefix: str = "") -> None:
    progress.begun += 1
    try:
        for step in call.steps:
            await do(ctx, step, progress, prefix)
    finally:
        progress.ended += 1


async def do(ctx: InteractionContext, step: Step, progress: Progress, prefix: str) -> None:
    reply = ctx.reply_out_of_order if step.out_of_order else ctx.reply
    match step.what:
        case "say":
            reply(f"{prefix}{step.text}")
        case "echo":
            async for message in ctx.message_promises:
                ctx.reply(f"{prefix}{await message}")
        case "ask":
            reply(begin(step.call, progress))
        case "read and say":
            seen = await pieces_of(begin(step.call, progress))
            ctx.reply(f"{prefix}read {sum(not piece.startswith('error') for piece in seen)}")
        case "pause":
            await asyncio.sleep(step.seconds)
        case "reply an error":
            ctx.reply(PlannedError(step.text))
        case "fail":
            raise PlannedError(step.text)
        case "fire":
            agent, settings_of_call = forked(step.call, progress)
            agent.kick_off(step.call.words, **settings_of_call)
        case "cancel":
            async with begin(step.call, progress):
                await asyncio.sleep(step.seconds)


def forked(call: Any, progress: Progress) -> tuple[Any, dict[str, Any]]:
    agent = playing.fork(mutable_state={"call": call, "progress": progress})
    if call.prefix is not None:
        agent = agent.fork(prefix="overridden").fork(prefix=call.prefix)
    return agent, {"prefix": effective_prefix(call)} if call.prefix and call.overrides else {}


def begin(call: Any, progress: Progress) -> Any:
    agent, settings_of_call = forked(call, progress)
    if not call.one_by_one:
        return agent.inquire(call.words, start_asap=call.start_asap, **settings_of_call)
    open_call = agent.initiate_inquiry(start_asap=call.start_asap, **settings_of_call)
    for word in call.words:
        open_call.send_message(word)
    return open_call.reply_sequence()


async def pieces_of(sequence: Any) -> Seen:
    """All that one reader sees, going on behind errors."""
    seen: Seen = []
    reader = aiter(sequence)
    while True:
        try:
            seen.append(str(await (await anext(reader))))
        except StopAsyncIteration:
            return seen
        except PlannedError as error:
            seen.append(f"error: {error}")
        except PromiseCancelledError:
            seen.append("cancelled")


async def whole_of(sequence: Any) -> Seen:
    """What awaiting the whole gives: all messages, or the first error alone."""
    try:
        return [str(message) for message in await sequence]
    except PlannedError as error:
        return [f"error: {error}"]
    except PromiseCancelledError:
        return ["cancelled"]


def whole_by(seen: Seen) -> Seen:
    return next(([piece] for piece in seen if piece.startswith("error: ") or piece == "cancelled"), seen)


def run(main: Any, **context_settings: Any) -> None:
    """Run `main` in a context on virtual time; see that it ends, and that every agent that began has ended."""
    progress = Progress()

    async def program() -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            async with MiniAgents(background_errors="log", logger=QUIET, **context_settings):
                await main(progress)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_with_virtual_clock(program())
    assert progress.begun == progress.ended


modes = st.fixed_dictionaries(
    {
        "start_everything_asap_by_default": st.booleans(),
        "read_ahead_by_default": st.sampled_from([None, None, 0, 1, 3]),
    }
)
moments = st.lists(st.sampled_from([0.0, 0.05, 0.1, 1.0, 31.0, 100.0]), max_size=4)


@given(call=calls, mode=modes, begin_at=moments, leave_at=moments)
@settings(max_examples=300, deadline=None)
def test_every_reader_of_a_random_program_sees_what_doing_its_steps_one_by_one_gives(
    call: Call, mode: dict[str, Any], begin_at: list[float], leave_at: list[float]
) -> None:
    async def main(progress: Progress) -> None:
        replies = begin(call, progress)

        async def read_later(seconds: float) -> Seen:
            await asyncio.sleep(seconds)
            return await pieces_of(replies)

        leaving = [asyncio.ensure_future(pieces_of(replies)) for _ in leave_at]
        for reader, seconds in zip(leaving, leave_at, strict=True):
            asyncio.get_running_loop().call_later(seconds, reader.cancel)
        views = [*await asyncio.gather(*map(read_later, begin_at)), await pieces_of(replies)]
        await asyncio.gather(*leaving, return_exceptions=True)

        expected = expected_of(call)
        assert expected.agrees_with(views[0]), (views[0], expected)
        assert all(view == views[0] for view in views)
        assert await whole_of(replies) == whole_by(views[0])
        assert has_loose_parts(call) or views[0] == expected.in_order

    run(main, **mode)


@given(call=calls, mode=modes, cancel_at=st.sampled_from([0.0, 0.05, 0.1, 1.0, 31.0]), begin_at=moments)
@settings(max_examples=300, deadline=None)
def test_a_random_program_that_is_cancelled_at_any_moment_gives_every_reader_the_same_beginning_of_it(
    call: Call, mode: dict[str, Any], cancel_at: float, begin_at: list[float]
) -> None:
    async def main(progress: Progress) -> None:
        replies = begin(call, progress)

        async def read_later(seconds: float) -> Seen:
            await asyncio.sleep(seconds)
            return await pieces_of(replies)

        readers = [asyncio.ensure_future(read_later(seconds)) for seconds in begin_at]
        await asyncio.sleep(cancel_at)
        was_cancelled = replies.cancel()
        views = [*await asyncio.gather(*readers), await pieces_of(replies)]

        assert all(view == views[0] for view in views)
        expected = expected_of(call)
        if not was_cancelled:
            assert expected.agrees_with(views[0])
            return
        *so_far, end = views[0]
        assert end == "cancelled"
        # A message or a call that is there may itself have been cut off.
        found = Counter(so_far)
        del found["cancelled"]
        assert found <= expected.everything()

    run(main, **mode)


@given(call=calls, mode=modes, stop_at=st.sampled_from([0.0, 0.1, 1.0, 31.0]))
@settings(max_examples=150, deadline=None)
def test_a_main_function_that_fails_at_any_moment_ends_every_agent_of_a_random_program(
    call: Call, mode: dict[str, Any], stop_at: float
) -> None:
    async def main(progress: Progress) -> None:
        reader = asyncio.ensure_future(pieces_of(begin(call, progress)))
        await asyncio.sleep(stop_at)
        reader.cancel()
        raise PlannedError("of the main function")

    try:
        run(main, **mode)
    except PlannedError as error:
        assert str(error) == "of the main function"
    else:
        raise AssertionError("the error of the main function was lost")
