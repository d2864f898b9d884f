"""`miniagents chat` with a person at a terminal: typed into a real pseudo-terminal, key by key."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are a thing of POSIX", allow_module_level=True)

from tests.support.protocol_server import Answer, Gate, start_protocol_server
from tests.unit.ext.terminal import Terminal, in_terminal

CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def chat(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Runs `miniagents chat` with these arguments and variables, in a terminal that closes with the test."""
    with ExitStack() as terminals:

        def start(*arguments: str, **variables: str) -> Terminal:
            program = f"from miniagents.cli import main\nmain({['chat', *arguments]!r}, prog_name='miniagents')"
            return terminals.enter_context(in_terminal(program, tmp_path, NO_COLOR="1", **variables))

        yield start


def test_a_dialog_of_several_turns_ends_with_exit(chat) -> None:
    terminal = chat("--model", "echo")
    for number, said in enumerate(("hello there", "and again", "exit"), start=1):
        terminal.wait_for("USER:", times=number)
        terminal.type(f"{said}\r")

    assert terminal.exit_code() == 0
    assert terminal.text.startswith("Model: echo, because `--model echo` says so.\nYOU ARE NOW IN A CHAT")
    assert terminal.text.endswith("USER: hello there\nECHO: hello there\nUSER: and again\nECHO: and again\nUSER: exit")


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["Ctrl+C", "Ctrl+D"])
def test_a_key_at_the_prompt_ends_the_dialog_in_good_order(chat, key: str) -> None:
    terminal = chat("--model", "echo")
    terminal.wait_for("USER:")
    terminal.type(key)

    assert terminal.exit_code() == 0
    assert terminal.text.endswith("USER:")


def test_without_a_model_the_guide_greets_and_answers(chat) -> None:
    terminal = chat()
    terminal.wait_for("USER:")
    terminal.type("/demo\r")
    terminal.wait_for("GUIDE_AGENT: These run live")
    terminal.wait_for("USER:", times=2)
    terminal.type(CTRL_D)

    assert terminal.exit_code() == 0
    assert terminal.text.startswith("Model: guide, because neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set, and ")
    assert "\nIt is an offline guide, not an LLM." in terminal.text
    assert "`/demo parallel`" in terminal.text


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_ctrl_c_while_tokens_stream_ends_the_dialog_and_the_history_has_what_came(
    chat, tmp_path: Path, provider: str
) -> None:
    history = tmp_path / "CHAT.md"
    with start_protocol_server() as server:
        server.script(Answer(["Half", Gate(), " an answer"]))
        terminal = chat("--model", f"{provider}:some-model", "--history", str(history), **server.environment)
        terminal.wait_for("USER:")
        terminal.type("Hi\r")
        terminal.wait_for("Half")
        terminal.type(CTRL_C)

        assert terminal.exit_code() == 0
    assert terminal.text.endswith(": Half^C")
    assert history.read_text() == (f"## USER\n\nHi\n\n## ASSISTANT ({provider.upper()}_AGENT, interrupted)\n\nHalf\n\n")


def test_a_failed_answer_is_told_in_a_line_and_the_dialog_goes_on(chat) -> None:
    with start_protocol_server() as server:
        terminal = chat("--model", "openai:some-model", **{**server.environment, "OPENAI_API_KEY": "wrong-key"})
        terminal.wait_for("USER:")
        terminal.type("Hi\r")
        terminal.wait_for("Incorrect API key provided")
        terminal.wait_for("USER:", times=2)
        terminal.type("exit\r")

        assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.text


def test_a_history_that_cannot_be_read_ends_the_dialog_with_a_sentence_and_is_left_as_it_is(
    chat, tmp_path: Path
) -> None:
    history = tmp_path / "CHAT.md"
    history.write_bytes(b"\xff\xfe")
    terminal = chat("--model", "echo", "--history", str(history))

    assert terminal.exit_code() == 1
    assert "Traceback" not in terminal.text
    assert "is no text in UTF-8" in terminal.text
    assert history.read_bytes() == b"\xff\xfe"


def test_ctrl_c_cuts_off_a_single_answer_and_the_exit_code_says_so(chat, tmp_path: Path) -> None:
    history = tmp_path / "CHAT.md"
    with start_protocol_server() as server:
        server.script(Answer(["Half", Gate(), " an answer"]))
        terminal = chat("--model", "openai:some-model", "--history", str(history), "Hi", **server.environment)
        terminal.wait_for("Half")
        terminal.type(CTRL_C)

        assert terminal.exit_code() == 130
    assert terminal.text.splitlines()[1:] == ["Half^C"]
    assert history.read_text().endswith("interrupted)\n\nHalf\n\n")


def test_a_server_that_answers_on_this_machine_is_asked_about_once(chat, model_server) -> None:
    server = model_server(["llama3"])
    variables = {"OLLAMA_HOST": f"127.0.0.1:{server.address.port}", "MINIAGENTS_OFFLINE": "0"}

    first = chat(**variables)
    first.wait_for(f"Ollama at {server.address.base_url} answers, with the model llama3.")
    first.wait_for("[Y/n]")
    first.type("n\n")
    first.wait_for("USER:")
    first.type(CTRL_D)
    second = chat(**variables)
    second.wait_for("USER:")
    second.type(CTRL_D)

    assert (first.exit_code(), second.exit_code()) == (0, 0)
    for terminal in (first, second):
        assert "you declined it" in terminal.text
    assert "[Y/n]" not in second.text
