"""What tools return and yield, what goes wrong in them, and what the model is told of it."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MessageSequencePromise, MiniAgents, miniagent
from miniagents.errors import UsageLimitExceededError
from miniagents.ext.llms import ScriptedAgent
from miniagents.ext.llms.llm_messages import ImageMessage, ThinkingMessage, ToolResultMessage
from miniagents.ext.llms.tools import ToolDefinitionError, ToolError, ToolFailedError, as_tool, current_tool_call, tool
from miniagents.usage import UsageLimits
from tests.unit.ext.llms.tools.tool_calls import call, result_of, toolbox


class Place(BaseModel):
    name: str


@dataclass
class Size:
    width: int


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


# ------------------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (3, "3"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Place(name="Ulm"), '{"name":"Ulm"}'),
        ([Size(2), Decimal("1.5")], '[{"width":2},"1.5"]'),
        (Message("a message"), "a message"),
        (["one", Message("two")], "one\n\ntwo"),
    ],
    ids=str,
)
async def test_a_result_becomes_text(value: Any, text: str, mini_agents: MiniAgents) -> None:
    def look() -> Any:
        return value

    result = await result_of(toolbox(look), "look")

    assert isinstance(result, ToolResultMessage)
    assert (str(result), result.is_error, result.role, result.tool_name) == (text, False, "tool", "look")


async def test_pictures_go_beside_the_text(mini_agents: MiniAgents) -> None:
    picture = ImageMessage(data=b"png", media_type="image/png")

    async def draw() -> list[Any]:
        return ["This is it:", picture]

    result = await result_of(toolbox(draw), "draw")

    assert str(result) == "This is it:"
    assert result.media == (picture,)


async def test_what_an_async_generator_yields_streams_into_the_result(mini_agents: MiniAgents) -> None:
    go_on = asyncio.Event()

    async def count(to: int) -> AsyncIterator[str]:
        for number in range(to):
            yield str(number)
            await go_on.wait()

    (promise,) = toolbox(count).run([call("count", '{"to": 3}')])
    tokens = aiter(promise)

    assert await anext(tokens) == "0"
    assert not promise.done()
    go_on.set()
    assert [token async for token in tokens] == ["1", "2"]
    assert str(await promise) == "012"


async def test_other_things_than_text_can_be_yielded_in_between(mini_agents: MiniAgents) -> None:
    def look() -> Iterator[Any]:
        yield "a"
        yield "b"
        yield {"n": 1}
        yield Message("c")

    assert str(await result_of(toolbox(look), "look")) == 'ab\n\n{"n":1}\n\nc'


async def test_a_tool_may_pass_on_the_replies_of_an_agent_token_by_token(mini_agents: MiniAgents) -> None:
    async def ask(question: str) -> MessageSequencePromise:
        return ScriptedAgent.inquire(question, script=lambda prompt: [ThinkingMessage("hm"), "to", "ken", "s"])

    (promise,) = toolbox(ask).run([call("ask", '{"question": "?"}')])

    assert [token async for token in promise] == ["to", "ken", "s"]


async def test_a_model_is_a_tool_of_which_only_the_words_are_the_result(mini_agents: MiniAgents) -> None:
    expert = ScriptedAgent.fork(alias="EXPERT", script=lambda prompt: [ThinkingMessage("hm"), "yes"])

    assert str(await result_of(toolbox(expert), "expert", '{"request": "really?"}')) == "yes"


async def test_a_function_that_blocks_runs_in_a_thread_with_the_context_variables(mini_agents: MiniAgents) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    def look() -> tuple[bool, str, str]:
        agent = InteractionContext.get_current().this_agent
        return threading.current_thread() is threading.main_thread(), variable.get(), agent.alias

    assert str(await result_of(toolbox(look), "look")) == '[false,"set","LOOK"]'


async def test_all_calls_of_a_turn_run_at_the_same_time_and_the_results_keep_their_order(
    mini_agents: MiniAgents,
) -> None:
    everybody = asyncio.Barrier(3)

    async def meet(name: str) -> str:
        await everybody.wait()
        return name

    promises = toolbox(meet).run([call("meet", f'{{"name": "{name}"}}') for name in "abc"])

    assert [str(await promise) for promise in promises] == ["a", "b", "c"]


async def test_results_name_their_calls_before_the_tools_have_said_a_word(mini_agents: MiniAgents) -> None:
    (promise,) = toolbox(echo).run([asked := call("echo", '{"request": "hi"}')])

    known = promise.preliminary_metadata

    assert (known.tool_call_id, known.tool_name, known.role) == (asked.tool_call_id, "echo", "tool")
    await promise


async def test_a_tool_can_see_the_call_that_it_answers(mini_agents: MiniAgents) -> None:
    async def look() -> str:
        return current_tool_call.get().tool_call_id

    asked = call("look")
    (promise,) = toolbox(look).run([asked])

    assert str(await promise) == asked.tool_call_id
    assert current_tool_call.get() is None


# ------------------------------------------------------------------------------------------------------ failures


def pay(amount: int) -> str:
    if amount > 10:
        raise ValueError(f"{amount} is too much, says https://user:hunter22@bank (key sk-abcdefghijklmnop)")
    return "paid"


async def test_the_model_is_told_that_a_tool_failed_without_traceback_and_secrets(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    result = await result_of(toolbox(pay), "pay", '{"amount": 11}')

    assert result.is_error
    assert str(result) == "The tool `pay` failed: ValueError: 11 is too much, says https://***@bank (key ***)"
    assert "The tool `pay` that `MODEL` called failed: ValueError: 11 is too much" in caplog.text
    assert "Traceback" in caplog.text
    assert "hunter22" not in caplog.text
    assert "sk-abc" not in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("pay_all", "{}", "There is no tool named `pay_all`. The tools are `pay`, `echo`."),
        (
            "pay",
            '{"amount": 1',
            "The arguments are not valid: Invalid JSON: EOF while parsing an object at line 1 column 12. ",
        ),
        ("pay", "[1]", "The arguments are not valid: Input should be an object. The function `pay` takes `amount`."),
        ("pay", "", "The arguments are not valid: `amount`: Field required. The function `pay` takes `amount`."),
        (
            "echo",
            '{"what": 1}',
            "`request`: Field required; `what`: there is no such argument. The agent `ECHO` takes `request`.",
        ),
    ],
    ids=["unknown tool", "broken JSON", "no object", "nothing", "of an agent"],
)
async def test_the_model_is_told_what_to_mend(
    name: str, arguments: str, says: str, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    result = await result_of(toolbox(pay, echo), name, arguments)

    assert result.is_error
    assert says in str(result)
    assert "Traceback" not in caplog.text


async def test_what_a_tool_said_before_it_failed_stays(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async def look() -> AsyncIterator[str]:
        yield "first"
        raise ToolFailedError("The rest is secret.")

    result = await result_of(toolbox(look), "look")

    assert (str(result), result.is_error) == ("first\n\nThe rest is secret.", True)


async def test_a_result_that_cannot_be_told_says_what_to_return(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def look() -> object:
        return {"at": object()}

    result = await result_of(toolbox(look), "look")

    assert str(result) == (
        "The tool `look` failed: `look` returned something (of type `dict`) that cannot be written as JSON: return a "
        "`str`, plain data, a pydantic model, a `Message`, or yield any of these."
    )


async def test_a_stop_iteration_in_a_thread_does_not_hang(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def look() -> int:
        return next(iter([]))

    assert (await result_of(toolbox(look), "look")).is_error


async def test_failures_are_raised_if_that_is_asked_for(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ToolError) as raised:
        await result_of(toolbox(pay, tool_errors="raise"), "pay", '{"amount": 11}')

    assert isinstance(raised.value.__cause__, ValueError)
    assert str(raised.value).startswith("The tool `pay` that `MODEL` called failed: ValueError: 11 is too much")
    assert raised.value.tool_name == "pay"


async def test_two_tools_of_one_name_are_refused() -> None:
    @tool(name="echo")
    def repeat(text: str) -> str:
        return text

    with pytest.raises(ToolDefinitionError) as raised:
        toolbox(echo, repeat)

    assert str(raised.value) == (
        "`MODEL` has two tools named `echo`, the agent `ECHO` and the function `repeat`: rename one, with "
        "`as_tool(..., name=...)`, `@tool(name=...)` or `mcp_tools(..., prefix=...)`."
    )
    assert [schema.name for schema in toolbox(echo, as_tool(repeat, name="repeat")).schemas] == ["echo", "repeat"]


# ------------------------------------------------------------------------------------------------------ whose they are


async def test_cancelling_the_agent_cancels_its_tools(mini_agents: MiniAgents) -> None:
    started, cleaned_up = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    @miniagent
    async def model(ctx: InteractionContext) -> None:
        (promise,) = toolbox(work).run([call("work")])
        ctx.reply(promise)
        await promise

    async with model.inquire():
        await started.wait()

    async with asyncio.timeout(5):
        await cleaned_up.wait()


async def test_tool_calls_are_counted_and_a_limit_is_no_result() -> None:
    @miniagent
    async def model(ctx: InteractionContext) -> None:
        ctx.reply(toolbox(pay).run([call("pay", '{"amount": 1}') for _ in range(3)]))

    async with MiniAgents() as context:
        replies = model.inquire(usage_limits=UsageLimits(tool_calls=2))

        with pytest.raises(UsageLimitExceededError):
            await replies

        assert [str(await promise) for promise in [promise async for promise in replies][:2]] == ["paid", "paid"]
        assert context.usage.by_agent["MODEL"].tool_calls == 2
        assert replies.usage.tool_calls == 2


async def test_a_limit_that_is_crossed_inside_of_a_tool_is_no_result_either(mini_agents: MiniAgents) -> None:
    limited = ScriptedAgent.fork(alias="LIMITED", script="hi", usage_limits=UsageLimits(requests=0))

    with pytest.raises(UsageLimitExceededError):
        await result_of(toolbox(limited), "limited", '{"request": "hi"}')
