"""Agents that make one answer of several agents': `fallback_agent`, `race_agent`, `gate_agent`.

They are made for models, and work with any agent.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, cast, get_args

from miniagents.errors import LLMError, MiniAgentsError, PromiseCancelledError, UsageLimitExceededError
from miniagents.ext._checked_settings import Errors, checked_agent, checked_errors, checks_settings
from miniagents.ext._first_sign import Fault, Sign, copy_of, fault_of, first_sign
from miniagents.ext.limited import AgentTimeoutError
from miniagents.ext.llms._common.yes_or_no import read_yes_or_no
from miniagents.ext.llms.llm_messages import AssistantMessage, LLMMessage
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, miniagent
from miniagents.promising._failure import Failure

_Failures: TypeAlias = list[tuple[str, Exception]]

_OnBlock: TypeAlias = Literal["reply", "raise"]

_PASSES: Final = ("yes", "pass", "passed")
_FAILS: Final = ("no", "fail", "failed")


class NotAnAgentInListError(MiniAgentsError, TypeError):
    """Something else than agents was given as `agents=`, or nothing at all."""

    def __init__(self, called: str, value: object) -> None:
        given = repr(value)
        if isinstance(value, MiniAgent):
            given = f"the agent `{value.alias}` alone: write `agents=[...]` around it"
        elif isinstance(value, str):
            given = f"{value!r}; `model_agent({value!r})` gives the agent of a model"
        elif callable(value):
            given += "; decorate it with `@miniagent`"
        super().__init__(
            f"`{called}` needs `agents=[...]` with at least one agent, a function or class with `@miniagent`; `None` "
            f"among them is skipped. It was given {given}."
        )


class BlockedError(MiniAgentsError):
    """The guard of a `gate_agent` with `on_block="raise"` did not let the answer pass.

    No `LLMError`, so that no fallback takes it for a failure and lets another model answer.

    Attributes:
        reason: what the guard said.
    """

    def __init__(self, guard_alias: str, reason: str) -> None:
        super().__init__(f"`{guard_alias}` did not let the answer pass: {reason}")
        self.reason = reason


class NoVerdictError(MiniAgentsError):
    """A guard replied with something that is no verdict; the answer was not released."""

    def __init__(self, guard_alias: str, replies: Sequence[Message]) -> None:
        said = " ".join(str(message) for message in replies)
        super().__init__(
            f"The guard `{guard_alias}` gave no verdict; it replied {said[:200]!r}. Let it reply "
            "`VerdictMessage(passed=..., reason=...)`, or a text that begins with yes, pass, no or fail."
        )


class VerdictMessage(Message):
    """What a guard replies.

    Attributes:
        passed: whether the answer may be shown.
        reason: why not; shown in place of the answer.
    """

    passed: bool
    reason: str | None = None


def _check_fallback(name: str, value: object) -> None:
    if name == "on":
        checked_errors("fallback_agent", value)
    elif name == "agents":
        _check_agents("fallback_agent", value)


def _check_race(name: str, value: object) -> None:
    if name == "agents":
        _check_agents("race_agent", value)


def _check_gate(name: str, value: object) -> None:
    if name in ("agent", "guard"):
        checked_agent("gate_agent", name, value)
    elif name == "on_block" and value not in get_args(_OnBlock):
        # A slip in "raise" would show as an answer what was to be an error.
        raise TypeError(f'`gate_agent` takes `on_block="reply"` or `on_block="raise"`, not {value!r}.')


@miniagent
@checks_settings(_check_fallback)
async def fallback_agent(
    ctx: InteractionContext,
    agents: Iterable[MiniAgent | None],
    mid_stream: bool = False,  # noqa: FBT001, FBT002 - a setting, which is only ever given by name
    on: Errors = (LLMError, AgentTimeoutError),
) -> None:
    """Ask the first of `agents`; where it fails, the next one with the same messages, and so on.

    An agent that fails before its first token, or its first message, leaves no trace. The replies of one that has
    begun are passed on as they come, and an error in them is theirs; with `mid_stream` the torn message ends as it is
    with `interrupted=True`, and the replies of the next agent follow it.

    `on` says which errors are a reason to ask the next one: those of models, and that of a `limited` agent that took
    too long, unless told otherwise. A cancellation and `UsageLimitExceededError` never are.

    Raises:
        NotAnAgentInListError: there is no agent, or something else among them.
        TypeError: `on` is no class of errors; raised where it is given.
        Exception: of the last agent, with notes about the others, if all failed; or one that is no reason to go on.
    """
    members = _checked("fallback_agent", agents)
    failures: _Failures = []
    for place, agent in enumerate(members):
        attempt = _Attempt(agent, failures, on if place < len(members) - 1 else ())
        replies = agent.inquire(ctx.message_promises, errors_to_messages=False)
        fault = await (attempt.copy_replies(ctx, replies) if mid_stream else attempt.link_replies(ctx, replies))
        if fault is None:
            return
        replies.cancel(f"`{agent.alias}` failed.")
        if not attempt.is_reason_to_go_on(fault.error):
            if not fault.is_shown:
                raise fault.error
            return
        failures.append((agent.alias, fault.error))


class _Attempt:
    """The call of one agent of a fallback."""

    def __init__(self, agent: MiniAgent, failures: _Failures, on: Errors) -> None:
        self._agent = agent
        self._failures = failures
        self._on = on

    def is_reason_to_go_on(self, error: Exception) -> bool:
        """Say whether the next agent is to be asked; if not, the error gets notes about those before."""
        if isinstance(error, self._on) and not isinstance(error, UsageLimitExceededError | PromiseCancelledError):
            return True
        _add_notes(error, self._agent.alias, self._failures)
        return False

    async def link_replies(self, ctx: InteractionContext, replies: MessageSequencePromise) -> Fault | None:
        """Pass the replies on as they are, as soon as they live."""
        sign = await first_sign(replies)
        if isinstance(sign, Exception):
            return Fault(sign)
        ctx.reply(replies)
        return None

    async def copy_replies(self, ctx: InteractionContext, replies: MessageSequencePromise) -> Fault | None:
        """Pass the replies on message by message, so that the one that fails can end before its error."""

        def error_shown(error: Exception) -> Exception | None:
            return None if self.is_reason_to_go_on(error) else error

        return await fault_of(replies, lambda promise: ctx.reply(copy_of(promise, error_shown)))


@miniagent
@checks_settings(_check_race)
async def race_agent(ctx: InteractionContext, agents: Iterable[MiniAgent | None]) -> None:
    """Ask all `agents` at once, and reply with what the first says that shows a token (or a message without any).

    The others are cancelled at that moment. An agent that fails before its first token does not win; neither does one
    that has nothing to say, unless all others have failed.

    Raises:
        NotAnAgentInListError: there is no agent, or something else among them.
        Exception: of the agent that failed last, with notes about the others, if all failed.
    """
    members = _checked("race_agent", agents)
    calls = [agent.inquire(ctx.message_promises, start_asap=True, errors_to_messages=False) for agent in members]
    race = _Race(members, calls)
    try:
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(race.watch(place)) for place in range(len(calls))]
            winner = await race.winner
            for watch in watches:
                watch.cancel()
    except BaseException:
        # Those who watch are readers, so that the calls would outlive the race.
        race.cancel_all_but(None)
        raise
    if winner is None:
        alias, error = race.failures.pop()
        _add_notes(error, alias, race.failures)
        raise error
    ctx.reply(calls[winner])


class _Race:
    """Who is first among several calls."""

    def __init__(self, members: Sequence[MiniAgent], calls: Sequence[MessageSequencePromise]) -> None:
        self.winner: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """The place of the first, None if all failed."""
        self.failures: _Failures = []
        self._members = members
        self._calls = calls
        self._silent: list[int] = []

    async def watch(self, place: int) -> None:
        """Wait for the first sign of one call, and see what it means for the race."""
        sign = await first_sign(self._calls[place])
        if self.winner.done():
            return
        if isinstance(sign, Exception):
            self.failures.append((self._members[place].alias, sign))
        elif sign is Sign.NOTHING:
            self._silent.append(place)
        else:
            self._end(place)
            return
        if len(self.failures) + len(self._silent) == len(self._calls):
            self._end(self._silent[0] if self._silent else None)

    def _end(self, winner: int | None) -> None:
        self.winner.set_result(winner)
        # Now, not after the next task switch: each token that they still make is paid for.
        self.cancel_all_but(winner)

    def cancel_all_but(self, winner: int | None) -> None:
        """Cancel the calls that lost."""
        for place, call in enumerate(self._calls):
            if place != winner:
                call.cancel("The race is over.")


@miniagent
@checks_settings(_check_gate)
async def gate_agent(ctx: InteractionContext, agent: MiniAgent, guard: MiniAgent, on_block: _OnBlock = "reply") -> None:
    """Let `agent` answer while `guard` looks at the same messages; release the answer when the guard lets it pass.

    Both start at once. Until the verdict the answer is held back; then it is released with all its tokens so far, and
    streams on. The verdict is the first `VerdictMessage` among the guard's replies, or the first text that begins with
    yes, pass or passed, or with no, fail or failed (what follows is the reason), or an answer whose `parsed` has a
    `passed`. If it did not pass, the answer is cancelled, and the reply is one `AssistantMessage` with the reason,
    `blocked=True` and `finish_reason="content_filter"`.

    Raises:
        BlockedError: it did not pass, and `on_block="raise"`.
        NoVerdictError: the guard gave no verdict. The answer is not released.
        TypeError: `agent` or `guard` is no agent, or `on_block` none of the two; raised where it is given.
        Exception: whatever went wrong in the guard. The answer is not released.
    """
    answer = agent.inquire(ctx.message_promises, start_asap=True, errors_to_messages=False)
    try:
        verdict = await _verdict(guard, ctx.message_promises)
    except BaseException:
        _drop(answer)
        raise
    if verdict.passed:
        ctx.reply(answer)
        return
    _drop(answer)
    reason = verdict.reason or "The answer was held back."
    if on_block == "raise":
        raise BlockedError(guard.alias, reason)
    ctx.reply(AssistantMessage.promise(reason, agent_alias=guard.alias, blocked=True, finish_reason="content_filter"))


async def _verdict(guard: MiniAgent, messages: MessageSequencePromise) -> VerdictMessage:
    # Cancels what the guard still does when its verdict is there.
    async with guard.inquire(messages, start_asap=True, errors_to_messages=False) as replies:
        seen: list[Message] = []
        async for promise in replies:
            message = await promise
            seen.append(message)
            verdict = _verdict_in(message)
            if verdict is not None:
                return verdict
        raise NoVerdictError(guard.alias, seen)


def _verdict_in(message: Message) -> VerdictMessage | None:
    if isinstance(message, VerdictMessage):
        return message
    if isinstance(message, LLMMessage) and not isinstance(message, AssistantMessage):
        # A thought or a tool call of the guard's is no verdict, whatever it begins with.
        return None
    parsed = message.parsed if isinstance(message, AssistantMessage) else None
    passed = getattr(parsed, "passed", None)
    if isinstance(passed, bool):
        reason = getattr(parsed, "reason", None)
        return VerdictMessage(passed=passed, reason=None if reason is None else str(reason))
    said = read_yes_or_no(str(message), yes=_PASSES, no=_FAILS)
    return None if said is None else VerdictMessage(passed=said.is_yes, reason=said.reason)


def _drop(answer: MessageSequencePromise) -> None:
    """Cancel an answer that nobody is to see; if it has failed already, that is nobody's business either."""
    answer.cancel("The answer was not released.")
    outcome = answer.outcome_if_done()
    if isinstance(outcome, Failure):
        outcome.receive()


def _check_agents(called: str, agents: object) -> None:
    """Refuse what is no list of agents; whether there is one in it is seen when they are asked."""
    # An agent can be iterated over, and so can the name of a model.
    if isinstance(agents, MiniAgent | str) or not isinstance(agents, Iterable):
        raise NotAnAgentInListError(called, agents)
    for agent in cast("Sequence[object]", agents if isinstance(agents, list | tuple) else ()):
        if agent is not None and not isinstance(agent, MiniAgent):
            raise NotAnAgentInListError(called, agent)


def _checked(called: str, agents: Iterable[object]) -> list[MiniAgent]:
    given = list(agents)
    _check_agents(called, given)
    members = [agent for agent in given if isinstance(agent, MiniAgent)]
    if not members:
        raise NotAnAgentInListError(called, given)
    return members


def _add_notes(error: Exception, alias: str, failures: _Failures) -> None:
    """Say on the error that is raised who else was asked, and what happened there."""
    if not failures:
        return
    notes = [f"`{other}` failed too: {type(failure).__name__}: {failure}" for other, failure in failures]
    for note in [*notes, f"The error above is that of `{alias}`."]:
        # The same object may be raised again and again, as a scripted one is.
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
