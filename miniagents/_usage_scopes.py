"""Scopes: what a limit on usage is for, be it a context, all calls of a fork together, or one call and all below it.

Whoever makes a request looks up the scopes that it is in: those of the contexts around it, and those that it has from
the calls above it. The latter are in a context variable, which is set while a call is launched, so that the task of the
call, and all tasks below it, start with a copy.
"""

import asyncio
import contextvars
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from miniagents._rate_limits import Gate
from miniagents._usage_values import LIMIT_NAMES, Amount, checked_rate_limit, checked_usage_limits
from miniagents.errors import UsageLimitExceededError
from miniagents.promising.context import PromisingContext

counting = threading.Lock()
"""Held, never while waiting, by whoever counts: one fork may be called from the loops of several threads."""


class Request(Protocol):
    """A request that is under way, as the scopes see it."""

    def abort(self, error: UsageLimitExceededError) -> None:
        """Stop it, as a limit is crossed."""
        ...


class UsageScope:
    """Counts what is used under one set of limits, and says when it is too much."""

    __slots__ = ("_allowed", "_gates", "_raised_with", "_rate", "_used", "_whose", "under_way")

    def __init__(self, usage_limits: object, rate_limit: object, *, whose: str, raised_with: str) -> None:
        """`whose` names it in errors, `raised_with` is the call that sets its limits.

        Raises:
            TypeError: the limits are none.
        """
        limits = checked_usage_limits(usage_limits)
        self._rate = checked_rate_limit(rate_limit)
        self._whose = whose
        self._raised_with = raised_with
        allowed = {name: getattr(limits, name, None) for name in LIMIT_NAMES}
        self._allowed: dict[str, Amount] = {name: most for name, most in allowed.items() if most is not None}
        self._used: dict[str, Amount] = dict.fromkeys(self._allowed, 0)
        self._gates: dict[tuple[asyncio.AbstractEventLoop, str | None, str], Gate] = {}
        self.under_way: set[Request] = set()

    @classmethod
    def of_context(cls, usage_limits: object, rate_limit: object) -> "UsageScope | None":
        """Give the scope of a context with these limits, if there are any."""
        if usage_limits is None and rate_limit is None:
            return None
        return cls(usage_limits, rate_limit, whose="the context", raised_with="MiniAgents({})")

    @classmethod
    def of_fork(cls, alias: str, usage_limits: object, rate_limit: object) -> "UsageScope":
        """Give the scope of all calls of an agent together."""
        return cls(usage_limits, rate_limit, whose=f"the agent `{alias}`", raised_with="fork({})")

    @classmethod
    def of_call(cls, alias: str, usage_limits: object, rate_limit: object) -> "UsageScope":
        """Give the scope of one call."""
        return cls(usage_limits, rate_limit, whose=f"this call of `{alias}`", raised_with="inquire(..., {})")

    def limits(self, name: str) -> bool:
        """Whether there is a limit of that name."""
        return name in self._allowed

    @property
    def limits_rate(self) -> bool:
        """Whether there is a rate limit."""
        return self._rate is not None

    def check(self, names: Iterable[str], **where: str | None) -> None:
        """Refuse to go on if one of the limits is reached.

        Raises:
            UsageLimitExceededError: one is.
        """
        for name in names:
            if name in self._allowed and self._used[name] >= self._allowed[name]:
                raise self._error(name, **where)

    def add(self, amounts: Mapping[str, Amount]) -> None:
        """Count what was used."""
        for name in self._allowed:
            if name in amounts:
                self._used[name] += amounts[name]

    def crossed(self) -> str | None:
        """Give the name of a limit that is crossed, if one is."""
        return next((name for name, most in self._allowed.items() if self._used[name] > most), None)

    def stop_all_but(self, spared: Request, name: str, **where: str | None) -> UsageLimitExceededError:
        """Stop whatever is under way, as a limit is crossed; give the error for the one that is spared."""
        for request in [request for request in self.under_way if request is not spared]:
            # One for each: an exception that is raised in many tasks would collect the tracebacks of all.
            request.abort(self._error(name, **where))
        return self._error(name, **where)

    def _error(self, name: str, **where: str | None) -> UsageLimitExceededError:
        return UsageLimitExceededError(
            name, self._allowed[name], self._used[name], whose=self._whose, raised_with=self._raised_with, **where
        )

    def gate(self, provider: str | None, model: str) -> Gate | None:
        """Give what the requests to `model` wait at, if there is a rate limit."""
        if self._rate is None:
            return None
        loop = asyncio.get_running_loop()
        gate = self._gates.get((loop, provider, model))
        if gate is None:
            for key in [key for key in self._gates if key[0].is_closed()]:
                del self._gates[key]
            gate = self._gates[loop, provider, model] = Gate(
                requests_per_minute=self._rate.requests_per_minute,
                tokens_per_minute=self._rate.tokens_per_minute,
                concurrency=self._rate.concurrency,
            )
        return gate


_of_calls: contextvars.ContextVar[tuple[UsageScope, ...]] = contextvars.ContextVar("usage_scopes", default=())


@contextmanager
def inside(scopes: tuple[UsageScope, ...]) -> Generator[None]:
    """Put whatever is launched in this block into `scopes`, in addition to those that are around it already."""
    token = _of_calls.set((*_of_calls.get(), *scopes))
    try:
        yield
    finally:
        _of_calls.reset(token)


def contexts_here() -> Iterator[Any]:
    """Give the contexts around this code, the nearest first."""
    context: PromisingContext | None = PromisingContext.find_current()
    while context is not None:
        yield context
        context = context.parent


def scopes_here() -> list[UsageScope]:
    """Give the scopes that this code is in, each once (an agent may call itself), the nearest first."""
    of_contexts = (getattr(context, "usage_scope", None) for context in contexts_here())
    scopes = dict.fromkeys(reversed(_of_calls.get()))
    scopes.update(dict.fromkeys(scope for scope in of_contexts if isinstance(scope, UsageScope)))
    return list(scopes)
