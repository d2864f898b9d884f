"""The context variables that handlers run in, and coroutines in variables of their own without a task of their own."""

import contextvars
from types import coroutine
from typing import Any, Final, cast

from miniagents.promising._producer import current_producer
from miniagents.promising.sentinels import Sentinel

NOTHING_YET: Final = Sentinel("NOTHING_YET")


class Variables:
    """Context variables as they were in one place, for the handlers of what was emitted there.

    Without who was at work there: a handler that emits the next flow, and so on for ever, would keep all before it
    alive.
    """

    __slots__ = ("_context", "_values")

    def __init__(self, here: contextvars.Context) -> None:
        self._values = {variable: value for variable, value in here.items() if variable is not current_producer}
        self._context = here.copy()
        self._context.run(current_producer.set, None)

    def copy(self) -> contextvars.Context:
        """Give a context in which they are set."""
        return self._context.copy()

    def are(self, here: contextvars.Context) -> bool:
        """Whether all of them have the very same values in `here`; equal ones may still be different lists."""
        if len(here) - (current_producer in here) != len(self._values):
            return False
        for variable, value in self._values.items():  # noqa: SIM110 - `all` takes a generator, which costs as much again
            if here.get(variable, NOTHING_YET) is not value:
                return False
        return True


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


__all__ = ["Variables", "in_variables"]
