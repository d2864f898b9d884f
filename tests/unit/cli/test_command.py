"""The command `miniagents` itself: its help and version, and what they cost."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from miniagents.cli import main

HEAVY = ("openai", "anthropic", "httpx2", "rich", "prompt_toolkit", "starlette", "uvicorn", "sqlite3", "yaml", "mcp")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_help_lists_the_commands(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)

    assert "chat   Talk to a model, or to the built-in offline guide" in result.output


def test_the_help_of_chat_tells_the_models_their_order_and_the_form_of_its_files() -> None:
    result = CliRunner().invoke(main, ["chat", "--help"])

    assert result.exit_code == 0
    for fact in ("script:FILE", "openai:MODEL", "OLLAMA_HOST", "MINIAGENTS_OFFLINE=1", "## ASSISTANT", "Exit code"):
        assert fact in result.output


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["chta"])

    assert result.exit_code == 2
    assert "No such command 'chta'" in result.output


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("miniagents ")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_of_what_the_commands_need(option: str) -> None:
    program = (
        "import sys\n"
        "from miniagents.cli import main\n"
        f"main([{option!r}], standalone_mode=False)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
        "print([name for name in sys.modules if name.startswith(('miniagents.cli.', 'miniagents.ext'))])\n"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[-2:] == ["[]", "[]"]


def test_the_module_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "miniagents", "--help"], capture_output=True, text=True, check=True)

    assert run.stdout.startswith("Usage: python -m miniagents ")
