"""Coroutines in context variables of their own, without tasks of their own."""

import contextvars
from types import coroutine
from typing import Any, Final, cast

from miniagents.promising.sentinels import Sentinel

NOTHING_YET: Final = Sentinel("NOTHING_YET")


@coroutine
def in_variables(variables: contextvars.Context, handler: Any, waits_for: Any = NOTHING_YET) -> Any:
    """Await a coroutine so that each of its steps sees these context variables, in the task that is running.

    A task of its own would do that as well, and cost as much as all the rest. `waits_for` is what the first step gave,
    if that is done already.
    """
    step: Any = handler.send
    value: Any = None
    while True:
        if waits_for is NOTHING_YET:
            try:
                waits_for = variables.run(step, value)
            except StopIteration as stop:
                return stop.value
        try:
            result = cast("Any", (yield waits_for))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the handler
            step, value = handler.throw, error
        else:
            step, value = handler.send, result
        waits_for = NOTHING_YET


__all__ = ["in_variables"]
