"""The names that the pages mention are those that the package has, and the reference leaves none out."""

import asyncio
import builtins
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import anthropic
import openai
import pydantic
import pytest

import miniagents
import miniagents.errors
import miniagents.ext
import miniagents.ext.llms
import miniagents.ext.llms.errors
import miniagents.promising.errors
import miniagents.testing
from miniagents import AgentCall, InteractionContext, MiniAgents
from tests.docs.test_pages import PAGES, ROOT

REFERENCE = ROOT / "docs" / "reference.md"
THE_SDK_WARNS_OF = importlib.import_module("anthropic.resources.messages.messages").DEPRECATED_MODELS


def prose_of(page: Path) -> str:
    """The page without its programs, which have tests of their own."""
    return re.sub(r"^(`{3,}|~{3,}).*?^\1\s*$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_column(page: Path, heading: str) -> list[str]:
    """What stands as code in the first column of the table below this heading."""
    _, found, below = prose_of(page).partition(f"\n## {heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    rows = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [code for row in rows[2:] for code in code_in(row.split("|")[1])]


# ------------------------------------------------------------------------------------------------------ reference


@pytest.mark.parametrize(
    "module", [miniagents, miniagents.ext, miniagents.ext.llms, miniagents.testing], ids=lambda module: module.__name__
)
def test_the_reference_has_every_public_name_of_a_package_and_no_other(module: ModuleType) -> None:
    assert sorted(first_column(REFERENCE, f"Names in {module.__name__}")) == sorted(module.__all__)


@pytest.mark.parametrize("name", first_column(REFERENCE, "Names in miniagents.promising"))
def test_what_the_reference_says_is_in_a_module_is_there(name: str) -> None:
    module, _, attribute = f"miniagents.{name}".rpartition(".")

    assert hasattr(importlib.import_module(module), attribute)


def test_the_reference_has_every_setting_of_the_context_with_its_default() -> None:
    parameters = inspect.signature(MiniAgents).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}

    assert sorted(first_column(REFERENCE, "Settings of MiniAgents()")) == sorted(settings)
    for row in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", prose_of(REFERENCE), re.MULTILINE):
        if row[0] in settings and row[0] not in ("logger", "log_level_for_errors"):
            assert row == (row[0], repr(settings[row[0]]).replace("'", '"'))


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Methods of MiniAgents", MiniAgents),
        ("Methods of InteractionContext", InteractionContext),
        ("Methods of Message", miniagents.Message),
    ],
)
def test_every_method_that_the_reference_has_exists(heading: str, kind: type) -> None:
    codes = [code.removeprefix("await ").removeprefix("Message.") for code in first_column(REFERENCE, heading)]
    names = [re.match(r"\w+", code).group() for code in codes if not code.startswith(("str(", "message["))]

    assert len(names) > 5
    known = {*dir(kind), *inspect.get_annotations(kind), *getattr(kind, "model_fields", ())}
    assert [name for name in names if name not in known] == []


@pytest.mark.parametrize("kind", [AgentCall, InteractionContext], ids=lambda kind: kind.__name__)
def test_the_reference_has_every_public_method_of_what_agents_work_with(kind: type) -> None:
    mentioned = set(re.findall(r"\w+", " ".join(code_in(prose_of(REFERENCE)))))

    assert sorted({name for name in dir(kind) if not name.startswith("_")} - mentioned) == []


# --------------------------------------------------------------------------------------------------------- errors


def errors_in(module: ModuleType) -> set[str]:
    # A list, as the SDKs load some of their names while one looks at others.
    kinds = list(vars(module).items())
    return {name for name, kind in kinds if isinstance(kind, type) and issubclass(kind, BaseException)}


@cache
def known_errors() -> frozenset[str]:
    names = [module.name for module in pkgutil.walk_packages(miniagents.__path__, "miniagents.")]
    ours = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return frozenset().union(*map(errors_in, [*ours, builtins, asyncio, pydantic, openai, anthropic]))


def errors_named_in(text: str) -> Iterator[str]:
    for code in code_in(text):
        yield from re.findall(r"(?:\b[a-z_]\w*\.)*\b[A-Z]\w*Error\b", code)


def exists(error: str) -> bool:
    module, _, name = error.rpartition(".")
    return name in errors_in(importlib.import_module(module)) if module else name in known_errors()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_error_that_a_page_names_exists(page: Path) -> None:
    assert sorted({error for error in errors_named_in(prose_of(page)) if not exists(error)}) == []


def test_an_error_that_does_not_exist_would_be_found() -> None:
    text = "Catch `except ModelIsTiredError` or `openai.RateLimitError`, `openai.NoSuchError`, `ValueError`."

    assert [error for error in errors_named_in(text) if not exists(error)] == [
        "ModelIsTiredError",
        "openai.NoSuchError",
    ]


@pytest.mark.parametrize(
    ("page", "modules"),
    [
        ("errors_and_cancellation.md", [miniagents.errors, miniagents.promising.errors]),
        ("models.md", [miniagents.ext.llms.errors]),
    ],
)
def test_the_page_about_errors_has_all_of_them(page: str, modules: list[ModuleType]) -> None:
    named = set(errors_named_in(prose_of(ROOT / "docs" / page)))
    elsewhere = errors_in(miniagents.errors) if page == "models.md" else set()

    assert sorted(set().union(*map(errors_in, modules)) - elsewhere - named) == []


# --------------------------------------------------------------------------------------------------------- models


def test_no_model_is_recommended_that_its_provider_is_about_to_switch_off() -> None:
    files = [*PAGES, *(ROOT / "examples").rglob("*.py"), *(ROOT / "miniagents").rglob("*.py")]
    named = {name for file in files for name in re.findall(r"claude-[\w.-]+\w", file.read_text(encoding="utf-8"))}

    assert "claude-sonnet-5-5" in named
    assert sorted(named & set(THE_SDK_WARNS_OF)) == []
