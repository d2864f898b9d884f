"""One call as its journal knows it: its key, the calls below it, and what its code asks the journal for."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from shlex import quote
from typing import Any, Protocol

from miniagents.journal._held_run import Durability
from miniagents.journal._keys import key_of
from miniagents.journal._once import OnceTasks, not_a_function
from miniagents.journal._usage_json import add_usage
from miniagents.journal._values import check_text
from miniagents.journal.errors import JournalError, RunBusyError
from miniagents.journal.records import FinishedCall, Question, StartedCall
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message
from miniagents.promising.promising import PromisingContext
from miniagents.usage import UsageTotals

Reply = tuple[Message, "Sequence[str] | None"]
"""A message, and the tokens that it came in; None: one."""


class Run(Protocol):
    """What calls need of a run; see `RunJournal`."""

    on_failure: Callable[[JournalError], None] | None
    on_success: Callable[[], None] | None
    has_ended: bool

    @property
    def run_id(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def url(self) -> str | None: ...
    @property
    def is_resumed(self) -> bool: ...

    @property
    def answers_by_content(self) -> bool:
        """Whether a call is known by what it is called with alone, and not by its key."""
        ...

    def state_of(self, key: str, /) -> str | None: ...
    def attempts_of(self, key: str, /) -> int: ...
    async def find_call(self, key: str, call: StartedCall, /) -> FinishedCall | None: ...
    async def find_equal_call(self, call: StartedCall, /, *, same_parent: bool = False) -> FinishedCall | None: ...
    async def call_started(self, call: StartedCall, /, *, durability: Durability | None = None) -> None: ...
    async def call_replied(self, key: str, position: int, reply: Reply, /) -> None: ...
    async def call_used(self, key: str, usage: UsageTotals, /) -> None: ...

    async def call_finished(
        self,
        key: str,
        replies: Sequence[Reply],
        /,
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        ended_at: datetime | None = None,
        passes_on: bool = False,
    ) -> None: ...

    async def call_failed(
        self,
        key: str,
        error: BaseException,
        replies: Sequence[Reply],
        /,
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        passes_on: bool = False,
    ) -> None: ...

    async def recall(self, key: str, /) -> tuple[Any] | None: ...
    async def remember(self, key: str, value: Any, /, *, field: str | None = None) -> Any: ...
    async def ask(self, key: str, text: str, /) -> Question: ...
    async def wait_for_answer(self, key: str, /) -> Question: ...


class CallNode:
    """One call, or (without a parent) the code of the run that is in no agent.

    Attributes:
        key: what it is known by; the same one each time that the run is resumed.
        origin: what its replies are known by where they are handed on; the key, too, but for `be_known_by_content`.
        is_certain: whether the key was made with all of the input, so that no other call can have got it.
        was_there: whether the run knows it from before.
        below: what the calls below it have used, as far as that is recorded there.
    """

    __slots__ = ("_alike", "_onces", "_used", "below", "is_certain", "key", "origin", "parent", "run", "was_there")

    def __init__(self, run: Run, parent: "CallNode | None" = None, like: str = "", *, is_certain: bool = True) -> None:
        self.run = run
        self.parent = parent
        self.is_certain = is_certain
        self._alike: dict[str, int] | None = None
        self._onces: OnceTasks | None = None
        self._used: Callable[[], UsageTotals | None] = _nothing
        self.below: UsageTotals | None = None
        if parent is None:
            # So that no service outside takes a call of one run for that of another one.
            self.key = self.origin = key_of("run", run.run_id, 0)
            self.was_there = True
        else:
            self.key = self.origin = key_of(parent.key, like, parent._count(like))
            self.was_there = run.is_resumed and run.state_of(self.key) is not None

    def be_known_by_content(self, like: str) -> None:
        """Be known by the content of the input, which is there now, and by where it comes from as far as that is known.

        The replies are still known by `origin`: others may have been called with them already.
        """
        assert self.parent is not None
        if self.is_certain:
            self.key = key_of(self.origin, like, 0)
        else:
            self.key = key_of(self.parent.key, like, self.parent._count(like))
        self.was_there = self.run.is_resumed and self.run.state_of(self.key) is not None

    def _count(self, like: str) -> int:
        """Give how many calls of this likeness there were before here, and count this one."""
        alike = self._alike
        if alike is None:
            alike = self._alike = {}
        number = alike.get(like, 0)
        alike[like] = number + 1
        return number

    @property
    def parent_key(self) -> str | None:
        """The key of the call that made it; None if no agent did."""
        return None if self.parent is None or self.parent.parent is None else self.parent.key

    @property
    def may_be_another(self) -> bool:
        """Whether the program above it may have been changed, so that its answer is there under another key."""
        parent = self.parent
        return self.run.is_resumed and parent is not None and not (parent.was_there and parent.is_certain)

    # -- what it uses ----------------------------------------------------------------------------------------------

    def begins(self, replies: MessageSequencePromise) -> None:
        """Take note that the call is being made, and gives these replies."""
        self._used = partial(getattr, replies.buffer(), "usage", None)

    def ends(self) -> UsageTotals | None:
        """Give what the call itself has used, without the calls below it, as it is over; None if that is nothing.

        Take note, further up, that this much is recorded.
        """
        total, own = self._used(), self._used_so_far()
        self.is_over()
        if total is not None and self.parent is not None:
            if self.parent.below is None:
                self.parent.below = UsageTotals()
            add_usage(self.parent.below, total)
        return own

    def is_over(self) -> None:
        """Let go of the replies."""
        self._used = _nothing

    def _used_so_far(self) -> UsageTotals | None:
        total = self._used()
        if total is None:
            return None
        own = copy.copy(total)
        add_usage(own, self.below, times=-1)
        return own if own != UsageTotals() else None

    # -- what agents ask for; see `InteractionContext` -------------------------------------------------------------

    async def call_key(self) -> str:
        """Give the key."""
        return self.key

    async def once(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give what `function` has returned for this call before, or returns now."""
        check_text(name, "name", self.run.place)
        if not callable(function):
            raise not_a_function(name, function)
        if self._onces is None:
            self._onces = OnceTasks(self.run)
        return await self._onces.give(f"{self.key}/{name}", name, partial(function, *args, **kwargs))

    async def recall_step(self, name: str) -> Any:
        """Give what was stored of this call before it was cut off; None if that is nothing."""
        known = await self.run.recall(f"{self.key}/{name}") if self.was_there else None
        return None if known is None else known[0]

    async def remember_step(self, name: str, value: Any) -> None:
        """Store something of a call that goes on."""
        # A cassette is for tests, which are not cut off; it would show everything twice.
        if self.run.answers_by_content:
            return
        used = self._used_so_far()
        try:
            if used is not None:
                await self.run.call_used(self.key, used)
            await self.run.remember(f"{self.key}/{name}", value)
        except JournalError as error:
            # The call itself is well; nothing was done that must not be done twice.
            if self.run.on_failure is None or isinstance(error, RunBusyError):
                raise
            self.run.on_failure(error)

    async def ask(self, text: str, key: str | None) -> Any:
        """Give what a person answers."""
        check_text(text, "text", self.run.place, may_be_empty=True)
        if key is not None:
            check_text(key, "key", self.run.place, may_be_empty=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return await ask_person(self.run, text, key or digest[:12])


def _nothing() -> None:
    """What a call has used that is not being made."""


async def ask_person(run: Run, text: str, key: str) -> Any:
    """Put a question, unless it is there from before, and give its answer."""
    question = await run.ask(key, text)
    if question.answered_at is None:
        context = PromisingContext.get_current()
        how = f"`journal.answer({run.run_id!r}, {key!r}, ...)`"
        if run.url is not None:
            how = f"`miniagents ask --journal {quote(run.url)} {quote(run.run_id)} {quote(key)} ANSWER`"
        elif run.answers_by_content:
            how = f"`cassette.answer({run.run_id!r}, {key!r}, ...)`"
        context.logger.warning(
            "The run %r asks %r: %s - answer with %s (journal: %s)", run.run_id, key, text, how, run.place
        )
        with context.waits_for_outside(f"the answer to {key!r}"):
            question = await run.wait_for_answer(key)
    return question.answer
