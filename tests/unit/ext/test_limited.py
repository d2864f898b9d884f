"""Any agent within limits: it stays the agent that it is, and runs only so many times at once."""

import asyncio
import re
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import UnknownSettingError
from miniagents.ext import Retry, limited
from miniagents.ext.llms import AssistantMessage, Script, ScriptedAgent
from miniagents.ext.llms.errors import OverloadedError
from tests.unit.ext.controlled_agents import Doors, model_of, settle, texts

AT_ONCE = Retry(wait_s=0)


# -------------------------------------------------------------------------------------------------- the agent itself


async def test_without_limits_it_is_the_same_agent(mini_agents: MiniAgents) -> None:
    @miniagent(description="Repeats what {AGENT_ALIAS} hears.", interaction_metadata={"team": "a"})
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    same = limited(echo)

    assert (same.alias, same.description) == ("ECHO", "Repeats what ECHO hears.")
    assert same.interaction_metadata == echo.interaction_metadata
    assert await texts(same.inquire(["a", "b"])) == ["a", "b"]


async def test_messages_are_those_of_the_agent_inside(mini_agents: MiniAgents) -> None:
    promises = [Message.promise("a"), Message.promise("b")]

    @miniagent
    async def answers(ctx: InteractionContext) -> None:
        ctx.reply(promises)

    assert [promise async for promise in limited(answers, max_concurrency=1, retry=Retry()).inquire()] == promises


async def test_settings_of_forks_and_calls_go_on_to_the_agent_inside(mini_agents: MiniAgents) -> None:
    seen: list[Any] = []

    @miniagent(greeting="Hi")
    async def greeter(ctx: InteractionContext, greeting: str, name: str, log: list[str] | None = None) -> None:
        seen.append(ctx.this_agent.alias)
        if log is not None:
            log.append(name)
        ctx.reply(f"{greeting}, {name}!")

    log: list[str] = []
    careful = limited(greeter, max_concurrency=2).fork(alias="CAREFUL", name="Ann", mutable_state={"log": log})

    assert await texts(careful.inquire()) == ["Hi, Ann!"]
    assert await texts(careful.inquire(greeting="Bye", name="Bob")) == ["Bye, Bob!"]
    assert log == ["Ann", "Bob"]
    assert seen == ["CAREFUL", "CAREFUL"]


async def test_settings_that_it_does_not_take_are_refused_as_by_the_agent_inside(mini_agents: MiniAgents) -> None:
    @miniagent
    async def greeter(ctx: InteractionContext, name: str) -> None: ...

    careful = limited(greeter)

    with pytest.raises(UnknownSettingError, match="`GREETER` does not take `colour`. It takes `name`."):
        careful.fork(colour="red")
    with pytest.raises(UnknownSettingError, match="`GREETER` needs `name`"):
        careful.inquire()


async def test_an_agent_that_is_a_class_can_be_limited(mini_agents: MiniAgents) -> None:
    script = Script("Hello!")
    model = limited(ScriptedAgent.fork(script=script), max_concurrency=1, timeout_s=5, retry=Retry())

    (message,) = await model.inquire("Hi", system="Be brief.")

    assert isinstance(message, AssistantMessage)
    assert str(message) == "Hello!"
    assert script.prompts[0].system == "Be brief."


async def test_limits_can_be_put_around_each_other(mini_agents: MiniAgents) -> None:
    inner = limited(model_of(OverloadedError("busy"), "Hello!"), retry=AT_ONCE)

    assert await texts(limited(limited(inner, timeout_s=5), max_concurrency=1).inquire("Hi")) == ["Hello!"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_concurrency": 0}, "`max_concurrency=0` makes no sense; it is 1 or more."),
        ({"timeout_s": 0}, "`timeout_s=0` makes no sense; it is more than 0 seconds."),
    ],
    ids=["max_concurrency", "timeout_s"],
)
def test_a_limit_out_of_its_range_is_refused(settings: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        limited(ScriptedAgent, **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_concurrency": 1.5}, "`max_concurrency=1.5` is not a whole number; it is 1 or more."),
        ({"max_concurrency": "2"}, "`max_concurrency='2'` is not a whole number; it is 1 or more."),
        ({"max_concurrency": True}, "`max_concurrency=True` is not a whole number"),
        ({"timeout_s": "5"}, "`timeout_s='5'` is not a number; it is more than 0 seconds."),
        ({"timeout_s": True}, "`timeout_s=True` is not a number"),
        ({"retry": 3}, "`retry=3` is no `Retry`: write `retry=Retry(attempts=3)`."),
        ({"retry": True}, "`retry=True` is no `Retry`: write `retry=Retry()`."),
        ({"retry": Retry}, "`retry=<class 'miniagents.ext.limited.Retry'>` is no `Retry`: write `retry=Retry()`."),
    ],
    ids=["part of a call", "text", "flag", "text as time", "flag as time", "number of attempts", "yes", "class"],
)
def test_a_limit_of_the_wrong_type_is_refused_when_the_agent_is_made(settings: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        limited(ScriptedAgent, **settings)


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(TypeError, match="`limited` takes an agent"):
        limited(len)  # type: ignore


# -------------------------------------------------------------------------------------------------- max_concurrency


async def test_no_more_than_so_many_calls_run_at_once_first_come_first_served(mini_agents: MiniAgents) -> None:
    doors = Doors()
    agent = limited(doors.agent, max_concurrency=2)

    calls = {name: agent.inquire(name) for name in "abcde"}
    await settle()
    assert doors.inside == ["a", "b"]

    doors.doors["b"].set()
    await settle()
    assert doors.inside == ["a", "c"]

    for name in "acde":
        await settle()
        doors.doors[name].set()
    for call in calls.values():
        assert await texts(call) == ["in out"]
    assert doors.begun == ["a", "b", "c", "d", "e"]


async def test_forks_share_the_limit(mini_agents: MiniAgents) -> None:
    doors = Doors()
    agent = limited(doors.agent, max_concurrency=1)

    calls = [agent.inquire("a"), agent.fork(alias="OTHER").inquire("b")]
    await settle()
    assert doors.inside == ["a"]

    doors.doors["a"].set()
    await settle()
    doors.doors["b"].set()
    assert [await texts(call) for call in calls] == [["in out"], ["in out"]]


async def test_a_slot_is_free_when_the_last_token_is_there_not_before(mini_agents: MiniAgents) -> None:
    end = asyncio.Event()

    @miniagent
    async def streams_on(ctx: InteractionContext) -> None:
        async def tokens(_: object) -> Any:
            yield "a"
            await end.wait()

        # The agent's function ends here, while its message goes on.
        ctx.reply(Message.promise(message_token_streamer=tokens))

    agent = limited(streams_on, max_concurrency=1)
    first, second = agent.inquire(), agent.inquire()
    reading = asyncio.ensure_future(anext(aiter(second)))
    await settle()
    assert not reading.done()

    end.set()
    await reading
    assert await texts(first) == await texts(second) == ["a"]


async def test_who_is_cancelled_while_waiting_leaves_no_hole(mini_agents: MiniAgents) -> None:
    doors = Doors()
    agent = limited(doors.agent, max_concurrency=1)
    calls = {name: agent.inquire(name) for name in "abc"}
    await settle()

    calls["b"].cancel()
    await settle()
    doors.doors["a"].set()
    await settle()

    assert doors.begun == ["a", "c"]
    doors.doors["c"].set()
    assert await texts(calls["c"]) == ["in out"]


@pytest.mark.parametrize("timeout_s", [None, 60], ids=["no timeout", "timeout"])
async def test_a_call_that_is_cancelled_or_fails_frees_its_slot(mini_agents: MiniAgents, timeout_s: Any) -> None:
    doors = Doors()

    @miniagent
    async def fails(ctx: InteractionContext, how: str = "") -> None:
        if how == "raise":
            raise ValueError("no")
        ctx.reply(doors.agent.inquire("door"))

    agent = limited(fails, max_concurrency=1, timeout_s=timeout_s)
    running, failing_one, last = agent.inquire(), agent.inquire(how="raise"), agent.inquire()
    await settle()
    assert doors.inside == ["door"]

    running.cancel()
    with pytest.raises(ValueError, match="no"):
        await failing_one
    await settle()

    assert doors.begun == ["door", "door"]
    assert doors.inside == ["door"]
    doors.doors["door"].set()
    assert await texts(last) == ["in out"]


def test_one_limited_agent_serves_one_program_after_another() -> None:
    doors: list[Doors] = []

    @miniagent
    async def passes_on(ctx: InteractionContext) -> None:
        ctx.reply(doors[-1].agent.inquire(ctx.message_promises))

    agent = limited(passes_on, max_concurrency=1)

    async def program() -> list[list[str]]:
        doors.append(Doors())
        calls = [agent.inquire(name) for name in "ab"]
        await settle()
        assert doors[-1].inside == ["a"]
        doors[-1].doors["a"].set()
        await settle()
        doors[-1].doors["b"].set()
        return [await texts(call) for call in calls]

    for _ in range(2):
        assert MiniAgents().run(program()) == [["in out"], ["in out"]]
