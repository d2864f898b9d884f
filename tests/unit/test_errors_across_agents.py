"""Where the error of an agent arrives, who hears of it when nobody reads, and how it looks on the log."""

import asyncio
import gc
import logging
import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class BrokenError(Exception):
    """What the agents here fail with."""


@miniagent
async def failing(ctx: InteractionContext, text: str = "broken") -> None:
    ctx.reply("before")
    raise BrokenError(text)


def forwarder_of(inner: MiniAgent, alias: str) -> MiniAgent:
    @miniagent(alias=alias)
    async def forwarder(ctx: InteractionContext) -> None:
        ctx.reply([f"{alias} in", inner.inquire(), f"{alias} out"])

    return forwarder


async def pieces_of(sequence: Any) -> list[str]:
    pieces: list[str] = []
    reader = aiter(sequence)
    while True:
        try:
            pieces.append(str(await (await anext(reader))))
        except StopAsyncIteration:
            return pieces
        except Exception as error:
            pieces.append(repr(error))


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# -- to whoever reads ----------------------------------------------------------------------------------------------------


async def test_an_error_reaches_whoever_reads_after_the_messages_before_it(mini_agents: MiniAgents) -> None:
    replies = failing.inquire()

    for _ in range(2):
        assert await pieces_of(replies) == ["before", "BrokenError('broken')"]
    with pytest.raises(BrokenError, match="broken"):
        await replies


@pytest.mark.parametrize("depth", [1, 10, 100])
async def test_an_error_crosses_any_number_of_agents_at_its_place(depth: int, mini_agents: MiniAgents) -> None:
    agent = failing
    for number in range(depth):
        agent = forwarder_of(agent, f"F{number}")

    pieces = await pieces_of(agent.inquire())

    names = [f"F{number}" for number in range(depth)]
    assert pieces == [
        *(f"{name} in" for name in reversed(names)),
        "before",
        "BrokenError('broken')",
        *(f"{name} out" for name in names),
    ]


async def test_an_agent_that_awaits_a_failing_one_fails_with_the_same_error(mini_agents: MiniAgents) -> None:
    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply("outer")
        await failing.inquire()

    replies = outer.inquire()

    assert await pieces_of(replies) == ["outer", "BrokenError('broken')"]


async def test_an_agent_may_handle_the_error_of_another(mini_agents: MiniAgents) -> None:
    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        try:
            await failing.inquire()
        except BrokenError as error:
            ctx.reply(f"handled: {error}")

    assert await texts(careful.inquire()) == ["handled: broken"]


async def test_every_reader_gets_the_same_instance_and_its_traceback_does_not_grow(mini_agents: MiniAgents) -> None:
    replies = failing.inquire()
    errors: list[BaseException] = []
    lengths: list[int] = []
    for _ in range(50):
        try:
            await replies
        except BrokenError as error:
            errors.append(error)
            lengths.append(len(traceback.extract_tb(error.__traceback__)))

    assert len(set(map(id, errors))) == 1
    assert len(set(lengths)) == 1
    assert "raise BrokenError(text)" in "".join(traceback.format_exception(errors[0]))


async def test_an_error_of_the_input_reaches_the_agent_that_reads_it(mini_agents: MiniAgents) -> None:
    @miniagent
    async def reader(ctx: InteractionContext) -> None:
        ctx.reply(await pieces_of(ctx.message_promises))

    assert await texts(reader.inquire(["a", failing.inquire(), "b"])) == ["a", "before", "BrokenError('broken')", "b"]


async def test_an_error_in_the_constructor_of_a_class_agent_is_an_error_of_the_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    class Agent:
        def __init__(self, ctx: InteractionContext) -> None:
            raise BrokenError("constructor")

        async def __call__(self) -> None: ...

    with pytest.raises(BrokenError, match="constructor"):
        await Agent.inquire()


async def test_an_agent_that_raises_stop_iteration_neither_ends_nor_breaks_its_readers(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise StopAsyncIteration("odd")

    pieces = await pieces_of(agent.inquire())

    assert pieces[0] == "before"
    assert pieces[1].startswith("RuntimeError")


# -- handled errors are silent -------------------------------------------------------------------------------------------


async def test_an_error_that_somebody_received_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    agent = failing
    for number in range(10):
        agent = forwarder_of(agent, f"F{number}")
    async with MiniAgents():
        await pieces_of(agent.inquire())
        with pytest.raises(BrokenError):
            await failing.inquire()
        with pytest.raises(BrokenError):
            await failing.inquire().as_single_promise()
    gc.collect()

    assert errors_logged(caplog) == []


async def test_a_reader_that_left_before_the_error_has_not_received_it(caplog: pytest.LogCaptureFixture) -> None:
    async with MiniAgents():
        async for promise in failing.inquire():
            assert str(await promise) == "before"
            break

    (line,) = errors_logged(caplog)
    assert "BrokenError: broken" in line


# -- errors that nobody received -----------------------------------------------------------------------------------------


async def test_the_error_of_a_fired_agent_is_logged_at_once_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup):
        async with MiniAgents():
            failing.kick_off()
            await several_task_switches()
            (line,) = errors_logged(caplog)

    assert "\n" not in line
    assert "FAILING" in line
    assert "BrokenError: broken" in line
    assert len(errors_logged(caplog)) == 1


async def test_the_error_of_replies_that_are_dropped_is_logged_when_they_are(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup):
        async with MiniAgents():
            replies = failing.inquire()
            await several_task_switches()
            assert errors_logged(caplog) == []

            del replies
            gc.collect()
            await several_task_switches()
            assert len(errors_logged(caplog)) == 1

    assert len(errors_logged(caplog)) == 1


async def test_the_error_of_replies_that_nobody_read_is_logged_when_the_context_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ExceptionGroup):
        async with MiniAgents():
            replies = failing.inquire()

    (line,) = errors_logged(caplog)
    assert "BrokenError: broken" in line
    with pytest.raises(BrokenError):
        await replies


async def test_errors_of_calls_without_any_reader_are_raised_together_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            failing.kick_off(text="first")
            failing.inquire(text="second")

    assert [str(error) for error in caught.value.exceptions] == ["first", "second"]
    assert len(errors_logged(caplog)) == 2


def test_run_raises_them_too(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        failing.kick_off()
        return "result"

    with pytest.raises(ExceptionGroup) as caught:
        MiniAgents().run(main())

    assert [str(error) for error in caught.value.exceptions] == ["broken"]
    assert errors_logged(caplog)


async def test_finalizing_raises_them_too(caplog: pytest.LogCaptureFixture) -> None:
    context = MiniAgents().activate()
    failing.kick_off()

    with pytest.raises(ExceptionGroup):
        await context.afinalize()

    assert errors_logged(caplog)


async def test_an_error_of_the_main_function_wins_and_has_the_others_in_its_notes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ValueError, match="main") as caught:
        async with MiniAgents():
            failing.kick_off()
            await several_task_switches()
            raise ValueError("main")

    assert "BrokenError: broken" in "".join(caught.value.__notes__)
    assert errors_logged(caplog)


async def test_an_error_that_is_raised_twice_on_its_way_is_raised_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        await failing.inquire()

    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            outer.kick_off()

    assert [str(error) for error in caught.value.exceptions] == ["broken"]
    assert len(errors_logged(caplog)) == 1


async def test_an_error_that_is_forwarded_to_nobody_is_raised_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            forwarder_of(forwarder_of(failing, "INNER"), "OUTER").kick_off()

    assert [str(error) for error in caught.value.exceptions] == ["broken"]
    assert len(errors_logged(caplog)) == 1


async def test_an_exception_that_is_replied_and_never_read_is_raised_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(["a", BrokenError("replied")])

    with pytest.raises(ExceptionGroup) as caught:
        async with MiniAgents():
            agent.inquire()

    assert [str(error) for error in caught.value.exceptions] == ["replied"]
    assert len(errors_logged(caplog)) == 1


async def test_an_error_whose_reader_left_early_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    async with MiniAgents():
        replies = failing.inquire()
        assert str(await (await anext(aiter(replies)))) == "before"

    assert len(errors_logged(caplog)) == 1


async def test_a_message_that_fails_and_that_nobody_reads_is_not_silent(caplog: pytest.LogCaptureFixture) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        raise BrokenError("tokens")
        yield ""

    async with MiniAgents():
        Message.promise(message_token_streamer=tokens)
        await several_task_switches()

    (line,) = errors_logged(caplog)
    assert "BrokenError: tokens" in line


async def test_recording_counts_as_nobodys_reading(caplog: pytest.LogCaptureFixture) -> None:
    async def record(_: Any, message: Message) -> None: ...

    with pytest.raises(ExceptionGroup):
        async with MiniAgents(on_persist_message=record):
            failing.inquire()

    assert len(errors_logged(caplog)) == 1


async def test_background_errors_may_be_logged_only_with_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    async with MiniAgents(background_errors="log"):
        failing.kick_off()
        failing.inquire(text="other")

    first, second = sorted(errors_logged(caplog))
    assert "Traceback (most recent call last)" in first
    assert "raise BrokenError(text)" in first
    assert "BrokenError: other" in second


def test_an_unknown_way_of_treating_background_errors_is_refused() -> None:
    with pytest.raises(ValueError, match="'swallow'"):
        MiniAgents(background_errors="swallow")  # pyright: ignore


# -- how it looks --------------------------------------------------------------------------------------------------------


def chain_to_failing() -> MiniAgent:
    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        failing.kick_off()

    @miniagent
    async def outermost(ctx: InteractionContext) -> None:
        await middle.inquire()

    return outermost


async def test_the_log_names_the_chain_of_agents_that_led_there(caplog: pytest.LogCaptureFixture) -> None:
    async with MiniAgents(background_errors="log"):
        await chain_to_failing().inquire()

    (text,) = errors_logged(caplog)
    line = text.splitlines()[0]
    assert line.index("FAILING") < line.index("MIDDLE") < line.index("OUTERMOST")


async def test_tracebacks_on_the_log_have_no_framework_frames(caplog: pytest.LogCaptureFixture) -> None:
    async with MiniAgents(background_errors="log"):
        await chain_to_failing().inquire()
    async with MiniAgents(background_errors="log", log_reduced_tracebacks=False):
        await chain_to_failing().inquire()

    reduced, full = errors_logged(caplog)
    assert "miniagents/interaction.py" not in reduced
    assert __file__ in reduced
    assert "miniagents/interaction.py" in full


async def test_logger_and_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("a.logger.of.ones.own")
    async with MiniAgents(background_errors="log", logger=logger, log_level_for_errors=logging.WARNING):
        failing.kick_off()

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("a.logger.of.ones.own", logging.WARNING)


# -- exits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exit_error", [KeyboardInterrupt(), SystemExit(3)], ids=["Ctrl-C", "exit"])
def test_an_exit_that_nobody_reads_is_raised_bare_by_run(
    exit_error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        raise exit_error

    async def main() -> None:
        agent.kick_off()
        await several_task_switches()

    with pytest.raises(type(exit_error)) as caught:
        MiniAgents().run(main())

    assert caught.value is exit_error


def test_an_exit_reaches_its_readers_like_any_error() -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("before")
        sys.exit(3)

    async def main() -> str:
        replies = agent.inquire()
        reader = aiter(replies)
        before = str(await (await anext(reader)))
        with pytest.raises(SystemExit) as caught:
            await anext(reader)
        return f"{before}, {caught.value.code}"

    assert MiniAgents().run(main()) == "before, 3"


def test_an_exit_that_nobody_handles_is_what_run_raises() -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        sys.exit(3)

    async def main() -> None:
        await forwarder_of(agent, "OUTER").inquire()

    with pytest.raises(SystemExit) as caught:
        MiniAgents().run(main())

    assert caught.value.code == 3
