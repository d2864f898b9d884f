"""Waits that cannot end are told within a second, and others only on the log or when one asks."""

import asyncio
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, MiniAgentsError, miniagent
from miniagents.errors import DeadlockError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


async def several_task_switches() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# -- waiting for oneself -------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
async def test_waiting_for_ones_own_replies_is_an_error(mini_agents: MiniAgents) -> None:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        with pytest.raises(DeadlockError, match="AGENT") as caught:
            await box[0]
        ctx.reply(str(type(caught.value).__name__))

    loop = asyncio.get_running_loop()
    began = loop.time()
    box.append(agent.inquire())

    assert await texts(box[0]) == ["DeadlockError"]
    assert loop.time() - began <= 1


@pytest.mark.virtual_clock
async def test_an_agent_whose_subtask_is_its_own_reply_is_told(mini_agents: MiniAgents) -> None:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.wait_for(box[0])

    box.append(agent.inquire())

    with pytest.raises(DeadlockError, match="AGENT"):
        await box[0]


# -- circles -------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
@pytest.mark.allow_errors_in_log("the second agent fails too, and nobody reads its replies")
async def test_two_agents_that_wait_for_each_other_are_told(mini_agents: MiniAgents) -> None:
    calls: list[Any] = []

    async def wait_for_the_other(ctx: InteractionContext, number: int) -> None:
        await asyncio.sleep(0)
        ctx.reply(await calls[1 - number])

    first, second = miniagent(alias="FIRST")(wait_for_the_other), miniagent(alias="SECOND")(wait_for_the_other)
    calls += [first.inquire(number=0), second.inquire(number=1)]

    with pytest.raises(DeadlockError) as caught:
        await calls[0]

    assert "FIRST" in str(caught.value)
    assert "SECOND" in str(caught.value)
    assert asyncio.get_running_loop().time() <= 1


async def reply_ones_own_replies() -> Any:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("before")
        ctx.reply(box[0])

    box.append(agent.inquire())
    return box[0]


async def reply_each_others_replies() -> Any:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext, other: int) -> None:
        ctx.reply(["before", [box[other]]])

    box += [agent.inquire(other=1), agent.inquire(other=0)]
    return box[0]


async def send_a_call_its_own_replies() -> Any:
    @miniagent
    async def forwarder(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    call = forwarder.initiate_inquiry()
    return call.send_message(call.reply_sequence(close_request_sequence=False)).reply_sequence()


async def append_a_sequence_to_itself() -> Any:
    sequence = MessageSequence()
    assert sequence.message_appender is not None
    with sequence.message_appender as appender:
        appender.append(["before", sequence.sequence_promise])
    return sequence.sequence_promise


@pytest.mark.parametrize(
    "make_circle",
    [reply_ones_own_replies, reply_each_others_replies, send_a_call_its_own_replies, append_a_sequence_to_itself],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize("how", ["await", "iterate", "join"])
@pytest.mark.virtual_clock
@pytest.mark.timeout(5)  # A reader that goes round and round takes memory all the time.
async def test_replies_that_contain_themselves_are_an_error(
    how: str, make_circle: Any, mini_agents: MiniAgents
) -> None:
    with pytest.raises(MiniAgentsError):
        sequence = await make_circle()
        match how:
            case "await":
                await sequence
            case "join":
                await sequence.as_single_promise()
            case _:
                async for _ in sequence:
                    pass

    assert asyncio.get_running_loop().time() <= 1


# -- who waits -----------------------------------------------------------------------------------------------------------


async def test_one_can_ask_who_waits_for_whom(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    @miniagent
    async def inner_agent(ctx: InteractionContext) -> None:
        await release.wait()

    @miniagent
    async def outer_agent(ctx: InteractionContext) -> None:
        await inner_agent.inquire()

    replies = outer_agent.inquire()
    await several_task_switches()
    text = mini_agents.who_waits()

    assert "OUTER_AGENT" in text
    assert "INNER_AGENT" in text
    release.set()
    await replies


@pytest.mark.virtual_clock
@pytest.mark.mini_agents(stall_report_s=30)
async def test_a_wait_for_something_that_is_not_ours_is_reported_and_never_an_error(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    @miniagent
    async def waiting_agent(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("at last")

    reading = asyncio.create_task(texts(waiting_agent.inquire()))
    await asyncio.sleep(25)
    assert caplog.text == ""
    await asyncio.sleep(1000)
    assert "WAITING_AGENT" in caplog.text
    assert len(caplog.records) == 1

    release.set()
    assert await reading == ["at last"]


@pytest.mark.virtual_clock
async def test_a_wait_for_a_person_is_not_reported(mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture) -> None:
    answered = asyncio.Event()

    @miniagent
    async def person(ctx: InteractionContext) -> None:
        with mini_agents.waits_for_outside("a person who types"):
            await answered.wait()
        ctx.reply("typed")

    reading = asyncio.create_task(texts(person.inquire()))
    await asyncio.sleep(1000)

    assert caplog.text == ""
    assert "a person who types" in mini_agents.who_waits()
    answered.set()
    assert await reading == ["typed"]


@pytest.mark.timeout(5)  # As above.
async def test_replies_that_contain_themselves_are_recorded_and_can_be_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorded: list[str] = []

    async def record(_: Any, message: Message) -> None:
        recorded.append(message.class_)

    async with MiniAgents(background_errors="log", on_persist_message=record):
        first = await reply_ones_own_replies()
        await several_task_switches()
        first.cancel()
        second = await reply_each_others_replies()
        await several_task_switches()
        second.cancel()
        assert first.done()
        assert second.done()

    assert recorded.count("AgentCallNode") == recorded.count("AgentReplyNode") == 3
