"""The names that the pages mention are those that the package has, and the reference leaves none out."""

import asyncio
import builtins
import importlib
import inspect
import json
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
from pydantic.fields import FieldInfo

import miniagents
import miniagents.errors
import miniagents.events
import miniagents.events.errors
import miniagents.ext
import miniagents.ext.llms
import miniagents.ext.llms.errors
import miniagents.journal
import miniagents.promising.errors
import miniagents.testing
from miniagents import AgentCall, InteractionContext, MiniAgent, MiniAgents
from miniagents.cli.slash_commands import COMMANDS
from miniagents.ext.llms import LLMAgent
from miniagents.ext.llms.errors import TransientError
from tests.docs.test_pages import PAGES, ROOT

REFERENCE = ROOT / "docs" / "reference.md"
ERRORS = ROOT / "docs" / "errors_and_cancellation.md"
THE_SDK_WARNS_OF = importlib.import_module("anthropic.resources.messages.messages").DEPRECATED_MODELS


def prose_of(page: Path) -> str:
    """The page without its programs, which have tests of their own."""
    return re.sub(r"^(`{3,}|~{3,}).*?^\1\s*$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def section(page: Path, heading: str) -> str:
    """What stands below this heading, programs aside."""
    _, found, below = prose_of(page).partition(f"\n## {heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    return below.partition("\n## ")[0]


def first_column(page: Path, heading: str) -> list[str]:
    """What stands as code in the first column of the table below this heading."""
    rows = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    return [code for row in rows[2:] for code in code_in(row.split("|")[1])]


# ------------------------------------------------------------------------------------------------------ reference


@pytest.mark.parametrize(
    "module",
    [
        *(miniagents, miniagents.ext, miniagents.ext.llms),
        *(miniagents.journal, miniagents.events, miniagents.testing),
    ],
    ids=lambda module: module.__name__,
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
    told = section(REFERENCE, "Settings of MiniAgents()")
    for row in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", told, re.MULTILINE):
        if row[0] not in ("logger", "log_level_for_errors"):
            assert row == (row[0], repr(settings[row[0]]).replace("'", '"'))


def settings_of_model_agents() -> dict[str, set[str]]:
    agents = (getattr(miniagents.ext.llms, name) for name in miniagents.ext.llms.__all__)
    classes = [agent._kit.func_or_class for agent in agents if isinstance(agent, MiniAgent)]
    return {kind.__name__: set(kind.model_fields) for kind in classes if isinstance(kind, type)}


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    return json.dumps(field.default) if isinstance(field.default, str) else repr(field.default)


def test_the_reference_has_every_setting_of_the_model_agents_with_its_default() -> None:
    told = section(REFERENCE, "Settings of every model agent")
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", told, re.MULTILINE))

    assert rows == {name: default_of(field) for name, field in LLMAgent.model_fields.items() if name != "ctx"}


def test_the_reference_has_every_setting_of_each_provider() -> None:
    agents = settings_of_model_agents()
    rows = [row.split("|") for row in section(REFERENCE, "Settings of each provider").splitlines() if "`" in row]
    told = {(agent, setting) for row in rows for agent in code_in(row[1]) for setting in code_in(row[2])}
    told |= {(agent, "async_client") for agent in agents.keys() - {"ScriptedAgent"}}

    assert len(agents) == 10
    assert told == {(agent, name) for agent, names in agents.items() for name in names - set(LLMAgent.model_fields)}


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


def test_the_page_about_the_command_line_has_every_command_of_a_dialog() -> None:
    told = first_column(ROOT / "docs" / "command_line.md", "Which commands and keys are there in a dialog?")

    assert {command.split()[0].removeprefix("/") for command in told} == set(COMMANDS)


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
    "module",
    [
        *(miniagents.errors, miniagents.promising.errors, miniagents.ext.llms.errors),
        *(miniagents.journal, miniagents.events.errors),
    ],
    ids=lambda module: module.__name__,
)
def test_the_page_about_errors_has_all_of_them(module: ModuleType) -> None:
    named = set(errors_named_in(prose_of(ERRORS)))

    assert sorted(errors_in(module) - named) == []


def test_the_page_about_errors_tells_which_errors_of_models_are_tried_again() -> None:
    rows = [row.split("|") for row in section(ERRORS, "Which errors can a model raise?").splitlines() if "|" in row]
    retried = {error for row in rows if row[3].strip() == "yes" for error in errors_named_in(row[1])}
    every = errors_in(miniagents.ext.llms.errors)
    transient = {name for name in every if issubclass(getattr(miniagents.ext.llms.errors, name), TransientError)}

    assert retried == transient - {"TransientError"}


# --------------------------------------------------------------------------------------------------------- models


def test_no_model_is_recommended_that_its_provider_is_about_to_switch_off() -> None:
    files = [*PAGES, *(ROOT / "examples").rglob("*.py"), *(ROOT / "miniagents").rglob("*.py")]
    named = {name for file in files for name in re.findall(r"claude-[\w.-]+\w", file.read_text(encoding="utf-8"))}

    assert "claude-sonnet-5-5" in named
    assert sorted(named & set(THE_SDK_WARNS_OF)) == []
