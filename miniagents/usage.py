"""Usage: what models are asked for and what that costs, counted everywhere and limited where one wishes.

```python
async with MiniAgents(usage_limits=UsageLimits(cost=5)) as context:
    replies = my_agent.inquire("Hello", usage_limits=UsageLimits(requests=10))
    await replies
    print(replies.usage.output_tokens, context.usage.total.cost, context.usage.by_model)
```

Agents that talk to models by themselves report what they do: `model_request` around each request, `count_tool_call`
before each call of a tool.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Self

from miniagents._rate_limits import Gate, go_through
from miniagents._usage_scopes import UsageScope, contexts_here, counting, scopes_here
from miniagents._usage_values import (
    TOKEN_FIELDS,
    Accounted,
    Amount,
    ContextUsage,
    RateLimit,
    TokenUsage,
    UsageLimits,
    UsageTotals,
    as_money,
)
from miniagents.errors import UsageLimitExceededError
from miniagents.promising._producer import Producer, current_producer
from miniagents.promising._waiting import AnyTask
from miniagents.promising.context import PromisingContext

_KNOWN_AFTERWARDS = ("input_tokens", "output_tokens", "total_tokens", "cost")
_LIMITS_OF_A_REQUEST = ("requests", *_KNOWN_AFTERWARDS)


def model_request(
    *, model: str, agent_alias: str, provider: str | None = None, estimated_tokens: Callable[[], int] | None = None
) -> "RequestAccount":
    """Give an `async with` block for one request to a model, whatever is read of the answer included.

    Entering it waits for the rate limits of all scopes that this code is in, and counts the request in all of them.
    `estimated_tokens` says how many tokens a rate limit takes it for until more is known; it is asked only where there
    is one.

    Raises:
        NoActiveContextError: no context is active here.
        UsageLimitExceededError: on entering: a limit is reached, before or after the wait, so nothing may be sent. Out
            of the block, at the place where it waits: another request has crossed a limit meanwhile.
    """
    return RequestAccount(model, agent_alias, provider, estimated_tokens)


def cost_is_limited() -> bool:
    """Whether one of the scopes that this code is in limits the cost."""
    return any(scope.limits("cost") for scope in scopes_here())


def requests_are_limited() -> bool:
    """Whether one of the scopes that this code is in limits the requests, in all or in a time, so that each counts."""
    return any(scope.limits("requests") or scope.limits_rate for scope in scopes_here())


class RequestAccount:
    """One request to a model; see `model_request`."""

    __slots__ = (
        "_abort_error",
        "_agent_alias",
        "_cancelling",
        "_charged",
        "_cost",
        "_estimate",
        "_gates",
        "_has_ended",
        "_is_known",
        "_known",
        "_loop",
        "_model",
        "_provider",
        "_scopes",
        "_task",
        "_totals",
        "over",
    )

    over: UsageLimitExceededError | None
    """The error of a limit that is crossed since this request told its usage. Nothing new can be sent; what this one
    has been answered stays, and whoever goes on reading a long answer may raise this instead."""

    def __init__(
        self, model: str, agent_alias: str, provider: str | None, estimated_tokens: Callable[[], int] | None
    ) -> None:
        self._model = model
        self._agent_alias = agent_alias
        self._provider = provider
        self._estimate = estimated_tokens
        self._charged = 0
        self._known = dict.fromkeys(TOKEN_FIELDS, 0)
        self._cost = Decimal()
        self._is_known = self._has_ended = False
        self._abort_error: UsageLimitExceededError | None = None
        self._task: AnyTask | None = None
        self._cancelling = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scopes: Sequence[UsageScope] = ()
        self._gates: list[Gate] = []
        self._totals: list[UsageTotals] = []
        self.over = None

    async def __aenter__(self) -> Self:
        context = PromisingContext.get_current()
        self._loop = asyncio.get_running_loop()
        task = self._task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        self._scopes = scopes_here()
        self._gates = [gate for scope in self._scopes if (gate := scope.gate(self._provider, self._model))]
        with counting:
            for scope in self._scopes:
                scope.check(_LIMITS_OF_A_REQUEST, model=self._model, provider=self._provider)
            for scope in self._scopes:
                scope.add({"requests": 1})
                scope.under_way.add(self)
        try:
            if self._gates:
                self._charged = self._estimate() if self._estimate is not None else 0
                with context.waits_for_outside(f"the rate limit of `{self._model}`"):
                    await go_through(self._gates, self._charged)
                self._check_again()
        except BaseException as error:
            self._leave_scopes(requests=-1)
            aborted = self._abort_behind(error)
            if aborted is None:
                raise
            raise aborted from None
        self._totals = _totals_here(self._agent_alias, self._model)
        with counting:
            for totals in self._totals:
                totals.requests += 1
        return self

    def _check_again(self) -> None:
        """Do not go on, after a wait for rate limits, if what others used meanwhile has reached a limit."""
        try:
            with counting:
                for scope in self._scopes:
                    scope.check(_KNOWN_AFTERWARDS, model=self._model, provider=self._provider)
        except UsageLimitExceededError:
            for gate in self._gates:
                gate.undo(self._charged)
            raise

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave_scopes()
        self._has_ended = True
        if not self._is_known:
            self._count_as_unknown(1)
        for gate in self._gates:
            gate.leave()
        aborted = self._abort_behind(error)
        if aborted is not None:
            raise aborted from None

    def known(
        self, token_usage: TokenUsage | None, cost: Decimal | float | None = None, *, is_final: bool = True
    ) -> None:
        """Take note of what the request has used so far, in place of what was known before; None says nothing.

        May be called several times with growing numbers, and after the block has been left. If that crosses a limit,
        the other requests in its scope are stopped and `over` is set. Where the numbers are not final, as at the
        beginning of a stream, a request that ends with no more than these counts as `unknown` all the same.
        """
        increase = self._increase(token_usage, cost, is_final=is_final)
        with counting:
            # Of most requests most numbers are 0.
            grown = [(name, amount) for name, amount in increase.items() if amount and name != "total_tokens"]
            for totals in self._totals:
                for name, amount in grown:
                    setattr(totals, name, getattr(totals, name) + amount)
            for scope in self._scopes:
                scope.add(increase)
        total = self._known["input_tokens"] + self._known["output_tokens"]
        if total:
            for gate in self._gates:
                gate.charge(total - self._charged)
            self._charged = total
        for scope in self._scopes:
            name = scope.crossed()
            if name is not None:
                error = scope.stop_all_but(self, name, model=self._model, provider=self._provider)
                self.over = self.over or error

    def _increase(
        self, token_usage: TokenUsage | None, cost: Decimal | float | None, *, is_final: bool
    ) -> dict[str, Amount]:
        """Give by how much the numbers have grown, and keep them."""
        increase: dict[str, Amount] = dict.fromkeys(TOKEN_FIELDS, 0)
        increase["cost"] = Decimal()
        is_said = cost is not None
        for name in TOKEN_FIELDS if token_usage is not None else ():
            tokens: int | None = getattr(token_usage, name)
            if tokens is not None:
                is_said = True
                increase[name] = tokens - self._known[name]
                self._known[name] = tokens
        if cost is not None:
            increase["cost"] = as_money(cost) - self._cost
            self._cost = as_money(cost)
        increase["total_tokens"] = increase["input_tokens"] + increase["output_tokens"]
        if is_said and is_final and not self._is_known:
            self._is_known = True
            if self._has_ended:
                self._count_as_unknown(-1)
        return increase

    def _count_as_unknown(self, count: int) -> None:
        with counting:
            for totals in self._totals:
                totals.unknown += count

    def _leave_scopes(self, **correction: int) -> None:
        with counting:
            for scope in self._scopes:
                scope.under_way.discard(self)
                scope.add(correction)

    # -- being stopped -------------------------------------------------------------------------------------------

    def abort(self, error: UsageLimitExceededError) -> None:
        """Stop the request, as a limit is crossed (for this package)."""
        loop = self._loop
        if loop is None or self._abort_error is not None:
            return
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._cancel(error)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._cancel, error)

    def _cancel(self, error: UsageLimitExceededError) -> None:
        task = self._task
        if task is None or self._has_ended or self._abort_error is not None:
            return
        if task is asyncio.current_task():
            # A request inside of another one: the outer one cannot be in the middle of waiting for its answer.
            self.over = self.over or error
            return
        self._abort_error = error
        # The error goes along as the message: where a stream, whose generator is not running at this moment, hears of
        # the cancellation first, its readers get this error all the same.
        task.cancel(error)

    def _abort_behind(self, error: BaseException | None) -> UsageLimitExceededError | None:
        """Give the limit's error if that is what ended the block; a cancellation that others asked for is none."""
        task, self._task = self._task, None
        if self._abort_error is None or task is None:
            return None
        is_alone = task.uncancel() <= self._cancelling
        return self._abort_error if is_alone and isinstance(error, asyncio.CancelledError) else None


def count_tool_call(*, agent_alias: str, tool_name: str) -> None:
    """Count one call of a tool in all scopes that this code is in; call it before the tool is called.

    Raises:
        UsageLimitExceededError: a limit on tool calls is reached, so that `tool_name` may not be called.
    """
    scopes = scopes_here()
    with counting:
        for scope in scopes:
            scope.check(("tool_calls",))
        for scope in scopes:
            scope.add({"tool_calls": 1})
    found = _totals_here(agent_alias, None)
    with counting:
        for totals in found:
            totals.tool_calls += 1


def _totals_here(agent_alias: str, model: str | None) -> list[UsageTotals]:
    """Give all totals that show what is done here: of the contexts, and of each call that this is part of."""
    found: dict[int, UsageTotals] = {}
    producer: Producer | None = current_producer.get()
    while producer is not None:
        # A run keeps its replies; its target is gone when it has ended, though what it kicked off may still go on.
        target: object = getattr(producer, "replies", None) or producer.target
        if isinstance(target, Accounted):
            totals = target.usage_totals()
            found[id(totals)] = totals
        producer = producer.owner
    for context in contexts_here():
        usage = getattr(context, "usage", None)
        if isinstance(usage, ContextUsage):
            sums = [usage.total, usage.by_agent.setdefault(agent_alias, UsageTotals())]
            if model is not None:
                sums.append(usage.by_model.setdefault(model, UsageTotals()))
            found.update((id(totals), totals) for totals in sums)
    return list(found.values())


__all__ = [
    "ContextUsage",
    "RateLimit",
    "RequestAccount",
    "TokenUsage",
    "UsageLimits",
    "UsageTotals",
    "count_tool_call",
    "model_request",
]
