"""What the core knows of journals: how the calls of an agent are marked, and what a journal offers to its code."""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Literal, Protocol, get_args

OnUncertain = Literal["retry", "ask", "fail"]
"""What becomes of a durable call that had started, and left no result, when the process was cut off: it runs again, a
person is asked whether it shall, or it fails."""


class CallMarks:
    """How a journal is to treat the calls of an agent. Never changed."""

    __slots__ = ("durable", "memoize", "on_uncertain", "version")

    def __init__(
        self,
        durable: bool | None = None,  # noqa: FBT001 - passed on as it came
        version: str = "",
        memoize: bool | timedelta = False,  # noqa: FBT001, FBT002
        on_uncertain: OnUncertain = "retry",
    ) -> None:
        self.durable = durable
        """Whether a finished call is answered from the journal when its run is resumed; None: nobody has said."""
        self.version = version
        """Part of what a call is known by: a new version is not answered with what an older one said."""
        self.memoize = memoize
        """Whether an equal call of any run answers; a `timedelta`: if it is no older than that."""
        self.on_uncertain: OnUncertain = on_uncertain

    @property
    def is_leaf(self) -> bool:
        """Whether its calls are answered whole from the journal; other agents run again and find theirs answered."""
        return bool(self.durable) or self.memoize is not False

    def changed(
        self,
        durable: bool | None,  # noqa: FBT001 - passed on as it came
        version: str | None,
        memoize: bool | timedelta | None,  # noqa: FBT001
        on_uncertain: OnUncertain | None,
    ) -> "CallMarks":
        """Give these marks with those changed that are not None.

        Raises:
            TypeError, ValueError: one is not what it should be; says what it takes.
        """
        if durable is None and version is None and memoize is None and on_uncertain is None:
            return self
        _check("durable", durable, (bool,), "True or False")
        _check("version", version, (str,), "a text, such as '2'")
        _check("memoize", memoize, (bool, timedelta), "True, False or a `timedelta`")
        if isinstance(memoize, timedelta) and memoize <= timedelta():
            raise ValueError(f"`memoize` is how old an answer may be, so it is more than nothing, not {memoize!r}.")
        if on_uncertain is not None and on_uncertain not in get_args(OnUncertain):
            raise ValueError(f"`on_uncertain` is 'retry', 'ask' or 'fail', not {on_uncertain!r}.")
        changed = CallMarks(
            self.durable if durable is None else durable,
            self.version if version is None else version,
            self.memoize if memoize is None else memoize,
            self.on_uncertain if on_uncertain is None else on_uncertain,
        )
        # Of a leaf that a fork makes an ordinary agent it stays, and means nothing until another one makes it a leaf.
        if on_uncertain not in (None, "retry") and not changed.is_leaf:
            raise ValueError(
                f"`on_uncertain={on_uncertain!r}` is for agents whose calls are answered from a journal, and this one "
                f"runs again whenever its run is resumed. Add `durable=True` (or `memoize=True`) beside it."
            )
        return changed


def _check(name: str, value: object, kinds: tuple[type, ...], what: str) -> None:
    if value is not None and not isinstance(value, kinds):
        raise TypeError(f"`{name}` is {what}, not {value!r}.")


NOT_MARKED = CallMarks()
MARK_NAMES = ("durable", "version", "memoize", "on_uncertain", "journal_key")


class JournaledCall(Protocol):
    """What a journal offers to the code of an agent; see the methods of the same names of `InteractionContext`."""

    async def call_key(self) -> str:
        """Give the name of the call."""
        ...

    async def once(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give what `function` has returned, or returns now."""
        ...

    async def ask(self, text: str, key: str | None) -> Any:
        """Give what a person answers."""
        ...

    async def recall_step(self, name: str) -> Any:
        """Give what `remember_step` has stored of this call before it was cut off; None if that is nothing."""
        ...

    async def remember_step(self, name: str, value: Any) -> None:
        """Store something of a call that goes on: what JSON can hold, with `Frozen` objects anywhere in it."""
        ...


current_journaled_call: ContextVar[JournaledCall | None] = ContextVar("miniagents_journaled_call", default=None)
"""The innermost call that this code is part of and that a journal knows of."""
