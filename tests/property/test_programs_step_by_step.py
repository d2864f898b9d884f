"""Agents that do one thing after another, as a state machine says: at every step, readers see what a model says.

The agents do what they are told through plain queues. Between two steps virtual time passes, so that all that can happen
has happened. The model of a call is the list of what it has replied so far.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from miniagents import InteractionContext, MessageSequencePromise, MiniAgents, miniagent
from miniagents.promising.errors import PromiseCancelledError
from miniagents.testing.virtual_clock import VirtualTimeLoop

QUIET = logging.getLogger("tests.property.programs")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

CANCELLED = "cancelled"


class PlannedError(Exception):
    """What agents fail with."""


@miniagent
async def obeying(ctx: InteractionContext, orders: Any) -> None:
    while (order := await orders.get()) is not None:
        if isinstance(order, PlannedError):
            raise order
        ctx.reply(order)


@dataclass(eq=False)
class Call:
    """A call of an agent, with the model of its replies."""

    replies: MessageSequencePromise
    orders: "asyncio.Queue[Any]"
    has_begun: bool
    is_open: bool = True
    model: "list[str | Call]" = field(default_factory=list)

    def visible(self) -> "tuple[list[str], bool]":
        """What can be read now, and whether that is all; a lazy call that is reached begins."""
        self.has_begun = True
        seen: list[str] = []
        for item in self.model:
            if isinstance(item, Call):
                inner, is_all = item.visible()
                seen += inner
                if not is_all:
                    return seen, False
            else:
                seen.append(item)
        return seen, not self.is_open

    def there_now(self) -> "tuple[list[str], bool]":
        """What is there now, whether or not anybody looks, and whether that is all."""
        if not self.has_begun:
            return [], False
        seen: list[str] = []
        for item in self.model:
            if isinstance(item, Call):
                inner, is_all = item.there_now()
                seen += inner
                if not is_all:
                    return seen, False
            else:
                seen.append(item)
        return seen, not self.is_open


@dataclass(eq=False)
class Reader:
    """A task that reads a call from its beginning, and what it has seen so far."""

    call: Call
    seen: list[str] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None

    async def read(self) -> None:
        reader = aiter(self.call.replies)
        while True:
            try:
                self.seen.append(str(await (await anext(reader))))
            except StopAsyncIteration:
                return
            except PlannedError as error:
                self.seen.append(f"error: {error}")
            except PromiseCancelledError:
                self.seen.append(CANCELLED)


which = st.integers(0, 1000)


class AgentsStepByStep(RuleBasedStateMachine):
    """Makes calls, tells their agents what to do, reads them, cancels them; looks at every reader after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.readers: list[Reader] = []
        self.count = 0
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.context = MiniAgents(background_errors="log", logger=QUIET, stall_report_s=1e9)
        self.runner.run(self._in_loop(self.context.activate))

    async def _in_loop(self, act: Any, *arguments: Any) -> Any:
        result = act(*arguments)
        await asyncio.sleep(1)
        return result

    def do(self, act: Any, *arguments: Any) -> Any:
        return self.runner.run(self._in_loop(act, *arguments))

    def text(self) -> str:
        self.count += 1
        return f"text {self.count}"

    def open_call(self, number: int) -> Call | None:
        still_open = [call for call in self.calls if call.is_open]
        return still_open[number % len(still_open)] if still_open else None

    @rule(is_lazy=st.booleans())
    def begin_a_call(self, is_lazy: bool) -> None:
        orders: asyncio.Queue[Any] = asyncio.Queue()

        def begin() -> MessageSequencePromise:
            return obeying.fork(mutable_state={"orders": orders}).inquire(start_asap=not is_lazy)

        self.calls.append(Call(self.do(begin), orders, has_begun=not is_lazy))

    @rule(number=which)
    def say(self, number: int) -> None:
        if call := self.open_call(number):
            text = self.text()
            self.do(call.orders.put_nowait, text)
            call.model.append(text)

    @rule(number=which)
    def reply_an_error(self, number: int) -> None:
        if call := self.open_call(number):
            text = self.text()
            self.do(call.orders.put_nowait, [PlannedError(text)])
            call.model.append(f"error: {text}")

    @rule(number=which, other=which)
    def pass_on_another_call(self, number: int, other: int) -> None:
        call = self.open_call(number)
        # Older calls are passed on by none that is younger, so that there are no circles.
        younger = self.calls[self.calls.index(call) + 1 :] if call else []
        if call and younger:
            passed_on = younger[other % len(younger)]
            self.do(call.orders.put_nowait, passed_on.replies)
            call.model.append(passed_on)

    @rule(number=which)
    def fail(self, number: int) -> None:
        if call := self.open_call(number):
            text = self.text()
            self.do(call.orders.put_nowait, PlannedError(text))
            call.model.append(f"error: {text}")
            call.is_open = False

    @rule(number=which)
    def end(self, number: int) -> None:
        if call := self.open_call(number):
            self.do(call.orders.put_nowait, None)
            call.is_open = False

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def cancel(self, number: int) -> None:
        call = self.calls[number % len(self.calls)]
        there, is_all = call.there_now()
        assert call.replies.done() is is_all
        assert self.do(call.replies.cancel) is not is_all
        if not is_all:
            call.model = [*there, CANCELLED]
            call.is_open = False
            call.has_begun = True

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def begin_to_read(self, number: int) -> None:
        reader = Reader(self.calls[number % len(self.calls)])

        def begin() -> None:
            reader.task = asyncio.ensure_future(reader.read())

        self.readers.append(reader)
        self.do(begin)

    @precondition(lambda self: self.readers)
    @rule(number=which)
    def a_reader_leaves(self, number: int) -> None:
        reader = self.readers.pop(number % len(self.readers))
        assert reader.task is not None
        self.do(reader.task.cancel)

    @rule(seconds=st.sampled_from([0.0, 100.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @invariant()
    def every_reader_has_seen_what_is_there(self) -> None:
        for reader in self.readers:
            visible, is_all = reader.call.visible()
            assert reader.task is not None
            assert (reader.seen, reader.task.done()) == (visible, is_all)

    def teardown(self) -> None:
        try:
            for call in self.calls:
                if call.is_open:
                    self.do(call.orders.put_nowait, None)
                    call.is_open = False
            late_readers = [Reader(call) for call in self.calls]
            for reader in late_readers:
                self.runner.run(reader.read())
                assert (reader.seen, True) == reader.call.visible()
            self.every_reader_has_seen_what_is_there()
        finally:
            self.runner.run(self.context.afinalize())
            left = asyncio.all_tasks(self.runner.get_loop())
            self.runner.close()
        assert not left


AgentsStepByStep.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgentsStepByStep = pytest.mark.timeout(60)(AgentsStepByStep.TestCase)
