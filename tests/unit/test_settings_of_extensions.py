"""Settings of `MiniAgents` that belong to installed extensions."""

from pathlib import Path
from typing import Any

import pytest

from miniagents import (
    MiniAgents,
)
from miniagents.errors import UnknownSettingError
from tests.unit.interceptors import echo


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


def test_a_setting_is_looked_up_among_the_installed_extensions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "answering_extension-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: answering-extension\nVersion: 1.0\n")
    points_to = "answering_extension:build"
    (installed / "entry_points.txt").write_text(f"[miniagents.extensions]\nanswers = {points_to}\nalso = {points_to}\n")
    (tmp_path / "answering_extension.py").write_text(ANSWERING_EXTENSION)
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> list[str]:
        return await texts(echo.inquire("a"))

    assert MiniAgents(answers="sqlite:///answers.db").run(main()) == ["sqlite:///answers.db and None"]
    assert MiniAgents(answers="a", also="b").run(main()) == ["a and b"], "made once, of both settings"
    with pytest.raises(UnknownSettingError, match="Installed extensions: also, answers"):
        MiniAgents(unknown=1)


ANSWERING_EXTENSION = """
class Answering:
    def __init__(self, url):
        self.url = url

    async def intercept_call(self, call, proceed):
        yield self.url

def build(settings, mini_agents):
    assert type(mini_agents).__name__ == "MiniAgents"
    return Answering(f"{settings.get('answers')} and {settings.get('also')}")
"""


def test_a_setting_that_no_extension_takes_is_refused_by_name() -> None:
    with pytest.raises(UnknownSettingError, match="`joural`") as caught:
        MiniAgents(joural="sqlite:///runs.db")

    assert isinstance(caught.value, TypeError)
    caught.match("sqlite:///runs.db")
