"""Every error of this package, read as a user: it names the value that is wrong, and the fix."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, miniagent
from miniagents.errors import (
    AppenderClosedError,
    AppenderNotOpenError,
    CallFinishedError,
    ContextAlreadyActiveError,
    DeadlockError,
    FunctionNotProvidedError,
    LoopIsRunningError,
    MissingExtraError,
    NoActiveContextError,
    NoRunningLoopError,
    NotAMessageError,
    NotAnAgentError,
    PromiseCancelledError,
    SyncWithError,
    UnknownSettingError,
    WrongActiveContextError,
    WrongThreadError,
)
from miniagents.promising.errors import PromisingError
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise


@miniagent
async def my_agent(ctx: InteractionContext, k: int = 0) -> None:
    ctx.reply(ctx.message_promises)


async def append_before_opening() -> None:
    StreamAppender[str]().append("a")


async def stream_of_an_unopened_appender() -> None:
    StreamedPromise(streamer=StreamAppender[str]())


async def append_after_closing() -> None:
    with StreamAppender[str]() as appender:
        pass
    appender.append("a")


async def open_again() -> None:
    with StreamAppender[str]() as appender:
        pass
    appender.open()


async def append_from_another_thread() -> None:
    caught: list[BaseException] = []
    with StreamAppender[str]() as appender:

        def append() -> None:
            try:
                appender.append("a")
            except WrongThreadError as error:
                caught.append(error)

        thread = threading.Thread(target=append)
        thread.start()
        thread.join()
    raise caught[0]


async def promise_of_nothing() -> None:
    Promise[int]()


async def promise_with_two_sources() -> None:
    async def resolver(_: Any) -> int:
        return 1

    Promise(resolver=resolver, prefill_result=2)


async def stream_of_nothing() -> None:
    StreamedPromise[int, Any]()


async def streamer_that_is_no_iterator() -> None:
    def streamer(_: Any) -> Any:
        return ["a"]

    async for _ in StreamedPromise(streamer=streamer):
        pass


async def activate_twice() -> None:
    MiniAgents.get_current().activate()


async def plain_with() -> None:
    with MiniAgents():  # pyright: ignore
        pass


async def wrong_context() -> None:
    async with PromisingContext():
        my_agent.inquire()


async def run_in_a_running_loop() -> None:
    async def main() -> None: ...

    MiniAgents().run(main())


async def run_from_the_loops_own_thread() -> None:
    MiniAgents.get_current().run_from_thread(my_agent.inquire)


async def run_from_thread_without_a_loop() -> None:
    await asyncio.to_thread(MiniAgents().run_from_thread, my_agent.inquire)


async def context_of_an_agent_outside_of_one() -> None:
    InteractionContext.get_current()


async def send_after_finishing() -> None:
    my_agent.initiate_inquiry().finish().send_message("late")


async def reply_after_the_end() -> None:
    contexts: list[InteractionContext] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        contexts.append(ctx)

    await agent.inquire()
    contexts[0].reply("late")


async def read_what_was_cancelled() -> None:
    replies = my_agent.inquire()
    replies.cancel()
    await replies


async def cancel_with_a_reason() -> None:
    replies = my_agent.inquire()
    replies.cancel("the user went away")
    await replies


async def send_a_number() -> None:
    my_agent.inquire(42)


async def send_a_coroutine() -> None:
    my_agent.inquire(send_a_number())


async def send_a_task() -> None:
    my_agent.inquire(asyncio.get_running_loop().create_future())


async def send_bytes() -> None:
    my_agent.inquire(b"text")


async def call_like_a_function() -> None:
    my_agent("hi")


async def unknown_setting() -> None:
    my_agent.inquire(kk=1)


async def missing_setting() -> None:
    @miniagent
    async def agent(ctx: InteractionContext, needed: str) -> None: ...

    agent.inquire()


async def setting_that_cannot_be_frozen() -> None:
    my_agent.inquire(k={1, 2})


async def unknown_context_setting() -> None:
    MiniAgents(joural="sqlite:///runs.db")


async def plain_function_as_an_agent() -> None:
    def plain(ctx: InteractionContext) -> None: ...

    miniagent(plain)


async def generator_as_an_agent() -> None:
    async def generator(ctx: InteractionContext) -> AsyncIterator[str]:
        yield "a"

    miniagent(generator)


async def class_without_call_as_an_agent() -> None:
    class Agent: ...

    miniagent(Agent)


async def reserved_name() -> None:
    async def agent(ctx: InteractionContext, messages: list[str]) -> None: ...

    miniagent(agent)


async def content_and_streamer() -> None:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "a"

    Message.promise("text", message_token_streamer=streamer)


async def plain_handler() -> None:
    def handler(_: Any, message: Message) -> None: ...

    MiniAgents(on_persist_message=handler)  # pyright: ignore


async def field_that_cannot_be_frozen() -> None:
    Message("a", attachment=object())


async def bad_read_ahead() -> None:
    MiniAgents(read_ahead_by_default=-1)


async def bad_background_errors() -> None:
    MiniAgents(background_errors="swallow")  # pyright: ignore


async def missing_package() -> None:
    raise MissingExtraError(package="openai", extra="openai", purpose="`OpenAIAgent`")


Case = tuple[Callable[[], Awaitable[None]], type[BaseException], list[str]]


CASES: list[Case] = [
    (append_before_opening, AppenderNotOpenError, ["StreamAppender", "with StreamAppender() as", "open()"]),
    (stream_of_an_unopened_appender, AppenderNotOpenError, ["StreamAppender", "open()"]),
    (append_after_closing, AppenderClosedError, ["append", "StreamAppender", "closed", "close()"]),
    (open_again, AppenderClosedError, ["open", "make a new `StreamAppender`"]),
    (append_from_another_thread, WrongThreadError, ["append", "run_from_thread"]),
    (promise_of_nothing, FunctionNotProvidedError, ["`Promise`", "resolver=", "prefill_result="]),
    (promise_with_two_sources, FunctionNotProvidedError, ["`Promise`", "either", "2"]),
    (stream_of_nothing, FunctionNotProvidedError, ["`StreamedPromise`", "streamer=", "prefill_pieces="]),
    (streamer_that_is_no_iterator, TypeError, ["['a']", "async def streamer"]),
    (activate_twice, ContextAlreadyActiveError, ["`MiniAgents`", "active already", "afinalize()"]),
    (plain_with, SyncWithError, ["`async with MiniAgents():`"]),
    (wrong_context, WrongActiveContextError, ["`MiniAgents`", "`PromisingContext`", "async with MiniAgents():"]),
    (run_in_a_running_loop, LoopIsRunningError, ["MiniAgents().run(...)", "await MiniAgents().arun(...)"]),
    (run_from_the_loops_own_thread, LoopIsRunningError, ["run_from_thread()", "directly"]),
    (run_from_thread_without_a_loop, NoRunningLoopError, ["inquire", "run"]),
    (context_of_an_agent_outside_of_one, NoActiveContextError, ["InteractionContext", "agent"]),
    (send_after_finishing, CallFinishedError, ["`MY_AGENT`", "close_request_sequence=False"]),
    (reply_after_the_end, AppenderClosedError, ["AGENT", "reply"]),
    (read_what_was_cancelled, PromiseCancelledError, ["cancelled"]),
    (cancel_with_a_reason, PromiseCancelledError, ["the user went away"]),
    (send_a_number, NotAMessageError, ["42", "`int`", "str(42)", "Allowed"]),
    (send_a_coroutine, NotAMessageError, ["send_a_number", "`coroutine`", "forget to `await`"]),
    (send_a_task, NotAMessageError, ["Future", "Await it"]),
    (send_bytes, NotAMessageError, ["b'text'", "`bytes`", "decode()"]),
    (call_like_a_function, TypeError, ["`MY_AGENT`", "inquire(messages)", "kick_off(messages)"]),
    (unknown_setting, UnknownSettingError, ["`MY_AGENT`", "`kk`", "`k`"]),
    (missing_setting, UnknownSettingError, ["`AGENT`", "`needed`", "fork(needed=...)"]),
    (setting_that_cannot_be_frozen, ValueError, ["`k`", "{1, 2}", "mutable_state"]),
    (unknown_context_setting, UnknownSettingError, ["`joural`", "sqlite:///runs.db"]),
    (plain_function_as_an_agent, NotAnAgentError, ["plain", "async def plain(ctx: InteractionContext)"]),
    (generator_as_an_agent, NotAnAgentError, ["`generator`", "ctx.reply(...)", "yield"]),
    (class_without_call_as_an_agent, NotAnAgentError, ["`Agent`", "async def __call__(self)"]),
    (reserved_name, NotAnAgentError, ["`agent`", "`messages`", "another name"]),
    (content_and_streamer, ValueError, ["'text'", "message_token_streamer"]),
    (plain_handler, TypeError, ["on_persist_message", "async def handler"]),
    (field_that_cannot_be_frozen, ValueError, ["`attachment`", "object", "Allowed"]),
    (bad_read_ahead, ValueError, ["read_ahead_by_default", "-1"]),
    (bad_background_errors, ValueError, ["background_errors", "'swallow'", "'raise'", "'log'"]),
    (missing_package, MissingExtraError, ["`OpenAIAgent`", "pip install openai", 'pip install "miniagents[openai]"']),
]


@pytest.mark.parametrize(("mistake", "kind", "parts"), CASES, ids=[case[0].__name__ for case in CASES])
@pytest.mark.allow_blocking("a thread is joined, which makes its mistake in no time")
async def test_the_error_names_what_is_wrong_and_the_fix(
    mistake: Callable[[], Awaitable[None]], kind: type[BaseException], parts: list[str], mini_agents: MiniAgents
) -> None:
    with pytest.raises(kind) as caught:
        await mistake()

    text = str(caught.value)
    assert [part for part in parts if part not in text] == []
    # It is a sentence: no empty places, no doubled spaces, a full stop at the end. (pydantic wraps ours in several lines.)
    assert "None" not in text.replace("`None`", "").replace("-> None", "")
    if isinstance(caught.value, PromisingError) and mistake is not cancel_with_a_reason:
        assert "  " not in text
        assert text[0].isupper() or text[0] in "`<0123456789b"
        assert text.endswith(".")


@pytest.mark.parametrize("method", ["inquire", "kick_off", "initiate_inquiry"])
async def test_a_call_without_a_context_says_three_ways_to_get_one(method: str) -> None:
    with pytest.raises(NoActiveContextError) as caught:
        getattr(my_agent, method)()

    for part in ("`MiniAgents`", "MiniAgents().run(main())", "async with MiniAgents():", "MiniAgents().activate()"):
        assert part in str(caught.value)


def test_the_context_outside_of_an_agent_is_not_to_be_entered_by_hand() -> None:
    # One cannot open an `InteractionContext`; the advice must be another one.
    with pytest.raises(NoActiveContextError) as caught:
        InteractionContext.get_current()

    assert "InteractionContext().run" not in str(caught.value)
    assert "async with InteractionContext()" not in str(caught.value)


def test_a_promise_without_a_loop_says_where_it_belongs() -> None:
    context = MiniAgents().activate()
    try:
        with pytest.raises(NoRunningLoopError, match=r"MiniAgents\(\)\.run\(main\(\)\)"):
            my_agent.inquire("hi")
    finally:
        asyncio.run(context.afinalize())


def test_run_without_a_coroutine_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match=r"main\(\)") as caught:
        MiniAgents().run(42)  # pyright: ignore

    caught.match("42")


@pytest.mark.virtual_clock
async def test_a_deadlock_names_who_waits_for_whom_and_what_mends_it(mini_agents: MiniAgents) -> None:
    call = my_agent.initiate_inquiry()
    replies = call.reply_sequence(close_request_sequence=False)

    with pytest.raises(DeadlockError) as caught:
        await replies

    text = str(caught.value)
    assert "`MY_AGENT`" in text
    assert "finish()" in text
    call.finish()


@pytest.mark.virtual_clock
async def test_an_appender_that_nobody_will_close_is_named(mini_agents: MiniAgents) -> None:
    sequence = MessageSequence()
    assert sequence.message_appender is not None

    async def write_and_forget() -> None:
        assert sequence.message_appender is not None
        sequence.message_appender.open()
        sequence.message_appender.append("a")
        sequence.message_appender = None

    promise = sequence.sequence_promise
    await asyncio.create_task(write_and_forget())
    with pytest.raises(DeadlockError) as caught:
        await promise

    assert "close()" in str(caught.value)
