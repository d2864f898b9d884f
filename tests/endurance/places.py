"""Every place where code of a user's runs, each with a way to make it raise; used by `test_exits_anywhere.py`."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from miniagents import InteractionContext, Message, MessageSequence, MessageTokenAppender, MiniAgents, miniagent
from miniagents.promising.promising import Promise, StreamedPromise
from miniagents.promising.sequence import FlatSequence


class OtherExit(BaseException):
    """A `BaseException` that nobody knows."""


EXITS = (KeyboardInterrupt, SystemExit)
ERRORS = (*EXITS, OtherExit, GeneratorExit, asyncio.CancelledError, ValueError, StopIteration, StopAsyncIteration)


class Planted:
    """Errors to be raised by somebody else's code, each with a text of its own."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.places: list[str] = []
        self.raised: list[BaseException] = []
        self.begun = 0
        self.ended = 0
        self._count = 0

    def new(self) -> Callable[..., Any]:
        """Give a function that raises an error, the same each time."""
        self._count += 1
        error = self.dice.choice(ERRORS)(f"planted number {self._count}.")

        def go_off(*_: object) -> Any:
            if error not in self.raised:
                self.raised.append(error)
            raise error

        return go_off

    async def pause(self) -> None:
        """Suspend for a while, or not at all."""
        for _ in range(self.dice.choice((0, 0, 1, 3))):
            await asyncio.sleep(self.dice.choice((0, 0, 0.5)))


class NotedBlock:
    """`with NotedBlock(planted):` notes that a block was entered and that it was left."""

    def __init__(self, planted: Planted) -> None:
        self._planted = planted

    def __enter__(self) -> None:
        self._planted.begun += 1

    def __exit__(self, *_: object) -> None:
        self._planted.ended += 1


async def in_an_agent(planted: Planted) -> Any:
    go_off = planted.new()
    when = planted.dice.choice(["at once", "later", "in a finally block", "when cancelled"])

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            if when == "at once":
                go_off()
            ctx.reply("before")
            await planted.pause()
            try:
                if when == "when cancelled":
                    await asyncio.sleep(10)
                if when == "later":
                    go_off()
            finally:
                if when in ("in a finally block", "when cancelled"):
                    go_off()

    start = planted.dice.choice([failing.inquire, failing.inquire, failing.kick_off, cancelled_soon(failing.inquire)])
    return start("hi")


def cancelled_soon(inquire: Callable[..., Any]) -> Callable[..., Any]:
    """Make the call and cancel it a while later."""

    def call(messages: object) -> Any:
        replies = inquire(messages)
        asyncio.get_running_loop().call_later(1, replies.cancel)
        return replies

    return call


async def in_the_class_of_an_agent(planted: Planted) -> Any:
    go_off = planted.new()
    in_constructor = planted.dice.choice([True, False])

    @miniagent
    class Failing:
        def __init__(self, ctx: InteractionContext) -> None:
            if in_constructor:
                go_off()

        async def __call__(self) -> None:
            with NotedBlock(planted):
                go_off()

    return Failing.inquire()


async def in_tokens(planted: Planted) -> Any:
    go_off = planted.new()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        with NotedBlock(planted):
            yield "a"
            await planted.pause()
            go_off()

    return Message.promise(message_token_streamer=planted.dice.choice([tokens, go_off]))


async def in_a_resolver(planted: Planted) -> Any:
    go_off = planted.new()

    async def resolver(_: object) -> Any:
        with NotedBlock(planted):
            await planted.pause()
            go_off()

    if planted.dice.choice([True, False]):
        return StreamedPromise(prefill_pieces=["a"], resolver=resolver)
    return Promise(resolver=planted.dice.choice([resolver, go_off]))


async def in_a_stream(planted: Planted) -> Any:
    go_off = planted.new()

    async def pieces(*_: object) -> AsyncIterator[Any]:
        with NotedBlock(planted):
            yield 1
            await planted.pause()
            go_off()

    good = StreamedPromise(prefill_pieces=[1, 2])
    kinds = [
        lambda: StreamedPromise(streamer=pieces),
        lambda: FlatSequence(pieces, lambda _, item: good()).sequence_promise,
        lambda: FlatSequence(good, pieces).sequence_promise,
    ]
    return planted.dice.choice(kinds)()


class _Failing:
    """An iterable of every kind, which fails when it is iterated or when it is asked for an item."""

    def __init__(self, go_off: Callable[..., Any], *, at_once: bool) -> None:
        self._go_off = go_off
        self._at_once = at_once

    def iterate(self) -> Any:
        return self._go_off() if self._at_once else self

    def __next__(self) -> Any:
        return self._go_off()

    async def __anext__(self) -> Any:
        return self._go_off()


class FailingIterable(_Failing):
    def __iter__(self) -> Iterator[Any]:
        return self.iterate()


class FailingAsyncIterable(_Failing):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self.iterate()


async def in_an_iterable(planted: Planted) -> Any:
    kind = planted.dice.choice([FailingIterable, FailingAsyncIterable])
    iterable = kind(planted.new(), at_once=planted.dice.choice([True, False]))

    @miniagent
    async def replying(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            ctx.reply(["before", iterable, "after"])

    return replying.inquire()


async def in_an_appender_block(planted: Planted) -> Any:
    go_off = planted.new()

    @miniagent
    async def appending(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            with MessageTokenAppender(capture_errors=planted.dice.choice([True, False])) as appender:
                ctx.reply(Message.promise(message_token_streamer=appender))
                appender.append("a")
                await planted.pause()
                go_off()

    return appending.inquire()


async def in_a_subtask(planted: Planted) -> Any:
    go_off = planted.new()

    async def subtask() -> None:
        with NotedBlock(planted):
            await planted.pause()
            go_off()

    @miniagent
    async def waiting(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            ctx.wait_for(subtask(), start_asap_if_coroutine=planted.dice.choice([True, False]))
            ctx.reply("before")

    return waiting.inquire()


async def in_background_work(planted: Planted) -> Any:
    go_off = planted.new()

    async def work() -> None:
        with NotedBlock(planted):
            await planted.pause()
            go_off()

    MiniAgents.get_current().start_asap(work())


async def in_a_text(planted: Planted) -> Any:
    go_off = planted.new()

    class Failing(Message):
        def _as_string(self) -> str:
            return go_off()

    message = Failing("a")
    kinds = [
        lambda: MessageSequence.turn_into_sequence_promise(message).as_single_promise(),
        lambda: message.as_promise,
    ]
    return planted.dice.choice(kinds)()


async def in_a_thread(planted: Planted) -> Any:
    mini_agents, go_off = MiniAgents.get_current(), planted.new()

    @miniagent
    async def threading(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            await asyncio.to_thread(mini_agents.run_from_thread, go_off)

    return threading.inquire()


async def in_a_handler(planted: Planted) -> Any:
    go_off = planted.new()

    async def handler(_: object, value: object) -> None:
        if planted.dice.random() < 0.2:
            go_off()

    mini_agents = MiniAgents.get_current()
    planted.dice.choice([mini_agents.on_promise_resolved, mini_agents.on_persist_message])(handler)


async def in_an_interceptor(planted: Planted) -> Any:
    class Interceptor:
        go_off = staticmethod(planted.new())
        before = planted.dice.choice([True, False])

        async def intercept_call(self, call: Any, proceed: Callable[[], Any]) -> AsyncIterator[Any]:
            if call.agent is not intercepted:
                yield proceed()
                return
            with NotedBlock(planted):
                if self.before:
                    self.go_off()
                async for reply in proceed():
                    yield reply
                self.go_off()

    @miniagent
    async def intercepted(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            ctx.reply("a")

    MiniAgents.get_current().interceptors.append(Interceptor())
    return intercepted.inquire()


async def nowhere(planted: Planted) -> Any:
    @miniagent
    async def healthy(ctx: InteractionContext) -> None:
        with NotedBlock(planted):
            async for message in ctx.message_promises:
                ctx.reply(message)
                await planted.pause()

    call = healthy.initiate_inquiry()
    call.send_message(["a", "b"])
    return call.reply_sequence()


PLACES = [
    in_an_agent,
    in_the_class_of_an_agent,
    in_tokens,
    in_a_resolver,
    in_a_stream,
    in_an_iterable,
    in_an_appender_block,
    in_a_subtask,
    in_background_work,
    in_a_text,
    in_a_thread,
    in_a_handler,
    in_an_interceptor,
    nowhere,
]
