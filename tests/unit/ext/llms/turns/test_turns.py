"""One turn after another of a model agent: blocks, tools, faults, structured output; with a scripted model."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import PromiseCancelledError
from miniagents.ext.llms import (
    AssistantMessage,
    LLMAgent,
    ModelEvent,
    ModelRequest,
    Script,
    ScriptedAgent,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    tool_call,
)
from miniagents.ext.llms.errors import (
    BadRequestError,
    OverloadedError,
    RateLimitedError,
    StructuredOutputError,
    ToolError,
    ToolRoundsExceededError,
    TruncatedOutputError,
)
from miniagents.ext.llms.model_events import BlockStarted, BlockToken, TurnEnded
from miniagents.testing import VirtualTimeLoop


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def texts(messages: Any) -> list[tuple[str, str]]:
    return [(type(message).__name__, str(message)) for message in messages]


async def test_each_block_is_a_message_in_the_order_in_which_the_model_made_them():
    script = Script([ThinkingMessage("Let me see.", signature="sig"), "I ", "look.", tool_call("look", {"at": "it"})])

    async with MiniAgents():
        thought, said, called = await ScriptedAgent.inquire("Look!", script=script)

    assert texts([thought, said, called]) == [
        ("ThinkingMessage", "Let me see."),
        ("AssistantMessage", "I look."),
        ("ToolCallMessage", '{"at": "it"}'),
    ]
    assert thought.signature == "sig"
    assert called.arguments.at == "it"
    # What the turn cost stands on its last message alone.
    assert (thought.usage, said.usage) == (None, None)
    assert called.usage.output_tokens == 3 + 2 + 2
    assert called.finish_reason == "tool_calls"


async def test_a_block_streams_before_the_next_one_begins():
    gate = asyncio.Event()
    script = Script([ThinkingMessage("Hm"), gate, "Hello"])

    async with MiniAgents():
        replies = aiter(ScriptedAgent.inquire("Hi", script=script))
        thought = await anext(replies)
        assert [token async for token in _first(thought)] == ["Hm"]
        gate.set()
        assert str(await (await anext(replies))) == "Hello"
        assert [promise async for promise in replies] == []


async def _first(promise: Any) -> Any:
    async for token in promise:
        yield token
        return


async def test_an_answer_without_a_text_is_one_empty_message():
    async with MiniAgents():
        [message] = await ScriptedAgent.inquire("Hi", script=Script([]))

    assert isinstance(message, AssistantMessage)
    assert str(message) == ""


async def test_what_a_tool_answers_goes_back_to_the_model():
    script = Script([tool_call("add", {"a": 2, "b": 3})], "It is 5.")

    async with MiniAgents():
        called, result, answer = await ScriptedAgent.inquire("2 + 3?", script=script, tools=[add])

    assert isinstance(called, ToolCallMessage)
    assert isinstance(result, ToolResultMessage)
    assert (result.tool_call_id, str(result), result.is_error) == (called.tool_call_id, "5", False)
    assert str(answer) == "It is 5."
    assert len(script.prompts) == 2


async def test_calls_of_one_turn_run_at_the_same_time_and_are_answered_in_order():
    both_run = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        """Wait for the other one."""
        await both_run.wait()
        return f"{name} met"

    script = Script([tool_call("meet", {"name": "a"}), tool_call("meet", {"name": "b"})], "Done.")

    async with MiniAgents():
        replies = await ScriptedAgent.inquire("Go!", script=script, tools=[meet])

    assert [str(reply) for reply in replies[2:]] == ["a met", "b met", "Done."]


async def test_an_agent_is_a_tool_and_its_tokens_stream_into_the_result():
    gate = asyncio.Event()

    @miniagent
    async def teller(ctx: InteractionContext) -> None:
        """Tells something."""
        ctx.reply(ScriptedAgent.inquire("tell", script=Script(["Once", gate, " upon"])))

    script = Script([tool_call("teller", {"request": "go"})], "That was it.")

    async with MiniAgents():
        replies = aiter(ScriptedAgent.inquire("Tell!", script=script, tools=[teller]))
        await anext(replies)
        result = await anext(replies)
        async for token in result:
            assert token == "Once"
            break
        gate.set()
        assert str(await result) == "Once upon"
        assert str(await (await anext(replies))) == "That was it."
        assert [promise async for promise in replies] == []


async def test_a_tool_that_fails_is_told_to_the_model_or_raised():
    def fails() -> str:
        """Fail."""
        raise ValueError("no such city")

    script = Script([tool_call("fails")], "Sorry.", when_exhausted="start_over")

    async with MiniAgents():
        _, result, answer = await ScriptedAgent.inquire("Go!", script=script, tools=[fails])
        with pytest.raises(ToolError, match=r"`fails`.*no such city") as raised:
            await ScriptedAgent.inquire("Go!", script=script, tools=[fails], tool_errors="raise")

    assert (result.is_error, str(answer)) == (True, "Sorry.")
    assert "no such city" in str(result)
    assert isinstance(raised.value.__cause__, ValueError)


async def test_a_model_that_never_stops_calling_tools_is_stopped():
    script = Script([tool_call("add", {"a": 1, "b": 1})], when_exhausted="repeat_last")

    async with MiniAgents():
        with pytest.raises(ToolRoundsExceededError, match="3 rounds in a row. Raise `max_tool_rounds`"):
            await ScriptedAgent.inquire("Go!", script=script, tools=[add], max_tool_rounds=3)

    assert len(script.prompts) == 4


async def test_tools_given_as_json_are_the_callers_to_run():
    script = Script([tool_call("add", {"a": 1, "b": 1})])

    async with MiniAgents():
        replies = await ScriptedAgent.inquire("Go!", script=script, tools=[{"type": "function"}])

    assert texts(replies) == [("ToolCallMessage", '{"a": 1, "b": 1}')]


def test_a_transient_fault_before_anything_is_visible_is_retried_and_then_told():
    script = Script(OverloadedError("busy"), OverloadedError("busy", retry_after_s=7.0), "Here I am.")
    gone = Script(OverloadedError("busy"), when_exhausted="repeat_last")

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        assert texts(await ScriptedAgent.inquire("Hi", script=script)) == [("AssistantMessage", "Here I am.")]
        took_s = loop.time() - began_at
        with pytest.raises(OverloadedError):
            await ScriptedAgent.inquire("Hi", script=gone, max_retries=1)
        return took_s

    took_s = MiniAgents().run(main(), loop_factory=VirtualTimeLoop)

    assert 7.25 <= took_s <= 7.5
    assert len(gone.prompts) == 2


async def test_a_request_that_is_wrong_is_not_sent_again():
    script = Script(BadRequestError("no"), "Never.")

    async with MiniAgents():
        with pytest.raises(BadRequestError):
            await ScriptedAgent.inquire("Hi", script=script)

    assert len(script.prompts) == 1


async def test_a_fault_after_visible_tokens_stands_at_its_place_with_what_had_come():
    script = Script(["Once", " upon", RateLimitedError("slow down")])

    async with MiniAgents():
        tokens: list[str] = []
        async for message in ScriptedAgent.inquire("Tell!", script=script):
            with pytest.raises(RateLimitedError) as raised:
                async for token in message:
                    tokens.append(token)

    assert tokens == ["Once", " upon"]
    assert raised.value.partial_text == "Once upon"
    assert len(script.prompts) == 1


def test_a_torn_answer_can_be_begun_anew_and_the_seam_is_marked():
    script = Script(["Once", OverloadedError("busy")], ["Once", " upon"])

    async def main() -> Any:
        return await ScriptedAgent.inquire("Tell!", script=script, on_midstream_failure="restart")

    torn, whole = MiniAgents().run(main(), loop_factory=VirtualTimeLoop)

    assert (str(torn), torn.interrupted, torn.usage) == ("Once", True, None)
    assert (str(whole), whole.interrupted) == ("Once upon", None)


class City(BaseModel):
    name: str
    people: int


async def test_an_answer_is_validated_as_the_model_that_was_asked_for():
    script = Script('{"name": "Ghent", "people": 270000}')

    async with MiniAgents():
        [message] = await ScriptedAgent.inquire("A city?", script=script, response_model=City)

    assert message.parsed == City(name="Ghent", people=270000)


async def test_an_invalid_answer_is_asked_for_again_with_what_is_wrong():
    script = Script('{"name": "Ghent"}', '{"name": "Ghent", "people": 270000}')

    async with MiniAgents():
        first, second = await ScriptedAgent.inquire("A city?", script=script, response_model=City)

    assert first.parsed is None
    assert "people" in first.output_error
    assert second.parsed == City(name="Ghent", people=270000)
    assert "people" in script.prompts[1].last_text


async def test_an_answer_that_stays_invalid_is_an_error_with_the_raw_text():
    script = Script("not at all", when_exhausted="repeat_last")

    async with MiniAgents():
        with pytest.raises(StructuredOutputError) as raised:
            await ScriptedAgent.inquire("A city?", script=script, response_model=City, output_retries=2)

    assert raised.value.raw_text == "not at all"
    assert len(script.prompts) == 3


async def test_an_answer_that_was_cut_off_is_not_asked_for_again():
    script = Script(AssistantMessage('{"name": "Gh', finish_reason="length"), "Never.")

    async with MiniAgents():
        with pytest.raises(TruncatedOutputError):
            await ScriptedAgent.inquire("A city?", script=script, response_model=City)

    assert len(script.prompts) == 1


async def test_tools_stay_usable_where_an_answer_is_validated():
    script = Script([tool_call("add", {"a": 1, "b": 2})], '{"name": "Ghent", "people": 3}')

    async with MiniAgents():
        *_, answer = await ScriptedAgent.inquire("?", script=script, tools=[add], response_model=City)

    assert answer.parsed == City(name="Ghent", people=3)


async def test_cancelling_one_message_of_an_answer_ends_the_whole_turn():
    script = Script(["Once", asyncio.Event(), "never"])

    async with MiniAgents():
        replies = ScriptedAgent.inquire("Tell!", script=script)
        async for message in replies:
            async for _ in message:
                message.cancel()
                break
            with pytest.raises(PromiseCancelledError):
                await message


async def test_what_is_used_is_counted_by_model_agent_and_call():
    script = Script([tool_call("add", {"a": 1, "b": 2})], "three", when_exhausted="start_over")

    async with MiniAgents() as context:
        replies = ScriptedAgent.inquire("1 + 2?", script=script, tools=[add])
        await replies
        await ScriptedAgent.fork(alias="OTHER").inquire("1 + 2?", script=script, model="m2", tools=[add])

        assert (replies.usage.requests, replies.usage.tool_calls) == (2, 1)
        assert context.usage.total.requests == 4
        assert context.usage.by_model["m2"].requests == 2
        assert context.usage.by_agent["OTHER"].requests == 2
        assert context.usage.total.unknown == 0


async def test_a_key_is_never_recorded_or_shown():
    agent = ScriptedAgent.fork(script="ok", api_key="sk-very-secret", extra_headers={"Authorization": "sk-secret"})

    async with MiniAgents() as context:
        seen: list[str] = []
        context.on_persist_message(_recorder(seen))
        await agent.inquire("Hi", api_key="sk-secret-2")

    assert len(seen) > 2
    assert "sk-" not in "".join([*seen, repr(agent), str(agent), agent.serialized])


def _recorder(seen: list[str]) -> Any:
    async def record(_: Any, message: Message) -> None:
        seen.append(message.serialized + repr(message))

    return record


async def two_calls_side_by_side(self: Any, request: ModelRequest) -> AsyncIterator[ModelEvent]:
    """As OpenAI sends them: the first is open until the turn ends."""
    for key in ("a", "b"):
        yield BlockStarted(key, "tool_call", {"tool_name": "look", "tool_call_id": key})
        for piece in ('{"at"', ": 1", "}"):
            yield BlockToken(key, piece)
    yield TurnEnded("tool_calls")


@miniagent
class SideBySideAgent(LLMAgent):
    model: str = "side-by-side"
    stream_turn = two_calls_side_by_side


@pytest.mark.parametrize("context", [{"read_ahead_by_default": 1}, {"start_everything_asap_by_default": False}])
@pytest.mark.parametrize("way", ["whole", "messages", "tokens"])
async def test_a_reader_of_one_call_is_not_in_the_way_of_the_next(context: dict[str, Any], way: str):
    async with asyncio.timeout(10), MiniAgents(**context):
        replies = SideBySideAgent.inquire("Look!")
        if way == "whole":
            messages = list(await replies)
        elif way == "messages":
            messages = [await promise async for promise in replies]
        else:
            texts_read = ["".join([token async for token in promise]) async for promise in replies]
            assert texts_read == ['{"at": 1}', '{"at": 1}']
            messages = list(await replies)

    assert [str(message) for message in messages] == ['{"at": 1}', '{"at": 1}']


@pytest.mark.parametrize("context", [{}, {"read_ahead_by_default": 1}, {"start_everything_asap_by_default": False}])
async def test_what_is_kicked_off_is_done_though_nobody_reads_it(context: dict[str, Any]):
    seen: list[str] = []

    async def note(text: str) -> str:
        """Note something down."""
        seen.append(text)
        return "noted"

    script = Script(["let ", "me ", "see", tool_call("note", {"text": "it"})], "done")

    async with MiniAgents(**context):
        ScriptedAgent.fork(script=script, tools=[note]).kick_off("go")

    assert seen == ["it"]
    assert len(script.prompts) == 2
