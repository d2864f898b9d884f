"""`Promise`: a value that is made once and given to everybody who awaits it."""

import asyncio
import gc
import traceback
import weakref

import pytest

from miniagents.promising.errors import NoActiveContextError, PromiseCancelledError, PromisingError
from miniagents.promising.promising import Promise, PromisingContext
from tests.unit.promising.tools import error_of, let_others_run


class SomeError(Exception):
    pass


class SomeExit(BaseException):
    pass


class Resolver:
    """A resolver that counts its runs and waits for permission."""

    def __init__(self, result: object = "value") -> None:
        self.result = result
        self.runs: list[object] = []
        self.release = asyncio.Event()

    async def __call__(self, promise: object) -> object:
        self.runs.append(promise)
        await self.release.wait()
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


# --------------------------------------------------------------------------------------------------- the value


async def test_the_resolver_is_given_the_promise_itself(context: PromisingContext) -> None:
    async def resolver(promise: object) -> object:
        return promise

    promise = Promise(resolver=resolver)

    assert await promise is promise


async def test_the_resolver_runs_once_however_many_tasks_await(context: PromisingContext) -> None:
    resolver = Resolver()
    promise = Promise(resolver=resolver)
    awaiters = [asyncio.ensure_future(promise) for _ in range(20)]
    await let_others_run()

    resolver.release.set()

    assert await asyncio.gather(*awaiters) == ["value"] * 20
    assert await promise == "value"
    assert resolver.runs == [promise]


async def test_await_and_aresolve_give_the_same_object(context: PromisingContext) -> None:
    async def resolver(_: object) -> list[int]:
        return [1]

    promise = Promise(resolver=resolver)

    assert await promise is await promise.aresolve()


async def test_a_prefilled_promise_gives_its_result_without_a_task_switch(context: PromisingContext) -> None:
    promise = Promise(prefill_result=[1])
    others: list[str] = []
    other = asyncio.create_task(let_others_run())
    other.add_done_callback(lambda _: others.append("ran"))

    assert await promise == [1]
    assert promise.done()
    assert others == []
    await other


async def test_a_false_value_is_a_value(context: PromisingContext) -> None:
    async def resolver(_: object) -> int:
        return 0

    assert await Promise(resolver=resolver) == 0
    assert await Promise(prefill_result=()) == ()


async def test_a_subclass_may_override_the_resolver(context: PromisingContext) -> None:
    class Answer(Promise[int]):
        async def _resolver(self) -> int:
            return 42

    assert await Answer() == 42


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="neither a resolver nor a result"),
        pytest.param({"resolver": Resolver, "prefill_result": 1}, id="both"),
        pytest.param({"resolver": Resolver, "prefill_result": None}, id="both, the result being None"),
    ],
)
async def test_neither_or_both_of_resolver_and_result_is_refused(
    context: PromisingContext, settings: dict[str, object]
) -> None:
    with pytest.raises(PromisingError, match="resolver.*prefill_result"):
        Promise(**settings)


def test_a_promise_without_a_context_says_how_to_get_one() -> None:
    with pytest.raises(NoActiveContextError, match=r"PromisingContext\(\)"):
        Promise(resolver=Resolver)


async def test_an_ordinary_function_as_resolver_fails_the_reader_and_never_hangs(context: PromisingContext) -> None:
    promise = Promise(resolver=lambda _: "no coroutine")

    with pytest.raises(TypeError):
        await promise


# --------------------------------------------------------------------------------------------------- when it starts


async def test_an_eager_resolver_does_not_start_inside_the_constructor(context: PromisingContext) -> None:
    resolver = Resolver()

    Promise(start_asap=True, resolver=resolver)

    assert resolver.runs == []
    await asyncio.sleep(0)
    assert len(resolver.runs) == 1
    resolver.release.set()


async def test_an_eager_resolver_starts_when_a_task_created_in_its_place_would_start(context: PromisingContext) -> None:
    order: list[str] = []

    async def note(name: str) -> None:
        order.append(name)

    first = asyncio.create_task(note("first task"))
    promise = Promise(start_asap=True, resolver=lambda _: note("promise"))
    last = asyncio.create_task(note("last task"))
    await asyncio.gather(first, promise, last)

    assert order == ["first task", "promise", "last task"]


async def test_a_lazy_resolver_starts_when_it_is_first_awaited(context: PromisingContext) -> None:
    resolver = Resolver()
    resolver.release.set()
    promise = Promise(start_asap=False, resolver=resolver)

    await let_others_run()
    assert resolver.runs == []

    assert await promise == "value"
    assert await promise == "value"
    assert len(resolver.runs) == 1


async def test_looking_whether_a_lazy_promise_is_done_does_not_start_it(context: PromisingContext) -> None:
    resolver = Resolver()
    promise = Promise(start_asap=False, resolver=resolver)

    assert not promise.done()
    await let_others_run()

    assert resolver.runs == []


async def test_a_lazy_promise_that_nobody_awaits_never_starts() -> None:
    resolver = Resolver()

    async with PromisingContext():
        Promise(start_asap=False, resolver=resolver)

    assert resolver.runs == []


@pytest.mark.parametrize("by_default", [True, False], ids=["eager", "lazy"])
async def test_whether_a_promise_starts_at_once_is_by_default_what_the_context_says(by_default: bool) -> None:
    resolver = Resolver()
    resolver.release.set()

    async with PromisingContext(start_everything_asap_by_default=by_default):
        promise = Promise(resolver=resolver)
        await let_others_run()

        assert promise.done() is by_default
        assert len(resolver.runs) == by_default


# --------------------------------------------------------------------------------------------------- errors


async def test_every_awaiter_gets_the_very_same_exception_instance(context: PromisingContext) -> None:
    error = SomeError("broken")
    resolver = Resolver(error)
    promise = Promise(resolver=resolver)
    awaiters = [asyncio.ensure_future(error_of(promise)) for _ in range(5)]
    await let_others_run()

    resolver.release.set()

    assert all(caught is error for caught in await asyncio.gather(*awaiters))
    assert await error_of(promise) is error
    assert await error_of(promise.aresolve()) is error
    assert len(resolver.runs) == 1


async def test_the_traceback_of_an_error_does_not_grow_over_200_raises(context: PromisingContext) -> None:
    async def resolver(_: object) -> None:
        raise SomeError("broken")

    promise = Promise(resolver=resolver)
    lengths: list[int] = []
    for _ in range(200):
        error = await error_of(promise)
        lengths.append(len(traceback.extract_tb(error.__traceback__)))

    assert len(set(lengths)) == 1


async def test_the_traceback_shows_where_the_error_was_born(context: PromisingContext) -> None:
    def deep_inside() -> None:
        raise SomeError("broken")

    async def resolver(_: object) -> None:
        deep_inside()

    promise = Promise(resolver=resolver)
    await error_of(promise)
    error = await error_of(promise)

    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-2:] == ["resolver", "deep_inside"]


async def test_the_traceback_of_an_error_holds_on_to_no_earlier_reader(context: PromisingContext) -> None:
    class Treasure:
        pass

    async def resolver(_: object) -> None:
        raise SomeError("broken")

    promise = Promise(resolver=resolver)

    async def reader() -> "weakref.ref[Treasure]":
        treasure = Treasure()
        try:
            await promise
        except SomeError:
            return weakref.ref(treasure)
        raise AssertionError("no error came")

    treasure = await reader()
    await error_of(promise)
    gc.collect()

    assert treasure() is None


@pytest.mark.parametrize("stop", [StopIteration("x"), StopAsyncIteration("x")], ids=lambda stop: type(stop).__name__)
async def test_a_stop_signal_of_an_iterator_comes_out_wrapped_in_a_runtime_error(
    context: PromisingContext, stop: Exception
) -> None:
    class Awaitable:
        """As only a plain awaitable can: Python itself wraps what leaves a coroutine."""

        def __await__(self):
            raise stop
            yield

    promise = Promise(resolver=lambda _: Awaitable())

    with pytest.raises(RuntimeError, match=type(stop).__name__) as caught:
        await promise
    assert await error_of(promise) is caught.value


async def test_a_cancelled_error_raised_in_a_resolver_is_never_the_stored_result(context: PromisingContext) -> None:
    async def resolver(_: object) -> None:
        raise asyncio.CancelledError

    promise = Promise(resolver=resolver)

    for _ in range(2):
        with pytest.raises(PromiseCancelledError):
            await promise
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("exit_class", [KeyboardInterrupt, SystemExit, GeneratorExit, SomeExit])
async def test_an_exit_raised_in_a_resolver_reaches_every_reader_like_any_error(
    context: PromisingContext, exit_class: type[BaseException]
) -> None:
    exit_ = exit_class("exit")
    resolver = Resolver(exit_)
    promise = Promise(resolver=resolver)
    early_reader = asyncio.create_task(error_of(promise))
    await let_others_run()
    assert not early_reader.done()

    resolver.release.set()

    assert await early_reader is exit_
    assert await error_of(promise) is exit_


async def test_an_error_does_not_disturb_other_promises(context: PromisingContext) -> None:
    async def fail(_: object) -> None:
        raise SomeError

    async def succeed(_: object) -> str:
        return "fine"

    failing, fine = Promise(resolver=fail), Promise(resolver=succeed)

    assert isinstance(await error_of(failing), SomeError)
    assert await fine == "fine"


# --------------------------------------------------------------------------------------------------- done


async def test_done_is_true_as_soon_as_awaiting_would_not_wait(context: PromisingContext) -> None:
    for result in ("value", SomeError()):
        resolver = Resolver(result)
        promise = Promise(resolver=resolver)
        await let_others_run()
        assert promise.done() is False

        resolver.release.set()
        await error_of(promise) if isinstance(result, Exception) else await promise

        assert promise.done() is True


# --------------------------------------------------------------------------------------------------- costs


async def test_a_promise_that_succeeded_leaves_no_cyclic_garbage(context: PromisingContext) -> None:
    async def resolver(_: object) -> str:
        return "value"

    async def use_promises(count: int) -> None:
        for start_asap in (True, False):
            for _ in range(count):
                assert await Promise(start_asap=start_asap, resolver=resolver) == "value"
        await let_others_run()

    await use_promises(3)
    gc.collect()
    gc.disable()
    try:
        await use_promises(50)
        found = gc.collect()
    finally:
        gc.enable()

    assert found < 10, f"{found} unreachable objects after 100 promises"
