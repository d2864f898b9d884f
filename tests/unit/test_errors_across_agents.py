"""Where the error of an agent arrives, and that it is silent when somebody handles it."""

import asyncio
import gc
import sys
import traceback
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from tests.unit.failing_agents import BrokenError, errors_logged, failing, forwarder_of


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


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
