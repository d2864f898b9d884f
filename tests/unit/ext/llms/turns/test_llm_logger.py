import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import PromiseCancelledError
from miniagents.ext import markdown_llm_logger_agent
from miniagents.ext.llms import (
    AnthropicAgent,
    AssistantMessage,
    OpenAIAgent,
    Script,
    ScriptedAgent,
    SystemMessage,
    UserMessage,
)
from miniagents.testing.server import Answer, Cut, Gate, ProtocolServer


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def logs(folder: str = "llm_logs") -> list[Path]:
    return sorted(Path(folder).iterdir()) if Path(folder).exists() else []


async def test_each_prompt_and_answer_is_a_file_named_by_time_and_agent():
    agent = ScriptedAgent.fork(script=Script("One.", "Two."), model="model-1")

    async with MiniAgents(llm_logger_agent=True):
        await agent.inquire([SystemMessage("Be brief."), UserMessage("Count,\nplease.")], temperature=0.5)
        await agent.inquire("Go on.")

    first, second = logs()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-SCRIPTED_AGENT\.md", first.name)
    text = first.read_text()
    for part in (
        "# SCRIPTED_AGENT\n",
        '- model: `"model-1"`',
        "- temperature: `0.5`",
        "\n## system\n\nBe brief.\n",
        "\n## user\n\nCount,\nplease.\n",
        "\n## assistant (SCRIPTED_AGENT)\n\nOne.\n",
        '"output_tokens": 1',
    ):
        assert part in text
    assert "Go on." in second.read_text()


async def test_nothing_is_logged_unless_asked_for():
    async with MiniAgents():
        await ScriptedAgent.inquire("Hi", script="Hello")
        await ScriptedAgent.inquire("Hi", script="Hello", llm_logger_agent=True)

    assert len(logs()) == 1


async def test_a_fork_may_be_left_out_of_the_log():
    async with MiniAgents(llm_logger_agent=True):
        await ScriptedAgent.inquire("Hi", script="Hello", llm_logger_agent=False)

    assert logs() == []


async def test_the_folder_can_be_another_one():
    logger_agent = markdown_llm_logger_agent.fork(log_folder="deep/inside")

    async with MiniAgents(llm_logger_agent=logger_agent):
        await ScriptedAgent.inquire("Hi", script="Hello")

    assert len(logs("deep/inside")) == 1


async def test_calls_at_the_same_time_never_share_a_file():
    agent = ScriptedAgent.fork(script="Hello")

    async with MiniAgents(llm_logger_agent=True):
        for replies in [agent.inquire(f"question {number}") for number in range(50)]:
            await replies

    asked = sorted(int(re.findall(r"question (\d+)", path.read_text())[0]) for path in logs())
    assert asked == list(range(50))


async def test_files_of_one_microsecond_do_not_collide():
    call = {"started_at": datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "duration_s": 0.0, "request": {}, "error": None}
    answers = [AssistantMessage(text, agent_alias="A", llm_call=call) for text in ("one", "two", "three")]

    async with MiniAgents():
        for answer in answers:
            await markdown_llm_logger_agent.inquire(["Count", answer])

    names = ["20260102T030405.000678Z-A-2.md", "20260102T030405.000678Z-A-3.md", "20260102T030405.000678Z-A.md"]
    assert [path.name for path in logs()] == names
    assert all(word in path.read_text() for word, path in zip(("two", "three", "one"), logs(), strict=True))


async def test_an_alias_may_hold_what_a_file_name_may_not():
    async with MiniAgents(llm_logger_agent=True):
        await ScriptedAgent.fork(alias="../a b/c: " + "x" * 300, script="Hello").inquire("Hi")

    [path] = logs()
    assert re.fullmatch(r"[\w.-]+-_a_b_c_x{40,}\.md", path.name)


async def test_an_answer_that_failed_is_logged_with_what_came_and_why_it_ended(server: ProtocolServer):
    server.script(Answer(["Once", " upon", Cut()]))

    async with MiniAgents(llm_logger_agent=True):
        with pytest.raises(Exception, match="ended without"):
            await OpenAIAgent.inquire("Tell me a story", model="gpt-4o")

    [path] = logs()
    text = path.read_text()
    assert "\n## assistant (OPENAI_AGENT)\n\nOnce upon\n" in text
    assert "\n## error\n\nThe answer is not complete: IncompleteStreamError: " in text


async def test_an_answer_that_was_cancelled_is_logged_with_what_came(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Once", gate, " upon"]))

    async with MiniAgents(llm_logger_agent=True):
        async for message in AnthropicAgent.inquire("Tell me a story", model="claude-sonnet-5-5"):
            async for _ in message:
                message.cancel()
                break
            with pytest.raises(PromiseCancelledError):
                await message

    [path] = logs()
    assert "\nOnce\n" in path.read_text()
    assert "The answer is not complete: it was cancelled" in path.read_text()


def test_an_answer_that_the_end_of_the_program_interrupts_is_logged_too():
    async def main() -> None:
        async for message in ScriptedAgent.inquire("Hi", script=Script(["Once", asyncio.Event(), " upon"])):
            async for _ in message:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MiniAgents(llm_logger_agent=True).run(main())

    [path] = logs()
    assert "\nOnce\n" in path.read_text()


async def test_keys_and_headers_are_not_logged(server: ProtocolServer):
    async with MiniAgents(llm_logger_agent=True):
        await OpenAIAgent.inquire("Hi", model="gpt-4o", extra_headers={"authorization": "Bearer secret-key"})

    [path] = logs()
    assert server.requests[0].headers["authorization"] == "Bearer secret-key"
    assert "secret" not in path.read_text()


async def test_a_logger_of_ones_own_is_any_agent():
    logged: list[Message] = []

    @miniagent
    async def my_logger(ctx: InteractionContext) -> None:
        logged.extend(await ctx.message_promises)

    async with MiniAgents():
        agent = ScriptedAgent.fork(script="Hello", llm_logger_agent=my_logger)
        await agent.inquire("Hi", system="Be brief.", model="model-1", temperature=0.5)

    assert [(message.role, str(message)) for message in logged] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]
    call = logged[-1].llm_call
    assert (call.error, call.request.model, call.request.temperature) == (None, "model-1", 0.5)
    assert call.duration_s >= 0
    assert call.started_at.tzinfo is not None


@pytest.mark.allow_errors_in_log("it says at once that nobody received the error")
async def test_logging_does_not_hide_an_error_that_nobody_received():
    with pytest.raises(ExceptionGroup) as raised:
        async with MiniAgents(llm_logger_agent=True):
            ScriptedAgent.kick_off("Hi", script=Script(ZeroDivisionError("broken")))

    assert raised.group_contains(ZeroDivisionError)
    assert "ZeroDivisionError: broken" in logs()[0].read_text()


async def test_a_logger_reads_no_tokens_ahead_of_a_slow_reader():
    script = Script(lambda prompt: told(prompt))
    count = 0

    async def told(_prompt):
        nonlocal count
        for _ in range(100):
            count += 1
            yield "token "

    async with MiniAgents(llm_logger_agent=True, read_ahead_by_default=2):
        async for message in ScriptedAgent.inquire("Hi", script=script):
            async for _ in message:
                break
            break

    assert count < 10
    assert "The answer is not complete: it was cancelled" in logs()[0].read_text()
