import asyncio
from collections.abc import AsyncIterator

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AssistantMessage,
    Prompt,
    Script,
    ScriptedAgent,
    SystemMessage,
    TokenUsage,
    UserMessage,
)
from miniagents.ext.llms.errors import ScriptExhaustedError


async def tokens_of(replies) -> list[list[str]]:
    return [[token async for token in message] async for message in replies]


async def test_replies_are_given_one_per_call_word_by_word():
    agent = ScriptedAgent.fork(script=Script("Hello, friend!", "And  good\nbye. "))

    async with MiniAgents():
        assert await tokens_of(agent.inquire("Hi")) == [["Hello,", " friend!"]]
        assert await tokens_of(agent.inquire("Bye")) == [["And", "  good", "\nbye. "]]


async def test_a_list_gives_the_tokens_themselves():
    agent = ScriptedAgent.fork(script=Script(["to", "ke", "ns"]))

    async with MiniAgents():
        assert await tokens_of(agent.inquire("Hi")) == [["to", "ke", "ns"]]


async def test_without_streaming_a_reply_is_one_token():
    agent = ScriptedAgent.fork(script=Script(["to", "ke", "ns"]), stream=False)

    async with MiniAgents():
        assert await tokens_of(agent.inquire("Hi")) == [["tokens"]]


async def test_what_was_asked_is_recorded():
    script = Script("Hello", "Bye")
    agent = ScriptedAgent.fork(script=script, system="Be brief.")

    async with MiniAgents():
        await agent.inquire("Hi")
        await agent.inquire([SystemMessage("Be kind."), UserMessage("a"), AssistantMessage("b"), "c"])

    assert script.prompts[0].dicts == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert script.prompts[1].system == "Be brief.\n\nBe kind."
    assert [(turn.role, turn.text) for turn in script.prompts[1].turns] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


async def test_the_answer_is_like_that_of_a_real_model():
    agent = ScriptedAgent.fork(script=Script("Hello there"), model="model-1")

    async with MiniAgents():
        async for promise in agent.inquire("Hi", system="Be brief."):
            known = promise.preliminary_metadata
            assert (known.model, known.role, known.agent_alias) == ("model-1", "assistant", "SCRIPTED_AGENT")
            message = await promise

    assert isinstance(message, AssistantMessage)
    assert message.usage == TokenUsage(input_tokens=3, output_tokens=2)


async def test_a_message_gives_its_fields_to_the_answer():
    usage = TokenUsage(input_tokens=1000)
    agent = ScriptedAgent.fork(script=Script(AssistantMessage("Cut o", stop_reason="max_tokens", usage=usage)))

    async with MiniAgents():
        [message] = await agent.inquire("Hi")

    assert (str(message), message.stop_reason, message.usage) == ("Cut o", "max_tokens", usage)


async def test_an_exception_is_raised_at_its_place():
    agent = ScriptedAgent.fork(script=Script(TimeoutError("too busy"), ["Once", ConnectionError("gone"), "never"]))

    async with MiniAgents():
        with pytest.raises(TimeoutError, match="too busy"):
            await agent.inquire("Hi")
        tokens: list[str] = []
        with pytest.raises(ConnectionError, match="gone"):
            async for message in agent.inquire("Hi"):
                async for token in message:
                    tokens += [token]

    assert tokens == ["Once"]


async def test_a_function_answers_from_the_prompt():
    async def slowly(prompt: Prompt) -> str:
        await asyncio.sleep(0)
        return prompt.last_text.upper()

    async def in_tokens(prompt: Prompt) -> AsyncIterator[str]:
        for letter in prompt.last_text:
            yield letter

    agent = ScriptedAgent.fork(script=Script(lambda prompt: prompt.last_text[::-1], slowly, in_tokens))

    async with MiniAgents():
        answers = [await tokens_of(agent.inquire("abc")) for _ in range(3)]

    assert answers == [[["cba"]], [["ABC"]], [["a", "b", "c"]]]


async def test_a_generator_is_closed_when_the_answer_is_cancelled():
    ended = asyncio.Event()

    async def endless(prompt: Prompt) -> AsyncIterator[str]:
        try:
            yield "Once"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with MiniAgents():
        async with ScriptedAgent.inquire("Hi", script=endless) as replies:
            async for message in replies:
                assert await anext(aiter(message)) == "Once"
                break
        await ended.wait()


async def test_a_generator_is_closed_when_its_step_cannot_be_done():
    ended = asyncio.Event()

    async def wrong(prompt: Prompt) -> AsyncIterator[object]:
        try:
            yield "Once"
            yield object()
        finally:
            ended.set()

    async with MiniAgents():
        with pytest.raises(TypeError, match="cannot be a step of a scripted reply"):
            await ScriptedAgent.inquire("Hi", script=wrong)
        assert ended.is_set()


async def test_a_text_or_a_function_alone_answers_every_call():
    parrot = ScriptedAgent.fork(script=lambda prompt: prompt.last_text)
    stubborn = ScriptedAgent.fork(script="No.")

    async with MiniAgents():
        assert [str(await parrot.inquire(text).as_single_promise()) for text in "ab"] == ["a", "b"]
        assert [str(await stubborn.inquire(text).as_single_promise()) for text in "ab"] == ["No.", "No."]


async def test_an_event_holds_the_next_token():
    release = asyncio.Event()
    agent = ScriptedAgent.fork(script=Script(["Hel", release, "lo"]))

    async with MiniAgents():
        async for message in agent.inquire("Hi"):
            tokens = aiter(message)
            assert await anext(tokens) == "Hel"
            release.set()
            assert await anext(tokens) == "lo"


@pytest.mark.virtual_clock
async def test_delays_take_virtual_time():
    agent = ScriptedAgent.fork(script=Script(["one", 3600, "two"], token_delay_s=60))
    loop = asyncio.get_running_loop()
    start = loop.time()

    async with MiniAgents():
        times = [loop.time() - start async for message in agent.inquire("Hi") async for _ in message]

    assert times == [60, 60 + 3600 + 60]


@pytest.mark.virtual_clock
async def test_calls_at_the_same_time_speak_at_the_same_time():
    agent = ScriptedAgent.fork(script=Script("a b c", "d e f", token_delay_s=1))
    loop = asyncio.get_running_loop()
    start = loop.time()

    async with MiniAgents():
        first, second = agent.inquire("1"), agent.inquire("2")
        assert [str(await replies.as_single_promise()) for replies in (first, second)] == ["a b c", "d e f"]

    assert loop.time() - start == 3


async def test_one_call_too_many_says_so():
    agent = ScriptedAgent.fork(script=Script("Hello"))

    async with MiniAgents():
        await agent.inquire("Hi")
        with pytest.raises(ScriptExhaustedError, match=r"once more than its script has replies \(1\).*'Again'"):
            await agent.inquire("Again")


@pytest.mark.parametrize(
    ("when_exhausted", "texts"), [("repeat_last", ["a", "b", "b", "b"]), ("start_over", ["a", "b", "a", "b"])]
)
async def test_a_script_may_go_on_for_ever(when_exhausted, texts: list[str]):
    agent = ScriptedAgent.fork(script=Script("a", "b", when_exhausted=when_exhausted))

    async with MiniAgents():
        assert [str(await agent.inquire("Hi").as_single_promise()) for _ in texts] == texts


async def test_a_bare_list_is_refused_with_what_to_write_in_its_place():
    async with MiniAgents():
        with pytest.raises(Exception, match=r"is no script: give `Script\(...\)`"):
            await ScriptedAgent.fork(script=["a", "b"]).inquire("Hi")


async def test_a_step_that_is_none_is_refused_by_name():
    agent = ScriptedAgent.fork(script=Script(["a", b"b"]))

    async with MiniAgents():
        with pytest.raises(TypeError, match=r"b'b' cannot be a step"):
            await agent.inquire("Hi")
