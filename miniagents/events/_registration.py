"""What is refused when something is registered on a bus, and in which words."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, cast

from miniagents.events.errors import RegistrationError
from miniagents.events.event import Event
from miniagents.events.trace import handler_name

FUNCTION: Final = "function"
GENERATOR: Final = "generator"
AGENT: Final = "agent"


def checked_types(types: tuple[Any, ...], method: str) -> tuple[type[Event], ...]:
    """Give `types` if all of them are classes of events.

    Raises:
        RegistrationError: one is not, or there is none.
    """
    if not types:
        raise RegistrationError(f"`bus.{method}()` needs a class of events, such as `@bus.{method}(MyEvent)`.")
    for kind in types:
        if not isinstance(kind, type) or not issubclass(kind, Event):
            raise RegistrationError(
                f"`bus.{method}()` takes classes of events, and {kind!r} is none. Define one, "
                f"`class MyEvent(Event): ...`, and write `@bus.{method}(MyEvent)`."
            )
    return cast("tuple[type[Event], ...]", types)


def kind_of_handler(handler: Any, arguments: int) -> str:
    """Give how a handler is called.

    Raises:
        RegistrationError: it is no async function of a context and so many arguments, and no agent.
    """
    if callable(getattr(handler, "inquire", None)) and not isinstance(handler, type):
        return AGENT
    name = handler_name(handler)
    if name == "<lambda>":
        raise RegistrationError(
            "A lambda cannot be a handler, as it is not async. Write a function, `async def handle(ctx, event): ...`, "
            "or register an agent."
        )
    wanted = "async def {}(ctx, event): ..." if arguments == 1 else "async def {}(ctx, first, second): ..."
    function: Any = handler
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", None) if not isinstance(function, type) else None  # noqa: B004
    is_generator = inspect.isasyncgenfunction(function)
    if not is_generator and not inspect.iscoroutinefunction(function):
        raise RegistrationError(
            f"`{name}` cannot be a handler, as it is not async. Write `{wanted.format(name)}`, or register an agent."
        )
    try:
        inspect.signature(handler).bind(*range(arguments + 1))
    except TypeError:
        takes = "no event" if arguments == 1 else f"not the {arguments} events of this join"
        raise RegistrationError(
            f"`{name}` cannot be a handler here: called with the context and what it is to handle, it takes {takes}. "
            f"Write `{wanted.format(name)}`."
        ) from None
    return GENERATOR if is_generator else FUNCTION


def plain_function(value: Any, option: str, name: str, what: str) -> Callable[[Any], Any] | None:
    if value is None:
        return None
    if _is_class_of_events(value):
        raise RegistrationError(
            f"`{option}` of `{name}` is {what}, not the class `{value.__name__}`. Classes of events come first: "
            f"`@bus.on({value.__name__}, ...)`."
        )
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise RegistrationError(f"`{option}` of `{name}` is {what}, and not async; {value!r} is not one.")
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        raise RegistrationError(
            f"`{option}` of `{name}` is called with the event, which {value!r} does not take."
        ) from None
    except ValueError:
        # A builtin whose signature Python cannot tell.
        pass
    return value


def _is_class_of_events(value: Any) -> bool:
    return isinstance(value, type) and issubclass(cast("type[Any]", value), Event)


def count(value: Any, option: str, name: str, *, at_least: int) -> int:
    """Give `value` if it is a whole number that is large enough.

    Raises:
        RegistrationError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise RegistrationError(f"`{option}` of `{name}` is a whole number, at least {at_least}, not {value!r}.")
    return value


def check_choice(value: Any, option: str, name: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        RegistrationError: it is not.
    """
    if value not in choices:
        raise RegistrationError(f"`{option}` of `{name}` is {' or '.join(map(repr, choices))}, not {value!r}.")


def check_class(value: Any, option: str, name: str, classes: tuple[type[Any], ...], what: str) -> None:
    """Refuse what is of none of these classes; `what` is what they are.

    Raises:
        RegistrationError: it is not.
    """
    if not isinstance(value, classes):
        raise RegistrationError(f"`{option}` of `{name}` is {what}, not {value!r}.")


def seconds(value: Any, option: str, name: str, *, zero_is_fine: bool = False) -> float:
    """Give `value` if it is a number of seconds.

    Raises:
        RegistrationError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (value >= 0 if zero_is_fine else value > 0) or value == float("inf"):
        least = "zero or more" if zero_is_fine else "more than zero"
        raise RegistrationError(f"`{option}` of `{name}` is a number of seconds, {least}, not {value!r}.")
    return float(value)


__all__ = [
    "AGENT",
    "FUNCTION",
    "GENERATOR",
    "check_choice",
    "check_class",
    "checked_types",
    "count",
    "kind_of_handler",
    "plain_function",
    "seconds",
]
