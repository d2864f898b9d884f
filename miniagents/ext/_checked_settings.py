"""Checks of the settings of agents that are made of other agents; each refusal says what to write instead."""

from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, TypeAlias, TypeVar, cast

from miniagents.miniagents import MiniAgent

Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]
"""Classes of errors, as `isinstance` takes them."""

F = TypeVar("F", bound=Callable[..., Any])


def checks_settings(check: Callable[[str, Any], None]) -> Callable[[F], F]:
    """Let `check(name, value)` judge each setting of an agent function where it is given, by `fork()` or `inquire()`.

    To be put below `@miniagent`.
    """

    def decorate(function: F) -> F:
        vars(function)["__check_setting__"] = check
        return function

    return decorate


def checked_agent(called: str, name: str, value: object) -> None:
    """Refuse what is no agent.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, MiniAgent):
        raise TypeError(f"`{called}` needs as `{name}` an agent, a function or class with `@miniagent`, not {value!r}.")


def checked_errors(called: str, on: object) -> None:
    """Refuse `on=` if it is not what `isinstance` takes: a class of errors, a tuple of such, or `A | B`.

    Raises:
        TypeError: it is something else.
    """
    is_many = isinstance(on, tuple | list | set | frozenset)
    classes = list(cast("Iterable[object]", on)) if is_many else [on]
    are_classes = all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in classes)
    if isinstance(on, UnionType) or (are_classes and (not is_many or isinstance(on, tuple))):
        return
    names = [_name(kind) for kind in classes] or ["ValueError"]
    example = f"({', '.join(names)},)" if is_many else names[0]
    raise TypeError(
        f"`{called}` takes as `on` a class of errors, or a tuple of them, not {on!r}: write `on={example}`."
    )


def _name(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    named = kind if isinstance(kind, type) else type(kind)
    return named.__name__ if issubclass(named, BaseException) else "ValueError"


def checked_number(
    name: str, value: Any, is_good: Callable[[Any], bool], wanted: str, *, is_whole: bool = False
) -> None:
    """Refuse what is no number, not a whole one, or not good; `wanted` says in words what is.

    Raises:
        TypeError: it is no number, or not a whole one.
        ValueError: it is out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
        kind = "a whole number" if is_whole else "a number"
        raise TypeError(f"`{name}={value!r}` is not {kind}; it is {wanted}.")
    if not is_good(value):
        raise ValueError(f"`{name}={value!r}` makes no sense; it is {wanted}.")
