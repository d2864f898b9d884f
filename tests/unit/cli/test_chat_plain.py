"""How `miniagents chat` looks where nobody looks: in pipes and files, with and without colours."""

import os
import subprocess
import sys

import pytest

from miniagents.cli.slash_commands import Command, command_in, unknown_command
from miniagents.cli.usage_line import short, usage_line, usage_table
from miniagents.usage import ContextUsage, TokenUsage, UsageTotals

TEXT = "**bold** `code`"


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "miniagents", "chat", "--model", "echo", *arguments, TEXT]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        command, env={**environment, **variables}, input="", capture_output=True, text=True, check=True
    )


@pytest.mark.usefixtures("environment")
def test_into_a_pipe_goes_the_answer_exactly_as_it_came() -> None:
    result = run()

    assert result.stdout == f"{TEXT}\n"
    assert result.stderr == "Model: echo, because `--model echo` says so.\n"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        pytest.param([], {"FORCE_COLOR": "1"}, "\x1b[1mbold\x1b[0m \x1b[1;36mcode\x1b[0m\n", id="FORCE_COLOR"),
        pytest.param([], {"FORCE_COLOR": "0"}, f"{TEXT}\n", id="FORCE_COLOR=0"),
        pytest.param([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, f"{TEXT}\n", id="NO_COLOR wins"),
        pytest.param(["--no-color"], {"FORCE_COLOR": "1"}, f"{TEXT}\n", id="--no-color wins"),
        pytest.param([], {"NO_COLOR": ""}, f"{TEXT}\n", id="an empty NO_COLOR"),
    ],
)
def test_colours_in_a_pipe_are_there_only_if_asked_for(
    arguments: list[str], variables: dict[str, str], expected: str
) -> None:
    assert run(*arguments, TERM="xterm", **variables).stdout == expected


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("/help", Command("help")),
        ("/MODEL  openai:x ", Command("model", "openai:x")),
        ("/system Be brief.\nAlways.", Command("system", "Be brief.\nAlways.")),
        (" exit ", Command("exit")),
        ("/etc/hosts", None),
        (" /help", None),
        ("//help", None),
        ("help", None),
        ("/", None),
    ],
)
def test_a_line_is_a_command_or_a_message(typed: str, command: Command | None) -> None:
    assert command_in(typed) == command


@pytest.mark.parametrize(
    ("name", "others", "guess"),
    [
        ("hlep", (), "/help"),
        ("zzz", (), "`/help` lists them"),
        ("quit", (), "/exit"),
        ("dmo", ("/demo",), "/demo"),
        ("sav", (), "/save"),
    ],
)
def test_an_unknown_command_is_told_the_nearest(name: str, others: tuple[str, ...], guess: str) -> None:
    assert guess in unknown_command(name, others)


def test_usage_is_short_and_what_is_not_known_is_no_zero() -> None:
    usage = ContextUsage()
    assert usage_line(usage) == ""
    assert list(usage_table(usage)) == ["No model has been asked yet."]

    usage.total = UsageTotals(requests=1, unknown=1)
    assert usage_line(usage) == "in ?  out ?  ~$?"

    priced = UsageTotals(requests=1, input_tokens=1234, output_tokens=340, cost=0.004)
    usage.by_model = {"a": priced}
    usage.total = priced
    assert usage_line(usage, TokenUsage(input_tokens=1)) == "in 1.2k  out 340  ~$0.004"

    usage.by_model["b"] = UsageTotals(requests=2, input_tokens=10, output_tokens=5, unknown=1)
    usage.total = UsageTotals(requests=3, input_tokens=1244, output_tokens=345, cost=0.004, unknown=1)
    assert usage_line(usage, TokenUsage(input_tokens=10)) == ("in 1.2k+?  out 345+?  ~$0.004+?   last: in 10  out ?")
    table = list(usage_table(usage))
    assert table[:3] == [
        "a    1 request  in 1.2k  out 340  ~$0.004",
        "b    2 requests  in 10+?  out 5+?  ~$?",
        "all  3 requests  in 1.2k+?  out 345+?  ~$0.004+?",
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (1000, "1k"), (1250, "1.2k"), (2_000_000, "2M"), (None, "?")]
)
def test_numbers_are_short(count: int | None, text: str) -> None:
    assert short(count) == text
