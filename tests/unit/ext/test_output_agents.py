import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext import console_input_agent, console_output_agent, dialog_loop, file_output_agent
from miniagents.ext import user_agent as any_user_agent
from miniagents.ext.llms import AssistantMessage, UserMessage


async def half_an_answer(_metadata: dict[str, Any]) -> AsyncIterator[str]:
    yield "half "
    yield "an answer"
    raise ConnectionError("the line is dead")


async def test_console_output_names_who_speaks_and_passes_the_messages_on(
    mini_agents: MiniAgents, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [AssistantMessage("hello", agent_alias="MY_AGENT"), UserMessage("hi"), "plain", ""]

    replies = await console_output_agent.inquire(messages)

    assert capsys.readouterr().out == "MY_AGENT: hello\nUSER: hi\nASSISTANT: plain\n"
    assert [str(message) for message in replies] == ["hello", "hi", "plain", ""]


async def test_console_output_can_leave_the_names_out(
    mini_agents: MiniAgents, capsys: pytest.CaptureFixture[str]
) -> None:
    await console_output_agent.inquire(["a", "b"], mention_aliases=False)

    assert capsys.readouterr().out == "a\nb\n"


async def test_console_output_shows_what_came_before_an_error_and_passes_the_error_on(
    mini_agents: MiniAgents, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConnectionError, match="the line is dead"):
        await console_output_agent.inquire(Message.promise(message_token_streamer=half_an_answer))

    assert capsys.readouterr() == ("ASSISTANT: half an answer\n", "")


async def test_an_error_told_by_a_message_goes_to_standard_error(
    mini_agents: MiniAgents, capsys: pytest.CaptureFixture[str]
) -> None:
    await console_output_agent.inquire(["a", Message("ValueError: no", is_error=True), "b"])

    assert capsys.readouterr() == ("ASSISTANT: a\nASSISTANT: b\n", "ValueError: no\n")


async def test_in_a_dialog_an_assistant_that_does_not_name_itself_is_announced_by_its_alias(
    mini_agents: MiniAgents, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["hi"]

    @miniagent
    async def read_line(ctx: InteractionContext) -> None:
        if not lines:
            raise EOFError
        ctx.reply(lines.pop())

    @miniagent
    async def my_own_assistant(ctx: InteractionContext) -> None:
        ctx.reply("hello")

    user = any_user_agent.fork(output_agent=console_output_agent, input_agent=read_line)
    await dialog_loop.inquire(user_agent=user, assistant_agent=my_own_assistant)

    assert capsys.readouterr().out == "MY_OWN_ASSISTANT: hello\n"


async def test_console_input_passes_on_what_came_and_adds_what_was_typed(
    mini_agents: MiniAgents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))

    replies = await console_input_agent.inquire("earlier")

    assert replies == (Message("earlier"), UserMessage("typed"))


async def test_console_input_at_its_end_is_an_eof_error(
    mini_agents: MiniAgents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    await console_input_agent.inquire()

    with pytest.raises(EOFError):
        await console_input_agent.inquire()


async def test_console_input_asks_nobody_when_what_came_ends_in_an_error(
    mini_agents: MiniAgents, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.StringIO("typed\n")
    monkeypatch.setattr("sys.stdin", stdin)

    with pytest.raises(ConnectionError):
        await console_input_agent.inquire(Message.promise(message_token_streamer=half_an_answer))

    assert stdin.tell() == 0


async def test_file_output_writes_the_texts_and_passes_the_messages_on(mini_agents: MiniAgents, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "out.md"

    replies = await file_output_agent.inquire(["one", UserMessage("two\r\n\N{SNOWMAN}")], file=file)

    assert file.read_bytes() == "one\n\ntwo\r\n\N{SNOWMAN}".encode()
    assert [str(message) for message in replies] == ["one", "two\r\n\N{SNOWMAN}"]


async def test_file_output_replaces_what_was_in_the_file(mini_agents: MiniAgents, tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    file.write_text("something longer than what follows")

    await file_output_agent.inquire("short", file=str(file))
    assert file.read_text() == "short"

    await file_output_agent.inquire(file=str(file))
    assert file.read_text() == ""


async def test_file_output_keeps_what_came_before_an_error(mini_agents: MiniAgents, tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    messages = ["whole", Message.promise(message_token_streamer=half_an_answer)]

    with pytest.raises(ConnectionError, match="the line is dead"):
        await file_output_agent.inquire(messages, file=file)
    await mini_agents.aflush_tasks()  # The error was passed on while the file was still being written.

    assert file.read_text() == "whole\n\nhalf an answer"


async def test_a_file_that_cannot_be_written_is_an_error(mini_agents: MiniAgents, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        await file_output_agent.inquire("text", file=tmp_path)
