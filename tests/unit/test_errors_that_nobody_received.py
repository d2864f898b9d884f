"""Who hears of the error of an agent when nobody reads, and how it looks on the log."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from tests.unit import failing_agents
from tests.unit.failing_agents import BrokenError, errors_logged, failing, forwarder_of


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


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
    assert failing_agents.__file__ in reduced
    assert "miniagents/interaction.py" in full


async def test_logger_and_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("a.logger.of.ones.own")
    async with MiniAgents(background_errors="log", logger=logger, log_level_for_errors=logging.WARNING):
        failing.kick_off()

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("a.logger.of.ones.own", logging.WARNING)
