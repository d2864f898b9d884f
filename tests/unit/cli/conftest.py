"""An environment without the developer's own keys, and the model server of one answer."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.model_servers import FakeServer, model_server

if TYPE_CHECKING:
    from tests.unit.ext.terminal import Terminal

__all__ = ["FakeServer", "model_server"]


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    """Where answers are remembered, if the environment of the test names it as XDG_STATE_HOME."""
    return tmp_path / "state"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, state_folder: Path) -> dict[str, str]:
    """The environment of a user who has set nothing up, for this process (changes are undone) and for others."""
    for name in list(os.environ):
        if name == "CI" or name.startswith(("OPENAI_", "ANTHROPIC_", "OLLAMA_", "MINIAGENTS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(state_folder))
    # What runs on the machine of the developer must not change the outcome of a test.
    monkeypatch.setenv("MINIAGENTS_OFFLINE", "1")
    # The package is found from here, also by a process that is started in another folder.
    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    return dict(os.environ)


@pytest.fixture
def chat(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., "Terminal"]]:
    """Runs `miniagents chat` with these arguments and variables, in a terminal that closes with the test."""
    from tests.unit.ext.terminal import in_terminal  # not to be had on Windows

    with ExitStack() as terminals:

        def start(*arguments: str, **variables: str) -> "Terminal":
            program = f"from miniagents.cli import main\nmain({['chat', *arguments]!r}, prog_name='miniagents')"
            return terminals.enter_context(in_terminal(program, tmp_path, **{"NO_COLOR": "1", **variables}))

        yield start
