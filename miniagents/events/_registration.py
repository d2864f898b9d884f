"""What is refused when something is registered on a bus, and in which words."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, cast, get_args

from miniagents.events.errors import RegistrationError
from miniagents.events.event import Event
from miniagents.events.trace import handler_name
from miniagents.promising._wording import shown

FUNCTION: Final = "function"
GENERATOR: Final = "generator"
AGENT: Final = "agent"

_CALLS: Final = {
    "on": "@bus.on({})",
    "join": "@bus.join({})",
    "set_types": "bus.set_types(handler, {})",
    "ask": "bus.ask(event, {})",
}


def checked_types(types: tuple[Any, ...], method: str) -> tuple[type[Event], ...]:
    """Give `types` if all of them are classes of events.

    Raises:
        RegistrationError: one is not, or there is none.
    """
    call = _CALLS[method]
    if not types:
        raise RegistrationError(f"`bus.{method}()` needs a class of events, such as `{call.format('MyEvent')}`.")
    for kind in types:
        if not is_class_of_events(kind):
            raise RegistrationError(_not_a_class(kind, method, call))
    return cast("tuple[type[Event], ...]", types)


def _not_a_class(given: Any, method: str, call: str) -> str:
    what = shown(given)
    several = tuple(cast("Iterable[Any]", given)) if isinstance(given, list | tuple) else get_args(given)
    if several and all(is_class_of_events(kind) for kind in several):
        names = ", ".join(kind.__name__ for kind in several)
        if method == "ask":
            return (
                f"`bus.ask()` waits for an event of one class, and {what} are several ({names}). Give them a "
                "base class of their own and ask for that: `class Outcome(Event): ...`, `bus.ask(event, Outcome)`."
            )
        return f"`bus.{method}()` takes classes one by one, and {what} is none: `{call.format(names)}`."
    if isinstance(given, Event):
        fix = f"Give its class: `{call.format(type(given).__name__)}`."
    else:
        fix = f"Define one, `class MyEvent(Event): ...`, and write `{call.format('MyEvent')}`."
    return f"`bus.{method}()` takes classes of events, and {what} is none. {fix}"


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
    if is_class_of_events(value):
        raise RegistrationError(
            f"`{option}` of `{name}` is {what}, not the class `{value.__name__}`. Classes of events come first: "
            f"`@bus.on({value.__name__}, ...)`."
        )
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise RegistrationError(f"`{option}` of `{name}` is {what}, and not async; {shown(value)} is not one.")
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        raise RegistrationError(
            f"`{option}` of `{name}` is called with the event, which {shown(value)} does not take."
        ) from None
    except ValueError:
        # A builtin whose signature Python cannot tell.
        pass
    return value


def checked_event(event: Any) -> Event:
    """Give `event` if it is one.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(event, Event):
        raise TypeError(
            f"A bus takes events, and {shown(event)} is none. Define a class, `class MyEvent(Event): ...`, and emit an "
            "object of it."
        )
    return event


def is_class_of_events(value: Any) -> bool:
    """Whether it is `Event` or a class below it."""
    return isinstance(value, type) and issubclass(cast("type[Any]", value), Event)


__all__ = [
    "AGENT",
    "FUNCTION",
    "GENERATOR",
    "checked_event",
    "checked_types",
    "is_class_of_events",
    "kind_of_handler",
    "plain_function",
]
