"""Every program in the README and the docs runs, and prints what the page says it prints."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from miniagents.testing.server import ProtocolServer, start_protocol_server
from tests.docs.programs import Program, read_programs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = [program for page in PAGES for program in read_programs(page)]

pytestmark = pytest.mark.allow_errors_in_log("a page may show an error that nobody receives")


@pytest.fixture(scope="module")
def models() -> Iterator[ProtocolServer]:
    """What answers in place of OpenAI and Anthropic, in their wire protocols."""
    with start_protocol_server() as server:
        yield server


@pytest.fixture(autouse=True)
def a_folder_and_models_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: ProtocolServer
) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name, value in models.environment.items():
        monkeypatch.setenv(name, value)
    yield
    models.reset()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.page.relative_to(ROOT)}:{program.line}")
def test_the_program_prints_what_its_page_promises(program: Program, models: ProtocolServer) -> None:
    if program.why_not_run:
        pytest.skip(program.why_not_run)
    models.script(*program.model_answers)

    program.check()


def test_the_pages_are_found() -> None:
    assert {ROOT / "README.md", ROOT / "CONTRIBUTING.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert [link for link in links_of(page) if not (page.parent / link).exists()] == []


def links_of(page: Path) -> list[str]:
    """Relative links, without the part behind `#`; what stands in code is none."""
    code = re.compile(r"^(`{3,}|~{3,}).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
    text = code.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"", text)
    links = [markdown or html for markdown, html in targets]
    return [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
