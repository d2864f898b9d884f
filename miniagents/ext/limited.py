"""`limited(agent, ...)`: any agent, with bounds on how many calls run at once and how long one takes, and with retries.

```python
careful = limited(OpenAIAgent.fork(model="gpt-5-mini"), max_concurrency=8, timeout_s=60, retry=Retry(attempts=4))

await careful.inquire("Hello!", temperature=0.5)  # settings go on to the agent inside
```

Why not `stamina`: it repeats a function until that returns, while a call is repeated only until its first token and
then goes on as a stream. Its sleeps follow the loop's clock, a virtual one too, but its own timeout does not, and it
waits for as long as a server likes. What would be left of it is one line, the doubling of the wait.
"""

import asyncio
import copy
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from miniagents._agent_kit import kit_of, make_agent
from miniagents._reordering import SequenceReader
from miniagents.errors import LLMError, MiniAgentsError, PromiseCancelledError, UsageLimitExceededError
from miniagents.ext._checked_settings import Errors, checked_errors, checked_number
from miniagents.ext._first_sign import copy_of, first_sign
from miniagents.ext.llms.errors import TransientError
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import MessagePromise
from miniagents.miniagents import MiniAgent
from miniagents.promising._failure import Failure
from miniagents.promising.sentinels import NO_VALUE


class AgentTimeoutError(MiniAgentsError, TimeoutError):
    """A call of a `limited` agent took longer than `timeout_s`; it was cancelled.

    Attributes:
        timeout_s: how long it was allowed to take.
    """

    def __init__(self, alias: str, timeout_s: float) -> None:
        super().__init__(
            f"`{alias}` took longer than {timeout_s:g} seconds and was cancelled. Give `limited` a larger `timeout_s`."
        )
        self.timeout_s = timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often, and after how long, an agent is asked again that failed before anything of its answer was visible.

    The wait before the second attempt is `wait_s` seconds, before each later one twice as long as before, at most
    `max_wait_s`. A random part of it, up to the share `jitter` (0 to 1), is taken off, so that many callers do not come
    back all at once. Where the error says `retry_after_s`, the wait is at least that; if that is more than
    `max_wait_s`, the error is raised at once.

    Attributes:
        on: which errors are worth another attempt. A cancellation and `UsageLimitExceededError` never are.
        attempts: how often the agent is asked in all.

    Raises:
        TypeError: `on` is no class of errors, or a number is none.
        ValueError: a number is out of its range.
    """

    on: Errors = (TransientError, ConnectionError, TimeoutError)
    attempts: int = 3
    wait_s: float = 0.5
    max_wait_s: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        checked_errors("Retry", self.on)
        checked_number("attempts", self.attempts, lambda count: count >= 1, "1 or more", is_whole=True)
        checked_number("wait_s", self.wait_s, lambda seconds: seconds >= 0, "0 or more seconds")
        checked_number("max_wait_s", self.max_wait_s, lambda seconds: seconds >= 0, "0 or more seconds")
        checked_number("jitter", self.jitter, lambda share: 0 <= share <= 1, "a share, from 0 to 1")

    def wait_after(self, attempt: int, error: Exception) -> float | None:
        """Give the seconds to wait after the failed attempt of this number, from 1; None if it was the last one."""
        if attempt >= self.attempts or not isinstance(error, self.on):
            return None
        if isinstance(error, UsageLimitExceededError | PromiseCancelledError):
            return None
        asked_for = (error.retry_after_s if isinstance(error, LLMError) else None) or 0.0
        if asked_for > self.max_wait_s:
            return None
        # Beyond this the power of two is no float any more, and long above any wait.
        doubled = self.wait_s * 2.0 ** min(attempt - 1, 1000)
        wait_s = min(doubled, self.max_wait_s) * (1 - self.jitter * random.random())
        return max(wait_s, asked_for)


def limited(
    agent: MiniAgent, *, max_concurrency: int | None = None, timeout_s: float | None = None, retry: Retry | None = None
) -> MiniAgent:
    """Give an agent that does what `agent` does, within these limits; streams pass through as they are.

    Settings of forks and calls go on to `agent`. The limits hold for the new agent and all its forks together.

    Args:
        agent: any agent.
        max_concurrency: how many calls run at the same time. The others wait, first come, first served. A call runs
            until the last of its replies is complete. (An agent that calls itself through the limit may wait for ever.)
        timeout_s: how many seconds a whole call may take: waiting for its turn, all attempts, and the last token
            included. Then it is cancelled, and `AgentTimeoutError` stands where its replies ended.
        retry: whether and how it is asked again when it failed before anything was visible. None: it is not.

    Raises:
        TypeError: `agent` is no agent, `retry` no `Retry`, or a number is none.
        ValueError: a number is out of its range.
    """
    if not isinstance(cast("object", agent), MiniAgent):
        raise TypeError(f"`limited` takes an agent, a function or class with `@miniagent`, not {agent!r}.")
    if max_concurrency is not None:
        checked_number("max_concurrency", max_concurrency, lambda count: count >= 1, "1 or more", is_whole=True)
    if timeout_s is not None:
        checked_number("timeout_s", timeout_s, lambda seconds: seconds > 0, "more than 0 seconds")
    _check_retry(retry)
    kit = kit_of(agent)
    # It takes what the agent takes; what that has already, it need not be given.
    signature = copy.copy(kit.signature)
    signature.required = signature.required.difference(kit.defaults)
    limits = _Limits(agent, _Slots(max_concurrency), timeout_s, retry)

    def begin(ctx: InteractionContext, **settings: Any) -> Callable[[], Awaitable[None]] | Awaitable[None]:
        call = _LimitedCall(ctx, limits, settings)
        return call if signature.is_class else call()

    return make_agent(
        MiniAgent,
        signature,
        begin,
        alias=agent.alias,
        description=kit.description,
        interaction_metadata=agent.interaction_metadata.as_kwargs() if agent.interaction_metadata else {},
        mutable_state={},
        settings={},
    )


@dataclass(frozen=True, slots=True)
class _Limits:
    agent: MiniAgent
    slots: "_Slots"
    timeout_s: float | None
    retry: Retry | None


class _Slots:
    """How many calls may run at once: a semaphore for each event loop, as one program may have several in turn."""

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._semaphores: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def take(self) -> Callable[[], None]:
        """Wait for a slot, after all that wait already; give the function that frees it."""
        if self._count is None:
            return _nothing
        loop = asyncio.get_running_loop()
        semaphore = self._semaphores.get(loop)
        if semaphore is None:
            semaphore = self._semaphores[loop] = asyncio.Semaphore(self._count)
        await semaphore.acquire()
        return semaphore.release


class _LimitedCall:
    """One call of a limited agent."""

    def __init__(self, ctx: InteractionContext, limits: _Limits, settings: dict[str, Any]) -> None:
        self._ctx = ctx
        self._limits = limits
        self._agent = limits.agent
        self._alias = ctx.this_agent.alias
        self._timeout: AgentTimeoutError | None = None
        self._handed_over: list[MessagePromise] = []
        self._is_shown = False
        # What is mutable state here is so in there too; everything else is recorded there.
        mutable = kit_of(cast("MiniAgent", ctx.this_agent)).mutable_state
        self._settings = {name: value for name, value in settings.items() if name not in mutable}
        if mutable or self._alias != self._agent.alias:
            shared = {name: settings[name] for name in mutable if name in settings}
            self._agent = self._agent.fork(alias=self._alias, mutable_state=shared)

    async def __call__(self) -> None:
        timeout_s = self._limits.timeout_s
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        timeout = asyncio.timeout_at(deadline)
        try:
            async with timeout:
                replies = await self._begin()
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self._timed_out() from None
        if deadline is None:
            self._ctx.reply(replies)
            return
        timer = loop.call_at(deadline, self._expire, replies)
        replies.when_done(timer.cancel)
        await self._pass_on(replies)

    async def _begin(self) -> MessageSequencePromise:
        """Wait for a slot and give an answer that lives; its slot is free when it is complete."""
        release = await self._limits.slots.take()
        try:
            replies = await self._answer()
        except BaseException:
            release()
            raise
        replies.when_done(release)
        return replies

    async def _answer(self) -> MessageSequencePromise:
        """Ask until an answer lives; give its replies."""
        retry = self._limits.retry
        attempt = 0
        while True:
            replies = self._agent.inquire(self._ctx.message_promises, errors_to_messages=False, **self._settings)
            if retry is None:
                return replies
            attempt += 1
            try:
                sign = await first_sign(replies)
            except BaseException:
                replies.cancel(f"The call of `{self._alias}` was given up.")
                raise
            if not isinstance(sign, Exception):
                return replies
            replies.cancel(f"`{self._alias}` failed.")
            wait_s = retry.wait_after(attempt, sign)
            if wait_s is None:
                if attempt > 1:
                    sign.add_note(f"`{self._alias}` was asked {attempt} times.")
                raise sign
            await asyncio.sleep(wait_s)

    async def _pass_on(self, replies: MessageSequencePromise) -> None:
        """Pass the replies on; when the time is over, the error for that stands where they were cut off."""
        async for promise in SequenceReader(replies.buffer(), raises=False):
            if not isinstance(promise, Failure):
                self._handed_over.append(promise)
                self._ctx.reply(copy_of(promise, lambda error: self._timeout or error))
            elif self._timeout is None:
                self._ctx.reply(promise.receive())
            else:
                promise.receive()
                if not self._is_shown:
                    raise self._timeout

    def _expire(self, replies: MessageSequencePromise) -> None:
        self._timed_out()
        # An error stands in one place: in the message that it tears, where there is one.
        self._is_shown = any(promise.outcome_if_done() is NO_VALUE for promise in self._handed_over)
        replies.cancel(f"The time of `{self._alias}` was over.")

    def _timed_out(self) -> AgentTimeoutError:
        if self._timeout is None:
            self._timeout = AgentTimeoutError(self._alias, self._limits.timeout_s or math.inf)
        return self._timeout


def _check_retry(retry: object) -> None:
    if retry is not None and not isinstance(retry, Retry):
        attempts = f"attempts={retry}" if isinstance(retry, int) and not isinstance(retry, bool) else ""
        raise TypeError(f"`retry={retry!r}` is no `Retry`: write `retry=Retry({attempts})`.")


def _nothing() -> None:
    pass
