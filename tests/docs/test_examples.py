"""Every example runs as it is, alone and offline, and prints what `printed_by_examples/` holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ext.terminal import REPOSITORY, environment

_EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
_PRINTED = Path(__file__).with_name("printed_by_examples")

# What is typed into those that ask; then the input ends.
_TYPED = {"dialog_from_scratch": "hi\nnice!\nbye\n", "chat_with_history": "hi there\n"}

# On virtual time the pauses of the examples cost nothing, and their order does not depend on how busy the machine is.
_RUN = """\
import asyncio, runpy, sys
from miniagents.testing import VirtualTimeLoop

class VirtualTime(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return VirtualTimeLoop()

asyncio.set_event_loop_policy(VirtualTime())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(example: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _RUN, str(example)],
        cwd=folder,
        env=environment(),
        input=_TYPED.get(example.stem, ""),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda example: example.stem)
def test_an_example_prints_what_it_should(example: Path, tmp_path: Path) -> None:
    ended = run(example, tmp_path)

    assert (ended.stderr, ended.returncode) == ("", 0)
    printed = re.sub(r"\b[0-9a-f]{40}\b", "<hash key>", ended.stdout)
    assert printed == (_PRINTED / f"{example.stem}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda example: example.stem)
def test_an_example_fits_on_a_screen_and_is_listed(example: Path) -> None:
    text = example.read_text(encoding="utf-8")

    assert len(text.splitlines()) < 60
    assert text.startswith('"""')
    assert f"]({example.name})" in (example.parent / "README.md").read_text(encoding="utf-8")


def test_the_chat_with_history_goes_on_where_it_has_stopped(tmp_path: Path) -> None:
    (chat,) = (example for example in _EXAMPLES if example.stem == "chat_with_history")

    for _ in range(2):
        run(chat, tmp_path)

    history = (tmp_path / "CHAT.md").read_text(encoding="utf-8")
    assert history.count("## USER\n\nhi there\n") == 2
    assert history.count("## ASSISTANT (ASSISTANT)\n\nBetter: Hi there.") == 2
    assert len(list((tmp_path / "llm_logs").iterdir())) == 2
