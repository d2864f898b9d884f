"""Whatever is nested in whatever: what readers get is what flattening by hand gives, and all of them get the same."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents import InteractionContext, MiniAgents, miniagent
from tests.property.plans import (
    Plan,
    PlannedError,
    build,
    by_hand,
    parts,
    pause,
    pauses,
    pieces_of,
    plans,
    run,
    short_texts,
    turn_into_sequence,
    whole_by_hand,
    whole_of,
)


@given(plan=plans)
@settings(max_examples=200, deadline=None)
def test_readers_get_what_flattening_by_hand_gives(plan: Plan) -> None:
    async def main(_: MiniAgents) -> None:
        sequence = turn_into_sequence(build(plan))

        assert await pieces_of(sequence) == by_hand(plan)
        assert await pieces_of(sequence) == by_hand(plan)
        assert await whole_of(sequence) == whole_by_hand(by_hand(plan))
        assert sequence.done()

    run(main)


@given(plan=plans)
@settings(max_examples=100, deadline=None)
def test_awaiting_the_whole_first_gives_the_same(plan: Plan) -> None:
    async def main(_: MiniAgents) -> None:
        sequence = turn_into_sequence([build(plan)])

        assert await whole_of(sequence) == whole_by_hand(by_hand(plan))
        assert await pieces_of(sequence) == by_hand(plan)

    run(main)


@given(plan=plans, delimiter=short_texts)
@settings(max_examples=100, deadline=None)
def test_the_single_message_is_the_join_of_all_texts(plan: Plan, delimiter: str) -> None:
    flat = by_hand(plan)

    async def main(_: MiniAgents) -> None:
        promise = turn_into_sequence(build(plan)).as_single_promise(delimiter)
        try:
            message = await promise
        except PlannedError as error:
            assert [f"error: {error}"] == whole_by_hand(flat)
        else:
            texts = [piece.removeprefix("text: ") for piece in flat]
            assert str(message) == delimiter.join(texts)
            assert [str(original) for original in message["original_messages"]] == texts
            assert "".join([token async for token in promise]) == str(message)

    run(main)


@given(
    plan=plans,
    begin=st.lists(pauses, max_size=6),
    leave=st.lists(pauses, max_size=3),
    cancel=st.lists(pauses, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_number_of_readers_at_any_time_see_the_same_whoever_else_leaves(
    plan: Plan, begin: list[int], leave: list[int], cancel: list[int]
) -> None:
    async def main(context: MiniAgents) -> None:
        sequence = turn_into_sequence(build(plan))

        async def read_later(times: int) -> list[str]:
            await pause(times)
            return await pieces_of(sequence)

        async def read_some(count: int) -> None:
            reader = aiter(sequence)
            for _ in range(count):
                try:
                    await anext(reader)
                except (StopAsyncIteration, PlannedError):
                    return

        async def be_cancelled(times: int) -> None:
            task = asyncio.ensure_future(pieces_of(sequence))
            await pause(times)
            task.cancel()
            await asyncio.wait([task])

        leaving = [
            asyncio.ensure_future(coroutine) for coroutine in (*map(read_some, leave), *map(be_cancelled, cancel))
        ]
        seen = await asyncio.gather(*map(read_later, begin))
        await asyncio.gather(*leaving)

        assert all(pieces == by_hand(plan) for pieces in seen)
        assert await pieces_of(sequence) == by_hand(plan)

    run(main)


@given(
    sends=st.lists(st.tuples(st.booleans(), plans, pauses), max_size=6),
    begin=st.lists(pauses, min_size=1, max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_sends_out_of_order_give_one_order_to_all_readers(
    sends: list[tuple[bool, Plan, int]], begin: list[int]
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for is_in_order, plan, times in sends:
            (ctx.reply if is_in_order else ctx.reply_out_of_order)(build(plan))
            await pause(times)

    async def main(_: MiniAgents) -> None:
        replies = agent.inquire()

        async def read_later(times: int) -> list[str]:
            await pause(times)
            return await pieces_of(replies)

        seen = [*await asyncio.gather(*map(read_later, begin)), await pieces_of(replies)]

        assert all(pieces == seen[0] for pieces in seen)
        assert Counter(seen[0]) == Counter(piece for _, plan, _ in sends for piece in by_hand(plan))
        in_order = [piece for is_in_order, plan, _ in sends if is_in_order for piece in by_hand(plan)]
        assert is_subsequence(in_order, seen[0])
        for _, plan, _ in sends:
            for part in parts(plan):
                assert is_subsequence(by_hand(part), seen[0])

    run(main)


@given(sends=st.lists(st.tuples(st.booleans(), plans), max_size=5))
@settings(max_examples=100, deadline=None)
def test_messages_sent_to_an_agent_out_of_order_all_arrive(sends: list[tuple[bool, Plan]]) -> None:
    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    async def main(_: MiniAgents) -> None:
        call = echo.initiate_inquiry()
        for is_in_order, plan in sends:
            (call.send_message if is_in_order else call.send_out_of_order)(build(plan))
            await asyncio.sleep(0)

        seen = await pieces_of(call.reply_sequence())

        assert Counter(seen) == Counter(piece for _, plan in sends for piece in by_hand(plan))
        in_order = [piece for is_in_order, plan in sends if is_in_order for piece in by_hand(plan)]
        assert is_subsequence(in_order, seen)

    run(main)


@given(plan=plans, shared=plans, when=st.integers(min_value=0, max_value=40), begin=pauses)
@settings(max_examples=200, deadline=None)
def test_cancelling_at_any_point_leaves_no_task_and_harms_no_other_reader(
    plan: Plan, shared: Plan, when: int, begin: int
) -> None:
    async def main(context: MiniAgents) -> None:
        shared_sequence = turn_into_sequence(build(shared))

        @miniagent
        async def agent(ctx: InteractionContext) -> None:
            ctx.reply(build(plan))
            await asyncio.sleep(0)
            ctx.reply(shared_sequence)
            await asyncio.sleep(0)

        async def read_later() -> list[str]:
            await pause(begin)
            return await pieces_of(replies)

        replies = agent.inquire()
        reading = [asyncio.ensure_future(read_later()) for _ in range(2)]
        other = asyncio.ensure_future(pieces_of(shared_sequence))
        await pause(when)
        was_cancelled = replies.cancel()
        seen = await asyncio.gather(*reading)

        assert await other == by_hand(shared)
        whole = [*by_hand(plan), *by_hand(shared)]
        if not was_cancelled:
            assert seen == [whole, whole]
            return
        for pieces in seen:
            *so_far, end = pieces
            assert end == "cancelled"
            # A message that is there may itself have been cancelled before its last token.
            assert all(piece in (planned, "cancelled") for piece, planned in zip(so_far, whole, strict=False))
            assert len(so_far) <= len(whole)
        assert await pieces_of(replies) == seen[0] == seen[1]
        assert replies.done()
        assert not replies.cancel()
        await context.aflush_tasks()

    run(main)


@given(plan=plans, when=st.integers(min_value=0, max_value=40))
@settings(max_examples=150, deadline=None)
def test_an_error_of_the_main_function_at_any_point_leaves_no_task(plan: Plan, when: int) -> None:
    class StopError(Exception):
        pass

    async def main(_: MiniAgents) -> None:
        sequence = turn_into_sequence([build(plan)])
        reading = asyncio.ensure_future(pieces_of(sequence))
        try:
            await pause(when)
            raise StopError
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    try:
        run(main)
    except StopError:
        return
    raise AssertionError("the error of the main function was lost")


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(piece in rest for piece in part)
