"""`on_promise_resolved`: who is told, when, how often."""

import asyncio
from typing import Any

import pytest

from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from tests.unit.promising.tools import collect, error_of, let_others_run, stream_of


class SomeError(Exception):
    pass


class Handler:
    """An async handler that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, object]] = []

    async def __call__(self, promise: object, result: object) -> None:
        self.told.append((promise, result))


async def value(_: object) -> str:
    return "value"


async def test_a_handler_is_told_the_promise_and_its_result() -> None:
    handler = Handler()
    async with PromisingContext(on_promise_resolved=handler):
        promise = Promise(resolver=value)

    assert handler.told == [(promise, "value")]


async def test_there_may_be_several_handlers() -> None:
    handlers = [Handler(), Handler()]
    async with PromisingContext(on_promise_resolved=handlers):
        promise = Promise(resolver=value)

    assert [handler.told for handler in handlers] == [[(promise, "value")]] * 2


async def test_a_handler_can_be_registered_with_a_decorator() -> None:
    context = PromisingContext()
    told: list[object] = []

    @context.on_promise_resolved
    async def handler(_promise: object, result: object) -> None:
        told.append(result)

    async with context:
        Promise(resolver=value)

    assert told == ["value"]
    assert asyncio.iscoroutinefunction(handler)


async def test_a_handler_is_called_once_however_often_the_promise_is_awaited() -> None:
    handler = Handler()
    async with PromisingContext(on_promise_resolved=handler) as context:
        promise = Promise(resolver=value)
        stream = stream_of("a", "b")
        await asyncio.gather(promise, promise, stream, stream, collect(stream))
        await context.aflush_tasks()
        await asyncio.gather(promise, stream)

    assert sorted(map(str, handler.told)) == sorted(map(str, [(promise, "value"), (stream, ("a", "b"))]))


async def test_prefilled_promises_are_told_of_too() -> None:
    handler = Handler()
    async with PromisingContext(on_promise_resolved=handler):
        promise = Promise(prefill_result="there already")
        stream = StreamedPromise(prefill_pieces=["a"], prefill_result="whole")

    assert handler.told == [(promise, "there already"), (stream, "whole")]


async def test_a_stream_that_nobody_awaits_is_told_of_when_it_has_ended() -> None:
    handler = Handler()
    async with PromisingContext(on_promise_resolved=handler):
        stream = stream_of("a", "b")
        with StreamAppender() as appender:
            appended = StreamedPromise(streamer=appender)
            appender.append("c")

    assert {id(promise): result for promise, result in handler.told} == {id(stream): ("a", "b"), id(appended): ("c",)}


async def test_a_promise_that_failed_is_not_told_of() -> None:
    handler = Handler()

    async def fail(_: object) -> None:
        raise SomeError

    async with PromisingContext(on_promise_resolved=handler):
        assert isinstance(await error_of(Promise(resolver=fail)), SomeError)
        assert isinstance(await error_of(stream_of("a", SomeError())), SomeError)

    assert handler.told == []


async def test_a_handler_never_delays_the_awaiting_code() -> None:
    release = asyncio.Event()
    states: list[str] = []

    async def slow_handler(_promise: object, _result: object) -> None:
        states.append("begun")
        await release.wait()
        states.append("done")

    async with PromisingContext(on_promise_resolved=slow_handler):
        assert await Promise(resolver=value) == "value"
        await let_others_run()
        assert states == ["begun"]
        release.set()

    assert states == ["begun", "done"]


async def test_no_handler_runs_inside_the_constructor_of_a_prefilled_promise() -> None:
    handler = Handler()
    async with PromisingContext(on_promise_resolved=handler):
        Promise(prefill_result="there already")
        assert handler.told == []
        await asyncio.sleep(0)
        assert len(handler.told) == 1


async def test_handlers_of_the_outer_contexts_fire_too() -> None:
    outer, inner = Handler(), Handler()
    async with PromisingContext(on_promise_resolved=outer):
        async with PromisingContext(on_promise_resolved=inner):
            within = Promise(resolver=value)
        outside = Promise(resolver=value)

    assert inner.told == [(within, "value")]
    assert outer.told == [(within, "value"), (outside, "value")]


async def test_handlers_of_an_outer_context_fire_where_the_inner_one_has_none() -> None:
    outer = Handler()
    async with PromisingContext(on_promise_resolved=outer):
        async with PromisingContext(), PromisingContext():
            promise = Promise(resolver=value)

    assert outer.told == [(promise, "value")]


def plain_handler(_promise: object, _result: object) -> None:
    raise AssertionError("this must not be called")


async def generator_handler(_promise: object, _result: object) -> Any:
    yield


@pytest.mark.parametrize("handler", [plain_handler, generator_handler, lambda promise, result: None])
def test_a_handler_that_is_not_async_is_refused_when_it_is_registered(handler: Any) -> None:
    with pytest.raises(TypeError, match="async def handler"):
        PromisingContext(on_promise_resolved=handler)
    with pytest.raises(TypeError, match="async def handler"):
        PromisingContext(on_promise_resolved=[Handler(), handler])
    with pytest.raises(TypeError, match="async def handler"):
        PromisingContext().on_promise_resolved(handler)


async def test_a_handler_may_be_a_bound_method_or_a_partial() -> None:
    import functools

    class Listener:
        def __init__(self) -> None:
            self.told: list[object] = []

        async def listen(self, _promise: object, result: object) -> None:
            self.told.append(result)

    listener = Listener()

    async def with_a_prefix(prefix: str, _promise: object, result: object) -> None:
        listener.told.append(f"{prefix}{result}")

    handlers = [listener.listen, functools.partial(with_a_prefix, "partial: ")]
    async with PromisingContext(on_promise_resolved=handlers):
        Promise(resolver=value)

    assert sorted(map(str, listener.told)) == ["partial: value", "value"]


async def test_a_handler_that_fails_is_reported_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    working = Handler()

    async def failing(_promise: object, _result: object) -> None:
        raise SomeError("the handler is broken")

    async with PromisingContext(on_promise_resolved=[failing, working]):
        assert await Promise(resolver=value) == "value"
        assert await Promise(prefill_result="second") == "second"

    assert caplog.text.count("the handler is broken") == 2
    assert sorted(str(result) for _, result in working.told) == ["second", "value"]


async def test_a_handler_may_make_promises_of_its_own() -> None:
    told: list[object] = []

    async def handler(_promise: object, result: object) -> None:
        told.append(result)
        if isinstance(result, int) and result < 3:
            Promise(prefill_result=result + 1)

    async with PromisingContext(on_promise_resolved=handler):
        Promise(prefill_result=0)

    assert told == [0, 1, 2, 3]


async def test_without_handlers_a_prefilled_promise_costs_no_task() -> None:
    async with PromisingContext():
        before = asyncio.all_tasks()
        Promise(prefill_result="value")
        StreamedPromise(prefill_pieces=["a"])

        assert asyncio.all_tasks() == before
