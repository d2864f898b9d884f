"""The tree of errors: one root, each explained, and how the values in their sentences are shown."""

import inspect
import re
from typing import Any

import pytest

import miniagents.errors
import miniagents.promising.errors
from miniagents import MiniAgentsError
from miniagents.errors import (
    CallFinishedError,
    ContextAlreadyActiveError,
    FunctionNotProvidedError,
    LoopIsRunningError,
    MissingExtraError,
    NoActiveContextError,
    NoRunningLoopError,
    NotAMessageError,
    NotAnAgentError,
    SyncWithError,
    UnknownSettingError,
    WrongActiveContextError,
    WrongThreadError,
)
from miniagents.promising.errors import PromisingContextError, PromisingError


def error_classes() -> list[type[BaseException]]:
    modules = (miniagents.errors, miniagents.promising.errors)
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BaseException)
    }
    return sorted(found, key=lambda error_class: error_class.__name__)


@pytest.mark.parametrize("error_class", error_classes(), ids=lambda error_class: error_class.__name__)
def test_every_error_is_below_one_root_and_explained(error_class: type[BaseException]) -> None:
    assert issubclass(error_class, MiniAgentsError)
    assert issubclass(error_class, Exception)
    assert (error_class.__doc__ or "").strip()
    assert error_class.__name__ == "PromisingError" or error_class.__name__.endswith("Error")


def test_the_root_has_two_names() -> None:
    assert MiniAgentsError is PromisingError


@pytest.mark.parametrize("module", [miniagents.errors, miniagents.promising.errors], ids=lambda module: module.__name__)
def test_the_tree_in_the_docstring_is_complete(module: Any) -> None:
    own = {
        name for name, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__
    }

    named = set(re.findall(r"\b\w+Error\b", module.__doc__))

    assert own <= named


@pytest.mark.parametrize(
    ("error_class", "builtin"),
    [
        (NotAMessageError, TypeError),
        (NotAnAgentError, TypeError),
        (UnknownSettingError, TypeError),
        (FunctionNotProvidedError, TypeError),
        (SyncWithError, TypeError),
        (CallFinishedError, RuntimeError),
        (ContextAlreadyActiveError, RuntimeError),
        (NoRunningLoopError, RuntimeError),
        (LoopIsRunningError, RuntimeError),
        (WrongThreadError, RuntimeError),
        (MissingExtraError, ImportError),
    ],
    ids=lambda value: value.__name__,
)
def test_an_error_is_also_what_python_would_raise(
    error_class: type[BaseException], builtin: type[BaseException]
) -> None:
    assert issubclass(error_class, builtin)


def test_errors_of_contexts_have_a_root_of_their_own() -> None:
    for error_class in (NoActiveContextError, WrongActiveContextError, ContextAlreadyActiveError, SyncWithError):
        assert issubclass(error_class, PromisingContextError)


def test_a_huge_value_is_shortened() -> None:
    class Huge:
        def __repr__(self) -> str:
            return "x" * 100_000

    assert len(str(NotAMessageError(Huge()))) < 1000


def test_a_value_whose_repr_fails_does_not_hide_the_error() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no repr")

    with pytest.raises(NotAMessageError, match="Broken"):
        raise NotAMessageError(Broken())
