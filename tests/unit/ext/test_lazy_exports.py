import subprocess
import sys

import pytest

import miniagents.ext

_HEAVY = ("prompt_toolkit", "rich", "openai", "anthropic", "httpx2", "click", "sqlite3")


def modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(printed.stdout.split())


@pytest.mark.parametrize("name", miniagents.ext.__all__)
def test_every_exported_name_can_be_imported(name: str) -> None:
    assert getattr(miniagents.ext, name) is not None
    assert name in dir(miniagents.ext)


@pytest.mark.parametrize(
    "statement",
    [
        "import miniagents.ext",
        "from miniagents.ext import agent_chain",
        "from miniagents.ext import console_user_agent",
    ],
)
def test_what_only_a_console_or_a_model_needs_is_not_loaded_with_the_agents(statement: str) -> None:
    assert modules_after(statement).isdisjoint(_HEAVY)


def test_a_name_stays_the_agent_when_the_module_of_that_name_was_imported_first() -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import miniagents.ext.guide_agent\nfrom miniagents import MiniAgent\n"
            "from miniagents.ext import guide_agent\nassert isinstance(guide_agent, MiniAgent), guide_agent",
        ],
        check=True,
    )


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'dialogue_loop'; it has: AWAIT, CLEAR, .*dialog_loop"):
        miniagents.ext.dialogue_loop  # noqa: B018
