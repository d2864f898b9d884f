"""`miniagents chat` without a person: one question, one answer, an exit code."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from miniagents.cli import main
from miniagents.testing.server import Answer, Cut, Failure, ProtocolServer, start_protocol_server

TALK = "## USER\n\nHello!\n\n## ASSISTANT\n\nHello, you!\n\n## USER\n\nBye!\n\n## ASSISTANT\n\nSee you.\n"


@pytest.fixture(autouse=True)
def nothing_is_set_up(environment: dict[str, str]) -> None:
    """Every test here begins as a new user does."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    with start_protocol_server() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def chat(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["chat", *arguments], input=stdin)


def answer_of(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def error_of(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    [*_, line] = result.stderr.splitlines()
    return line


# ------------------------------------------------------------------------------------------------ what is asked


def test_a_message_is_answered_on_standard_output_and_nothing_else_is_there() -> None:
    result = chat("--model", "echo", "two  words")

    assert answer_of(result) == "two  words\n"
    assert result.stderr == "Model: echo, because `--model echo` says so.\n"


@pytest.mark.parametrize(
    ("message", "stdin", "asked"),
    [
        pytest.param(None, "from the pipe\n", "from the pipe", id="standard input alone"),
        pytest.param("Say it", "from the pipe\n", "Say it\n\nfrom the pipe", id="both, the text after the message"),
        pytest.param("Say it", "", "Say it", id="an empty pipe"),
        pytest.param("Say it", " \n", "Say it", id="a blank pipe"),
        pytest.param("", "text", "text", id="an empty message"),
        pytest.param(None, "exit\n", "exit", id="a word that ends dialogs"),
        pytest.param(None, "\ufeffa file of Windows\r\n", "a file of Windows", id="byte order mark"),
    ],
)
def test_message_and_standard_input_make_one_question(message: str | None, stdin: str, asked: str) -> None:
    arguments = ["--model", "echo"] if message is None else ["--model", "echo", message]

    assert answer_of(chat(*arguments, stdin=stdin)) == asked + "\n"


@pytest.mark.parametrize("arguments", [[], [""], ["  \n"]])
def test_nothing_to_answer_is_an_error(arguments: list[str]) -> None:
    assert "There is nothing to answer" in error_of(chat("--model", "echo", *arguments))


def test_standard_input_that_is_no_text_is_an_error_that_names_the_byte() -> None:
    assert "byte 0xe9 at position 3" in error_of(chat("--model", "echo", stdin="caf\xe9".encode("latin-1")))


def test_a_message_that_is_no_text_is_an_error() -> None:
    assert "MESSAGE is no text in UTF-8 (at its character 4)" in error_of(chat("--model", "echo", "caf\udce9"))


# ------------------------------------------------------------------------------------------------ who answers


def test_without_a_key_the_guide_answers_and_says_what_it_is() -> None:
    result = chat("how do I install the openai extra?")

    assert "not an LLM" in answer_of(result)
    assert result.stderr.startswith("Model: guide, because neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set")
    assert "It is an offline guide, not an LLM." in result.stderr


def test_a_question_that_a_command_asks_of_the_guide_runs_a_demonstration() -> None:
    assert "`/demo parallel`" in answer_of(chat("--model", "guide", "/demo"))


def test_a_script_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "talk.md").write_text(TALK)

    assert answer_of(chat("--model", f"script:{tmp_path / 'talk.md'}", "hi")) == "Hello, you!\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "nobody:pro", "hi"], "No model is called 'nobody:pro'"),
        (["--model", "openai:gpt-4o", "hi"], "OPENAI_API_KEY is not set"),
        (["--model", "script:/nowhere/talk.md", "hi"], "'/nowhere/talk.md' cannot be read"),
        (["--model", "http://example.com", "hi"], "is no plain-HTTP address of this machine"),
    ],
)
def test_a_model_that_cannot_be_had_is_an_error_of_one_line(arguments: list[str], sentence: str) -> None:
    result = chat(*arguments)

    assert sentence in error_of(result)
    assert result.stdout == ""


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_provider_is_asked_with_system_and_question(server: ProtocolServer, provider: str) -> None:
    server.script("Hello there!")

    result = chat("--model", f"{provider}:some-model", "--system", "Be brief.", "Hi", stdin="there")

    assert answer_of(result) == "Hello there!\n"
    body = server.requests[0].body
    assert body["model"] == "some-model"
    assert "Be brief." in str(body)
    assert "Hi\\n\\nthere" in str(body)


def test_a_key_in_the_environment_is_enough(server: ProtocolServer) -> None:
    server.script("Hello!")

    result = chat("Hi")

    assert answer_of(result) == "Hello!\n"
    assert "because OPENAI_API_KEY is set" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_answer_that_is_refused_is_an_error_of_one_line(server: ProtocolServer, provider: str) -> None:
    server.script(Failure(400, "the model has the hiccups"))

    result = chat("--model", f"{provider}:some-model", "Hi")

    assert "the model has the hiccups" in error_of(result)
    assert result.stdout == ""


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_of_an_answer_that_breaks_off_the_tokens_that_came_are_written(server: ProtocolServer, provider: str) -> None:
    server.script(Answer(["Half", " an", Cut()]))

    result = chat("--model", f"{provider}:some-model", "Hi")

    assert "a part of it may be missing" in error_of(result)
    assert result.stdout == "Half an\n"


def test_a_server_on_this_machine_is_asked_without_the_users_key_and_without_a_proxy(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users-own")
    monkeypatch.setenv("OPENAI_ORG_ID", "the-users-company")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    # In a process of its own: the environment is changed for the rest of it.
    run = subprocess.run(
        [sys.executable, "-m", "miniagents", "chat", "--model", f"{server.openai_base_url}#llama3", "Hi"],
        capture_output=True,
        text=True,
        input="",
        check=False,
    )

    assert run.stdout == 'You said "Hi" (I am llama3, this was message 1)\n', run.stderr
    assert run.returncode == 0
    assert "sk-the-users-own" not in str(server.requests[0].headers)
    assert "the-users-company" not in str(server.requests[0].headers)


def test_a_system_prompt_that_nobody_reads_is_mentioned() -> None:
    assert "`--system` has no effect on echo." in chat("--model", "echo", "--system", "Be brief.", "Hi").stderr


# ------------------------------------------------------------------------------------------------ history


def test_the_history_carries_a_conversation_from_one_command_to_the_next(tmp_path: Path) -> None:
    script, history = tmp_path / "talk.md", tmp_path / "CHAT.md"
    script.write_text(TALK)
    arguments = ["--model", f"script:{script}", "--history", str(history)]

    answers = [answer_of(chat(*arguments, question)) for question in ("one", "two")]

    assert answers == ["Hello, you!\n", "See you.\n"]
    assert history.read_text() == (
        "## USER\n\none\n\n## ASSISTANT (SCRIPT)\n\nHello, you!\n\n"
        "## USER\n\ntwo\n\n## ASSISTANT (SCRIPT)\n\nSee you.\n\n"
    )


def test_a_history_can_be_replayed_as_a_script(tmp_path: Path) -> None:
    history = tmp_path / "CHAT.md"
    chat("--model", "echo", "--history", str(history), "Well?")

    assert answer_of(chat("--model", f"script:{history}", "hi")) == "Well?\n"


def test_a_question_and_half_an_answer_are_kept_when_the_answer_fails(server: ProtocolServer, tmp_path: Path) -> None:
    server.script(Answer(["Half", " an", Cut()]))
    history = tmp_path / "CHAT.md"

    error_of(chat("--model", "openai:some-model", "--history", str(history), "Hi"))

    assert history.read_text() == "## USER\n\nHi\n\n## ASSISTANT (OPENAI_AGENT, interrupted)\n\nHalf an\n\n"


def test_a_history_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    history = tmp_path / "CHAT.md"
    history.write_bytes(b"## USER\n\n\xff\xfe\n")

    result = chat("--model", "echo", "--history", str(history), "Hi")

    assert str(history) in error_of(result)
    assert result.stdout == ""
    assert history.read_bytes() == b"## USER\n\n\xff\xfe\n"


# ------------------------------------------------------------------------------------------------ standard output


def test_a_reader_that_leaves_early_ends_the_command_without_a_traceback(environment: dict[str, str]) -> None:
    text = "word " * 100_000
    command = f'"{sys.executable}" -m miniagents chat --model echo | head -c 4'

    run = subprocess.run(["/bin/sh", "-c", command], input=text, capture_output=True, text=True, check=False)

    assert run.stdout == "word"
    assert "Traceback" not in run.stderr
    assert "rror" not in run.stderr


def test_characters_that_standard_output_cannot_encode_do_not_end_the_answer(environment: dict[str, str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "miniagents", "chat", "--model", "echo"],
        input="na\u00efve \U0001f600".encode(),
        capture_output=True,
        env={**environment, "PYTHONIOENCODING": "ascii"},
        check=False,
    )

    assert run.stdout == b"na\\xefve \\U0001f600\n"
    assert run.returncode == 0
