"""Who acts around the calls of a context is told of its beginning and its end, whatever goes wrong with another one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from miniagents import MiniAgents
from miniagents._interception import InterceptedCall, Proceed
from tests.unit.journal.conftest import Kept


class Listener:
    """Takes note of what it is told; fails at the beginning, or at the end."""

    def __init__(self, name: str, told: list[str], *, fails_at: str = "") -> None:
        self.name = name
        self._told = told
        self._fails_at = fails_at

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[object]:
        async for reply in proceed():
            yield reply

    async def context_entered(self) -> None:
        self._note("entered")

    async def context_left(self, error: BaseException | None, *, has_failed: bool) -> None:
        self._note(f"left {error!r}" if error else f"left, {has_failed=}")

    def _note(self, what: str) -> None:
        if self._fails_at and what.startswith(self._fails_at):
            raise RuntimeError(f"{self.name} fails")
        self._told.append(f"{self.name} {what}")


async def test_if_one_fails_at_the_beginning_those_before_it_are_left_in_reverse_order() -> None:
    told: list[str] = []
    listeners = [Listener("a", told), Listener("b", told), Listener("c", told, fails_at="entered"), Listener("d", told)]

    with pytest.raises(RuntimeError, match="c fails"):
        async with MiniAgents(interceptors=listeners):
            told.append("inside")

    error = "RuntimeError('c fails')"
    assert told == ["a entered", "b entered", f"b left {error}", f"a left {error}"]


async def test_if_one_fails_at_the_end_all_are_left_and_the_first_error_is_raised_with_the_others_in_its_notes() -> (
    None
):
    told: list[str] = []
    listeners = [
        Listener("a", told),
        Listener("b", told, fails_at="left"),
        Listener("c", told, fails_at="left"),
        Listener("d", told),
    ]

    with pytest.raises(RuntimeError, match="c fails") as raised:
        async with MiniAgents(interceptors=listeners):
            told.clear()

    assert told == ["d left, has_failed=False", "a left, has_failed=True"]
    assert "b fails" in "".join(raised.value.__notes__)


async def test_a_cancellation_at_the_end_keeps_nobody_from_being_left() -> None:
    told: list[str] = []
    began = asyncio.Event()

    class Slow(Listener):
        async def context_left(self, error: BaseException | None, *, has_failed: bool) -> None:
            began.set()
            await asyncio.Event().wait()

    async def program() -> None:
        async with MiniAgents(interceptors=[Listener("a", told), Slow("b", told)]):
            told.clear()

    task = asyncio.ensure_future(program())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told == ["a left, has_failed=True"]


@pytest.mark.parametrize(
    ("fails_at", "is_first", "state"),
    [("entered", False, "failed"), ("left", True, "finished"), ("left", False, "failed")],
    ids=["entering", "leaving the outer one", "leaving the inner one"],
)
async def test_a_run_is_let_go_of_although_another_listener_fails(
    kept: Kept, fails_at: str, is_first: bool, state: str
) -> None:
    context = kept.mini_agents()
    context.interceptors.insert(0 if is_first else 1, Listener("other", [], fails_at=fails_at))

    with pytest.raises(RuntimeError, match="other fails"):
        async with context:
            pass

    assert (await kept.run()).state == state
    async with kept.mini_agents():
        pass
    assert (await kept.run()).state == "finished"
