"""`miniagents chat` with a person at a terminal: typed into a real pseudo-terminal, key by key."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are a thing of POSIX", allow_module_level=True)

from miniagents.testing.server import Answer, Gate, ProtocolServer, Usage, start_protocol_server
from tests.support.delays import Delays
from tests.unit.ext.terminal import Terminal

CTRL_C, CTRL_D, CTRL_J, UP = "\x03", "\x04", "\n", "\x1b[A"
SHIFT_ENTER, ALT_ENTER = "\x1b[13;2u", "\x1b\r"
PROMPT = "\n>"
GREETING = "Enter sends, Alt+Enter begins a new line, /help lists the commands, Ctrl+D leaves."


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as running:
        yield running


def say(terminal: Terminal, text: str, *, prompts: int = 1) -> None:
    """Send a message at the `prompts`-th prompt."""
    terminal.wait_for(PROMPT, times=prompts)
    terminal.type(f"{text}\r")


def leave(terminal: Terminal, *, prompts: int) -> None:
    terminal.wait_for(PROMPT, times=prompts)
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.text


# ------------------------------------------------------------------------------------------------ a dialog


def test_a_dialog_of_several_turns_ends_with_exit(chat) -> None:
    terminal = chat("--model", "echo")
    for number, said in enumerate(("hello there", "and again", "exit"), start=1):
        say(terminal, said, prompts=number)

    assert terminal.exit_code() == 0
    assert terminal.text == (
        f"Model: echo, because `--model echo` says so.\n{GREETING}\n"
        "> hello there\n\nhello there\n\n> and again\n\nand again\n\n> exit"
    )


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["Ctrl+C", "Ctrl+D"])
def test_a_key_at_an_empty_prompt_ends_the_dialog_in_good_order(chat, key: str) -> None:
    terminal = chat("--model", "echo")
    terminal.wait_for(PROMPT)
    terminal.type(key)

    assert terminal.exit_code() == 0
    assert terminal.text.endswith(PROMPT)


def test_an_interrupt_from_elsewhere_at_the_prompt_ends_the_dialog_too(chat) -> None:
    terminal = chat("--model", "echo")
    terminal.wait_for(PROMPT)
    terminal.interrupt()

    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.text


def test_ctrl_c_at_the_prompt_clears_what_was_typed(chat) -> None:
    terminal = chat("--model", "echo")
    terminal.wait_for(PROMPT)
    terminal.type("half a thought")
    terminal.wait_for("> half a thought")
    terminal.type(f"{CTRL_C}a whole one\r")
    terminal.wait_for("\na whole one\n")

    leave(terminal, prompts=2)
    assert "thought" not in terminal.text


@pytest.mark.parametrize("key", [ALT_ENTER, CTRL_J, SHIFT_ENTER], ids=["Alt+Enter", "Ctrl+J", "Shift+Enter"])
def test_a_key_begins_a_new_line_without_sending(chat, key: str) -> None:
    terminal = chat("--model", "echo")
    say(terminal, f"one{key}two")
    terminal.wait_for("\n\none\ntwo\n")

    leave(terminal, prompts=2)


def test_pasted_lines_are_not_sent_before_enter_is_pressed(chat) -> None:
    terminal = chat("--model", "echo")
    terminal.wait_for(PROMPT)
    terminal.type("\x1b[200~one\rtwo\x1b[201~")
    terminal.wait_for("  two")
    # From a terminal that does not mark what is pasted.
    terminal.type("\rthree\rfour")
    terminal.wait_for("  four")
    terminal.type("\r")
    terminal.wait_for("\n\none\ntwo\nthree\nfour\n")

    leave(terminal, prompts=2)


def test_what_was_typed_is_there_again_in_the_next_dialog_for_nobody_else_to_read(chat, state_folder: Path) -> None:
    first = chat("--model", "echo")
    say(first, "remember me")
    leave(first, prompts=2)

    second = chat("--model", "echo")
    second.wait_for(PROMPT)
    second.type(UP)
    second.wait_for("> remember me")
    second.type(CTRL_C)
    leave(second, prompts=1)
    file = state_folder / "miniagents" / "chat_input_history"
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_a_model_the_guide_greets_and_answers(chat) -> None:
    terminal = chat()
    say(terminal, "/demo")
    terminal.wait_for("These run live")
    say(terminal, "/help", prompts=2)
    terminal.wait_for("Commands of the guide:")
    leave(terminal, prompts=3)

    assert terminal.text.startswith("Model: guide, because neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set, and ")
    assert "\nIt is an offline guide, not an LLM." in terminal.text
    assert "/demo parallel" in terminal.text


# ------------------------------------------------------------------------------------------------ while a reply comes


def test_words_are_shown_as_they_come_as_markdown_and_nothing_is_drawn_anew(chat, server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer(["# Ti", "tle\n\nSome **bo", "ld** words ", gate, "and\n", "```\nco", "de\n```\n"]))
    terminal = chat("--model", "openai:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("Title\n\nSome bold words")
    before = len(terminal.raw)
    gate.open()
    terminal.wait_for("Some bold words and\n```\ncode\n```\n")
    answer = terminal.raw[before : terminal.raw.index("```", terminal.raw.index("code", before))]

    leave(terminal, prompts=2)
    # No escape sequence beside those for the look of letters.
    assert "\x1b" not in answer.replace("\x1b[2m", "").replace("\x1b[0m", "").replace("\r\x1b[K", "")


def test_the_beginning_of_a_word_is_shown_when_nothing_comes_for_a_while(chat, server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer(["Hal", gate, "f-way"]))
    terminal = chat("--model", "openai:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("\n\nHal")
    gate.open()
    terminal.wait_for("\n\nHalf-way\n")

    leave(terminal, prompts=2)


def test_until_the_first_token_seconds_are_counted_and_then_nothing_is_left_of_it(chat, server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer([gate, "There."]))
    terminal = chat("--model", "openai:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("0 s · Ctrl+C stops")
    terminal.wait_for("1 s · Ctrl+C stops")
    gate.open()
    terminal.wait_for("There.\n")

    leave(terminal, prompts=2)
    assert " s · " not in terminal.text


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_ctrl_c_while_tokens_stream_stops_the_turn_and_keeps_what_was_said(
    chat, server: ProtocolServer, tmp_path: Path, provider: str
) -> None:
    history = tmp_path / "CHAT.md"
    server.script(Answer(["Half ", Gate(), "an answer"]), "Yes.")
    terminal = chat("--model", f"{provider}:some-model", "--history", str(history), **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("Half")
    delays, pressed_at = Delays(), time.monotonic()
    delays.start()
    terminal.type(CTRL_C)
    terminal.wait_for("\n\nHalf\n(stopped)\n")

    ended_at = server.requests[0].ended_at
    assert asyncio.run(server.requests[0].ended()) == "closed by the client"
    assert ended_at is not None
    assert ended_at - pressed_at - delays.until(ended_at) < 0.3
    alias = f"{provider.upper()}_AGENT"
    assert history.read_text() == f"## USER\n\nHi\n\n## ASSISTANT ({alias}, interrupted)\n\nHalf \n\n"
    say(terminal, "Go on?", prompts=2)
    terminal.wait_for("Yes.")
    leave(terminal, prompts=3)
    assert [text.strip() for _, text in server.requests[1].dialog] == ["Hi", "Half", "Go on?"]


def test_ctrl_c_before_the_first_token_stops_the_turn_too(chat, server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer([gate, "late"]))
    terminal = chat("--model", "anthropic:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("Ctrl+C stops")
    asyncio.run(gate.reached())
    terminal.type(CTRL_C)
    terminal.wait_for("(stopped)")

    leave(terminal, prompts=2)
    assert asyncio.run(server.requests[0].ended()) == "closed by the client"


def test_keys_that_are_pressed_meanwhile_do_not_show_and_stand_at_the_next_prompt(chat, server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer(["First ", gate, "answer"]), "Second answer")
    terminal = chat("--model", "openai:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("First")
    terminal.type("next question")
    gate.open()
    terminal.wait_for("\nFirst answer\n")
    terminal.wait_for("> next question")
    terminal.type("\r")
    terminal.wait_for("\nSecond answer\n")

    leave(terminal, prompts=3)


def test_a_failed_answer_is_told_in_a_line_and_the_dialog_goes_on(chat, server: ProtocolServer) -> None:
    terminal = chat("--model", "openai:some-model", **{**server.environment, "OPENAI_API_KEY": "wrong-key"})
    say(terminal, "Hi")
    terminal.wait_for("Error: ")
    terminal.wait_for("Incorrect API key provided")

    leave(terminal, prompts=2)


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


def test_ctrl_c_cuts_off_a_single_answer_and_the_exit_code_says_so(
    chat, server: ProtocolServer, tmp_path: Path
) -> None:
    history = tmp_path / "CHAT.md"
    server.script(Answer(["Half", Gate(), " an answer"]))
    terminal = chat("--model", "openai:some-model", "--history", str(history), "Hi", **server.environment)
    terminal.wait_for("Half")
    terminal.type(CTRL_C)

    assert terminal.exit_code() == 130
    assert terminal.text.splitlines()[1:] == ["Half"]
    assert history.read_text().endswith("interrupted)\n\nHalf\n\n")


# ------------------------------------------------------------------------------------------------ below the prompt


def test_tokens_and_cost_stand_below_the_prompt_and_what_is_not_known_is_no_zero(chat, server: ProtocolServer) -> None:
    server.script(
        Answer("One.", usage=Usage(input_tokens=1234, output_tokens=340)),
        Answer("Two.", usage=Usage(input_tokens=100, output_tokens=10)),
        Answer("Three.", usage=None),
    )
    terminal = chat("--model", "openai:some-model", **server.environment)
    say(terminal, "Hi")
    terminal.wait_for("in 1.2k  out 340  ~$?")
    say(terminal, "Again", prompts=2)
    terminal.wait_for("in 1.3k  out 350  ~$?   last: in 100  out 10")
    say(terminal, "Again", prompts=3)
    terminal.wait_for("in 1.3k+?  out 350+?  ~$?   last: in ?  out ?")
    say(terminal, "/usage", prompts=4)
    terminal.wait_for("3 requests  in 1.3k+?  out 350+?  ~$?")
    terminal.wait_for("the usage of 1 of 3 requests was not reported")

    leave(terminal, prompts=5)


# ------------------------------------------------------------------------------------------------ a server is found


def test_a_server_that_answers_on_this_machine_is_asked_about_once(chat, model_server) -> None:
    server = model_server(["llama3"])
    variables = {"OLLAMA_HOST": f"127.0.0.1:{server.address.port}", "MINIAGENTS_OFFLINE": "0"}

    first = chat(**variables)
    first.wait_for(f"Ollama at {server.address.base_url} answers, with the model llama3.")
    first.wait_for("[Y/n]")
    first.type("n\n")
    leave(first, prompts=1)
    second = chat(**variables)
    leave(second, prompts=1)

    for terminal in (first, second):
        assert "you declined it" in terminal.text
    assert "[Y/n]" not in second.text
