"""The programs that introduce the framework run as they are written, and print, byte for byte, what they promise."""

from pathlib import Path

import pytest

from miniagents.testing.server import Answer, start_protocol_server
from tests.docs.programs import Program, read_programs
from tests.unit.ext.terminal import in_terminal, run_piped

_PROGRAMS = read_programs(Path(__file__).with_name("introductory_programs.md"))


def program_that_contains(text: str) -> Program:
    (program,) = (program for program in _PROGRAMS if text in program.source)
    return program


def needs_nothing(program: Program) -> bool:
    return not any(word in program.source for word in ("input(", "OpenAIAgent", "AnthropicAgent"))


@pytest.mark.parametrize("program", [*filter(needs_nothing, _PROGRAMS)], ids=lambda program: f"line {program.line}")
def test_a_program_prints_what_it_promises(program: Program, tmp_path: Path) -> None:
    ended = run_piped(program.source, tmp_path, "")

    assert (ended.stdout, ended.stderr, ended.returncode) == (program.promised_output, "", 0)


def test_a_dialog_ends_in_good_order_when_its_piped_input_ends(tmp_path: Path) -> None:
    dialog = program_that_contains("input(")

    ended = run_piped(dialog.source, tmp_path, "hi\nnice!\nbye\n")

    assert (ended.stderr, ended.returncode) == ("", 0)
    typed = ended.stdout
    for line in ("hi", "nice!", "bye"):  # A pipe does not show what is typed.
        typed = typed.replace("USER: ASSISTANT", f"USER: {line}\nASSISTANT", 1)
    assert f"{typed}\n" == dialog.promised_output


def test_a_dialog_in_a_terminal_looks_as_promised(tmp_path: Path) -> None:
    dialog = program_that_contains("input(")

    with in_terminal(dialog.source, tmp_path) as terminal:
        for number, line in enumerate(("hi", "nice!", "bye"), start=1):
            terminal.wait_for("USER:", times=number)
            terminal.type(f"{line}\n")
        terminal.wait_for("USER:", times=4)
        terminal.type("\x04")

        assert terminal.exit_code() == 0
        assert terminal.text.removesuffix("^D").rstrip() == (dialog.promised_output or "").rstrip()


def test_ctrl_c_at_a_prompt_of_ones_own_ends_the_dialog_in_good_order(tmp_path: Path) -> None:
    with in_terminal(program_that_contains("input(").source, tmp_path) as terminal:
        terminal.wait_for("USER:")
        terminal.type("hi\n")
        terminal.wait_for("USER:", times=2)
        terminal.wait_until_it_sleeps()
        terminal.type("\x03")

        assert terminal.exit_code() == 0
        assert terminal.text == 'USER: hi\nASSISTANT: You said "hi"\nUSER: ^C'


def test_a_program_with_a_model_prints_the_tokens(tmp_path: Path) -> None:
    program = program_that_contains("OpenAIAgent")
    with start_protocol_server() as server:
        server.script(Answer(["I am ", "fine, ", "thank you!"]))

        ended = run_piped(program.source, tmp_path, "", OPENAI_BASE_URL=server.openai_base_url, OPENAI_API_KEY="any")

    assert (ended.stdout, ended.stderr, ended.returncode) == (program.promised_output, "", 0)
    (request,) = server.requests
    assert request.body["model"] == "gpt-4o-2024-05-13"
    assert request.body["messages"] == [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello, how are you?"},
    ]


def test_a_dialog_with_a_model_looks_as_promised_and_leaves_a_history_and_logs(tmp_path: Path) -> None:
    dialog = program_that_contains("AnthropicAgent")
    promised = dialog.promised_output or ""
    first, second = (answer.partition("USER: ")[0].rstrip("\n") for answer in promised.split("ANTHROPIC_AGENT: ")[1:])
    with start_protocol_server() as server:
        server.script(first, second)
        settings = {"ANTHROPIC_BASE_URL": server.anthropic_base_url, "ANTHROPIC_API_KEY": "any", "NO_COLOR": "1"}

        with in_terminal(dialog.source, tmp_path, **settings) as terminal:
            for number, line in enumerate(("hi", "got it, thanks!", "exit"), start=1):
                terminal.wait_for("USER:", times=number)
                terminal.type(f"{line}\r")
            code = terminal.exit_code()

    assert code == 0
    assert terminal.text == promised.rstrip("\n")
    assert [request.body["system"] for request in server.requests] == [server.requests[0].body["system"]] * 2
    assert [message["role"] for message in server.requests[1].body["messages"]] == ["user", "assistant", "user"]
    history = (tmp_path / "CHAT.md").read_text()
    assert [text in history for text in ("hi", first, "got it, thanks!", second)] == [True] * 4
    assert "Your job is" not in history
    assert len(list((tmp_path / "llm_logs").iterdir())) == 2
