"""Errors of calls: how a cassette shows them, and how they are raised again.

A class is looked for among those that this process has, by its qualified name; nothing is imported because of what a
file says, and no constructor of the errors of `miniagents` is run.
"""

import asyncio
import builtins
from collections.abc import Sequence
from typing import Any, cast

from miniagents.errors import MiniAgentsError
from miniagents.journal._bodies import BadRowError
from miniagents.journal._cassette_errors import RecordedCallError
from miniagents.journal._cassette_forms import Json, masked, masked_text, restored_value, value_form
from miniagents.journal._classes import SameNameError
from miniagents.journal._values import BadValueError
from miniagents.promising._wording import text_of
from miniagents.promising.errors import PromiseCancelledError


def failure_form(error: BaseException, secrets: Sequence[str]) -> Json | None:
    """Give an error as it is shown; None for one that says nothing of the call, such as the end of the program."""
    if isinstance(error, asyncio.CancelledError):
        error = PromiseCancelledError(f"The call was cancelled when it was recorded. {error}".rstrip())
    if not isinstance(error, Exception):
        return None
    kind = type(error)
    form: dict[str, Json] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "text": masked_text(_storable(text_of(error)), secrets),
    }
    # The name of a file is none of the `args`.
    given: tuple[Any, ...] = cast("Any", error.__reduce__()[1]) if isinstance(error, OSError) else error.args
    arguments = [_form_or_none(argument) for argument in given]
    # An error with one argument is mostly its text.
    if arguments != [(text_of(error),)] and None not in arguments:
        form["args"] = masked([shown for (shown,) in cast("list[tuple[Json]]", arguments)], secrets)
    fields = {
        name: shown[0]
        for name, value in sorted(vars(error).items())
        # What is None by the class goes without saying.
        if not name.startswith("_")
        and not (value is None and hasattr(kind, name))
        and (shown := _form_or_none(value)) is not None
    }
    if fields:
        form["fields"] = masked(fields, secrets)
    return form


def _form_or_none(value: Any) -> tuple[Json] | None:
    try:
        return (value_form(value, "error"),)
    except (BadValueError, SameNameError):
        return None


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def raised_again(form: Json, agent: str, place: str, row: str) -> Exception:
    """Give the error that a form stands for; a `RecordedCallError` where its class is not one that is made again."""
    name, text = str(form["type"]), str(form["text"])
    try:
        arguments = tuple(restored_value(form["args"])) if "args" in form else (text,)
        fields = cast("dict[str, Any]", restored_value(form.get("fields", {})))
        again = _made(name, arguments, fields)
    except (BadRowError, SameNameError, TypeError, ValueError, AttributeError):
        again = None
    return again or RecordedCallError(agent, type_=name, text=text, place=place, row=row)


def _made(name: str, arguments: tuple[Any, ...], fields: dict[str, Any]) -> Exception | None:
    module, _, short = name.rpartition(".")
    if module == "builtins":
        kind = getattr(builtins, short, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            return None
        # Some keep their arguments in places that only their constructors fill.
        error = kind(*arguments)
    else:
        found = _subclass_named(name)
        if found is None:
            return None
        error = found.__new__(found)
        error.args = arguments
    vars(error).update(fields)
    return error


def _subclass_named(name: str) -> type[MiniAgentsError] | None:
    pending: list[type[MiniAgentsError]] = [MiniAgentsError]
    found: type[MiniAgentsError] | None = None
    while pending:
        kind = pending.pop()
        # One that is defined again, as in a notebook, takes the place of its earlier self.
        if f"{kind.__module__}.{kind.__qualname__}" == name:
            found = kind
        pending.extend(reversed(kind.__subclasses__()))
    return found
