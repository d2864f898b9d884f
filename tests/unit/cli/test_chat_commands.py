"""The slash commands of `miniagents chat`, typed into a real terminal."""

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are a thing of POSIX", allow_module_level=True)

from miniagents.testing.server import Answer, Cut, ProtocolServer, Thinking
from tests.unit.cli.test_chat_dialog import CTRL_C, leave, say, server

__all__ = ["server"]


def dialogs(server: ProtocolServer) -> list[list[str]]:
    """What each request held, without the system prompt."""
    return [[text.strip() for _, text in request.dialog] for request in server.requests]


def test_help_lists_commands_and_keys_and_an_unknown_command_gets_the_nearest(chat) -> None:
    terminal = chat("--model", "echo")
    say(terminal, "/help")
    for listed in ("/model NAME", "/save FILE", "/retry", "Alt+Enter, Ctrl+J", "Ctrl+C"):
        terminal.wait_for(listed)
    say(terminal, "/modle", prompts=2)
    terminal.wait_for("No command is called `/modle`. Did you mean `/model`?")
    say(terminal, "/etc/hosts is a file", prompts=3)
    terminal.wait_for("\n\n/etc/hosts is a file\n")
    say(terminal, "/exit", prompts=4)

    assert terminal.exit_code() == 0


def test_commands_files_and_models_are_completed(chat, tmp_path: Path) -> None:
    (tmp_path / "conversation.jsonl").touch()
    terminal = chat("--model", "echo")
    terminal.wait_for("\n>")
    for typed, completed in (
        ("/us", "/usage"),
        ("/load conv", "/load conversation.jsonl"),
        ("/model anth", "/model anthropic:"),
    ):
        terminal.type(f"{typed}\t")
        terminal.wait_for(f"> {completed}")
        terminal.type(CTRL_C)

    leave(terminal, prompts=1)


def test_another_model_of_another_provider_gets_the_conversation_so_far(chat, server: ProtocolServer) -> None:
    server.script(Answer([Thinking("Hm.", signature="s"), "From one."]), "From the other.")
    terminal = chat("--model", "anthropic:claude-x", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("∴ Hm.\n\nFrom one.\n")
    say(terminal, "/model", prompts=2)
    terminal.wait_for("Model: anthropic:claude-x", times=2)
    say(terminal, "/model openai:gpt-x", prompts=3)
    terminal.wait_for("Model: openai:gpt-x, because you chose it. It gets the 3 messages so far.")
    say(terminal, "And you?", prompts=4)
    terminal.wait_for("From the other.")
    say(terminal, "/model nobody:x", prompts=5)
    terminal.wait_for("Model: openai:nobody:x, because you chose it.")

    leave(terminal, prompts=6)
    assert [request.model for request in server.requests] == ["claude-x", "gpt-x"]
    assert dialogs(server)[1] == ["Hi", "From one.", "And you?"]


def test_instructions_can_be_given_shown_and_taken_away(chat, server: ProtocolServer) -> None:
    terminal = chat("--model", "anthropic:claude-x", **server.environment)
    for number, line in enumerate(("/system Be brief.", "/system", "Hi", "/system off", "Hello"), start=1):
        say(terminal, line, prompts=number)
    terminal.wait_for("\nSystem: Be brief.\n")

    leave(terminal, prompts=6)
    first, second = (request.body for request in server.requests)
    assert "Be brief." in str(first["system"])
    assert "Be brief." not in str(second)


def test_retry_asks_again_without_the_last_answer(chat, server: ProtocolServer, tmp_path: Path) -> None:
    history = tmp_path / "CHAT.md"
    server.script("Bad.", Answer(["Half", Cut()]), "Good.")
    terminal = chat("--model", "openai:gpt-x", "--history", str(history), **server.environment)
    say(terminal, "/retry")
    terminal.wait_for("There is nothing to ask again yet.")
    for number, line in enumerate(("Hi", "/retry", "/retry"), start=2):
        say(terminal, line, prompts=number)
    terminal.wait_for("Good.")

    leave(terminal, prompts=5)
    assert dialogs(server) == [["Hi"], ["Hi"], ["Hi"]]
    assert history.read_text() == "## USER\n\nHi\n\n## ASSISTANT (OPENAI_AGENT)\n\nGood.\n\n"


def test_a_saved_conversation_goes_on_in_another_dialog(chat, server: ProtocolServer, tmp_path: Path) -> None:
    server.script(Answer([Thinking("Secret thought.", signature="the-signature"), "Answer."]), "More.")
    first = chat("--model", "anthropic:claude-x", "--system", "Be brief.", **server.environment)
    say(first, "Hi")
    first.wait_for("\nAnswer.\n")
    say(first, "/save talk.jsonl", prompts=2)
    first.wait_for("Saved 3 messages to talk.jsonl.")
    leave(first, prompts=3)

    second = chat("--model", "anthropic:claude-x", **server.environment)
    say(second, "/load nowhere.jsonl")
    second.wait_for("'nowhere.jsonl' cannot be read")
    say(second, "/load talk.jsonl", prompts=2)
    second.wait_for("Going on with 3 messages from talk.jsonl.\n> Hi\nAnswer.\n")
    say(second, "Go on", prompts=4)  # one of these stands in front of the question that is shown again
    second.wait_for("More.")
    leave(second, prompts=5)
    body = server.requests[1].body
    assert "Be brief." in str(body["system"])
    assert {"type": "thinking", "thinking": "Secret thought.", "signature": "the-signature"} in body["messages"][1][
        "content"
    ]


def test_clear_begins_anew_and_a_file_of_the_history_is_put_aside(chat, server: ProtocolServer, tmp_path: Path) -> None:
    terminal = chat("--model", "openai:gpt-x", "--history", "CHAT.md", **server.environment)
    for number, line in enumerate(("Before", "/clear", "After"), start=1):
        say(terminal, line, prompts=number)
    terminal.wait_for("What was said is kept in CHAT.1.md.")

    leave(terminal, prompts=4)
    assert dialogs(server) == [["Before"], ["After"]]
    assert "## USER\n\nBefore\n" in (tmp_path / "CHAT.1.md").read_text()
    assert (tmp_path / "CHAT.md").read_text().startswith("## USER\n\nAfter\n")
