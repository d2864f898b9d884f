"""`miniagents runs | log | show | why | ask | prune`."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from miniagents import Message
from miniagents.cli import journal as commands
from miniagents.cli import main
from miniagents.journal import Journal, StartedCall
from miniagents.usage import UsageTotals


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
def journal(url: str) -> str:
    """A journal with one run: `main` has called a model, and one that failed; it has asked something."""

    async def write() -> None:
        async with await Journal.open(url) as journal:
            run = await journal.begin_run("monday")
            await run.call_started(StartedCall("1", None, "main", inputs=(Message("start"),)))
            await run.call_started(StartedCall("2", "1", "model", inputs=(Message("start"),)))
            usage = UsageTotals(requests=1, input_tokens=30, output_tokens=12)
            await run.call_finished("2", [(Message("Hello\nthere", mood="good"), None)], usage=usage)
            await run.call_started(StartedCall("3", "1", "tool", inputs=()))
            await run.call_failed("3", ConnectionError("no\x1b[2J route"))
            await run.call_finished("1", [(Message("Hello\nthere", mood="good"), None)])
            await run.ask("approve", "Send it?")

    asyncio.run(write())
    return url


ANSWER = Message("Hello\nthere", mood="good").hash_key


def run(command: click.Command, *arguments: str, journal: str | None) -> Result:
    return CliRunner().invoke(command, [*(["--journal", journal] if journal else []), *arguments])


def test_runs_are_listed_with_their_calls_and_tokens(journal: str) -> None:
    lines = run(commands.runs, journal=journal).output.splitlines()

    assert lines[0].split() == ["RUN", "STATE", "BEGAN", "TOOK", "CALLS", "TOKENS", "COST"]
    assert lines[1].startswith("monday  interrupted  20")
    assert lines[1].split()[-3:] == ["3", "42", "-"]


def test_the_log_is_a_tree_with_errors_that_cannot_write_on_the_terminal(journal: str) -> None:
    lines = run(commands.log, "monday", journal=journal).output.splitlines()

    assert [line.split("  ")[0] or line[:7] for line in lines[1:]] == ["main", "  model", "  tool "]
    assert lines[2].endswith(ANSWER[:10])
    assert lines[3].endswith("ConnectionError: no [2J route")


def test_a_message_is_shown_by_the_beginning_of_its_hash(journal: str) -> None:
    shown = run(commands.show, ANSWER[:8], journal=journal)

    assert shown.output == f'Message {ANSWER}\n{{\n  "mood": "good"\n}}\n\nHello\nthere\n'


def test_why_names_the_call_that_made_a_message(journal: str) -> None:
    made = run(commands.why, ANSWER[:8], journal=journal).output.splitlines()
    given = run(commands.why, Message("start").hash_key, journal=journal).output

    assert [line.split()[:2] for line in made[1:]] == [["monday", "model"]]
    assert given == "No call has replied with it: it was given.\n"


def test_a_question_is_listed_until_it_is_answered(journal: str) -> None:
    listed = run(commands.ask, journal=journal)
    answered = run(commands.ask, "monday", "approve", "yes", journal=journal)
    after = run(commands.ask, journal=journal)

    assert listed.output.splitlines()[1].split()[0:2] == ["monday", "approve"]
    assert listed.output.splitlines()[1].endswith("Send it?")
    assert answered.output == "The question 'approve' of the run 'monday' is answered.\n"
    assert after.output == "There are no open questions.\n"


@pytest.mark.parametrize(
    ("age", "told"),
    [("30d", "Removed 0 runs with 0 calls, and 0 messages."), ("0s", "Removed 1 runs with 3 calls, and 2 messages.")],
)
def test_old_runs_are_removed(journal: str, age: str, told: str) -> None:
    assert run(commands.prune, "--older-than", age, journal=journal).output.strip() == told


@pytest.mark.parametrize("age", ["30", "d", "-1d", "99999999999d"])
def test_an_age_that_is_none_is_refused(journal: str, age: str) -> None:
    result = run(commands.prune, "--older-than", age, journal=journal)

    assert result.exit_code == 2
    assert age in result.output


def test_the_journal_is_named_by_a_variable_and_needed(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without = run(commands.runs, journal=None)
    monkeypatch.setenv("MINIAGENTS_JOURNAL", journal)

    assert without.exit_code == 2
    assert "MINIAGENTS_JOURNAL" in without.output
    assert "monday" in run(commands.runs, journal=None).output


@pytest.mark.parametrize(
    "command", [commands.runs, commands.ask, commands.prune], ids=lambda command: str(command.name)
)
def test_a_file_that_is_not_there_is_an_error_and_is_not_made(command: click.Command, url: str, tmp_path: Path) -> None:
    arguments = ["--older-than", "1d"] if command is commands.prune else []

    result = run(command, *arguments, journal=url)

    assert result.exit_code == 1
    assert "There is no such file" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there_is_answered_with_those_that_are(journal: str) -> None:
    result = run(commands.log, "sunday", journal=journal)

    assert result.exit_code == 1
    assert "The latest runs: 'monday'" in result.output


# -- what is wrong in the journal, or with the terminal -----------------------------------------------------------


def change(journal: str, sql: str) -> None:
    connection = sqlite3.connect(journal.removeprefix("sqlite:///"))
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("command", "arguments", "shown"),
    [
        (commands.runs, [], ["monday"]),
        (commands.log, ["monday"], ["main", "tool"]),
        (commands.why, [ANSWER], ["RUN"]),
    ],
    ids=["runs", "log", "why"],
)
def test_a_row_that_cannot_be_read_is_named_behind_all_others(
    journal: str, command: click.Command, arguments: list[str], shown: list[str]
) -> None:
    change(journal, "UPDATE journal_calls SET usage = '{bad' WHERE agent = 'model'")

    result = run(command, *arguments, journal=journal)

    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[-1].startswith("Error: The call '2' of the run 'monday' cannot be read: this is no usage: '{bad'")
    if command is not commands.why:
        assert [line.split()[0] for line in lines[1:-1]] == shown


def test_a_call_below_itself_is_shown(journal: str) -> None:
    change(journal, "UPDATE journal_calls SET parent = key")

    lines = run(commands.log, "monday", journal=journal).output.splitlines()

    assert [line.split()[0] for line in lines[1:]] == ["main", "model", "tool"]


def test_questions_of_a_run_that_is_not_there(journal: str) -> None:
    listed = run(commands.ask, "sunday", journal=journal)
    answered = run(commands.ask, "sunday", "approve", "yes", journal=journal)

    assert (listed.exit_code, answered.exit_code) == (1, 1)
    assert "There is no run 'sunday'. The latest runs: 'monday'" in listed.output
    assert "There is no run 'sunday'. The latest runs: 'monday'" in answered.output


def test_a_name_may_begin_with_a_dash(journal: str) -> None:
    change(journal, "UPDATE journal_runs SET run = '-dash'")
    change(journal, "UPDATE journal_calls SET run = '-dash'")

    as_typed = CliRunner().invoke(main, ["log", "-dash", "--journal", journal])

    assert "main" in as_typed.output
    assert "Show the calls of RUN" in CliRunner().invoke(main, ["log", "-h"]).output
    assert "begins with '-5'" in run(commands.show, "-5", journal=journal).output
    assert "begins with '-5'" in run(commands.why, "-5", journal=journal).output


@pytest.mark.parametrize(("cost", "shown"), [("1E-9", "0.000000001"), ("1E+3", "1000"), ("0.10", "0.10")])
def test_costs_are_plain_decimals(journal: str, cost: str, shown: str) -> None:
    change(journal, f"UPDATE journal_calls SET usage = '{{\"cost\": \"{cost}\"}}' WHERE agent = 'model'")

    assert run(commands.runs, journal=journal).output.splitlines()[1].endswith(f"  {shown}")


def test_replies_are_as_many_as_the_terminal_is_wide(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [Message(str(number)) for number in range(100)]

    async def write() -> None:
        async with await Journal.open(url) as journal:
            opened = await journal.begin_run("wide")
            await opened.call_started(StartedCall("1", None, "main", inputs=()))
            await opened.call_finished("1", [(reply, None) for reply in replies])

    asyncio.run(write())
    told = " ".join(reply.hash_key[:10] for reply in replies)

    # It may be set where the tests are run.
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = run(commands.log, "wide", journal=url).output.splitlines()[1]
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run(commands.log, "wide", journal=url).output.splitlines()[1]
    whole = run(commands.log, "wide", "--all", journal=url).output.splitlines()[1]
    monkeypatch.setenv("COLUMNS", "10")
    narrowest = run(commands.log, "wide", journal=url).output.splitlines()[1]

    assert piped.endswith(told)
    assert whole.endswith(told)
    assert len(narrow) <= 80
    assert narrow.endswith(f" {replies[2].hash_key[:10]} ...")
    assert narrowest.endswith(f"  {replies[0].hash_key[:10]}...")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_output_that_cannot_be_written_is_told_in_a_sentence(journal: str) -> None:
    arguments = [sys.executable, "-m", "miniagents", "runs", "--journal", journal]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "Error: The output cannot be written: [Errno 28] No space left on device\n"
