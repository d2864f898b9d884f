"""Asking before a tool runs: which calls need it, whom to ask, and what counts as a yes."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pydantic_core import from_json, to_json

from miniagents.ext.llms._common.yes_or_no import YesOrNo, read_yes_or_no
from miniagents.ext.llms.llm_messages import ToolCallMessage
from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents, miniagent

ApprovalRule: TypeAlias = bool | Collection[str] | Callable[[ToolCallMessage], bool | Awaitable[bool]]
"""Which calls need an approval: all, none, those of the named tools, or those for which a function says so."""

_ASKED_AGAIN = "Please begin your answer with yes or no."
_KEY_IN_CONTEXT = "approvals at the console"


class ApprovalMessage(Message):
    """What an approval agent replies: whether a tool call may run, and why (not)."""

    approved: bool
    reason: str | None = None

    def _as_string(self) -> str:
        return f"{'yes' if self.approved else 'no'}{f', {self.reason}' if self.reason else ''}"


def checked_rule(rule: Any) -> ApprovalRule:
    """Give `rule`, or refuse it.

    Raises:
        TypeError: it is none of what `requires_approval` takes.
    """
    if isinstance(rule, bool) or callable(rule):
        return cast("ApprovalRule", rule)
    if isinstance(rule, set | frozenset | list | tuple):
        names = frozenset(cast("Collection[Any]", rule))
        if all(isinstance(name, str) for name in names):
            return cast("frozenset[str]", names)
    raise TypeError(
        f"`requires_approval={rule!r}` says nothing: give True, False, a set of tool names such as {{'delete_file'}}, "
        "or a function of the `ToolCallMessage` that returns a bool."
    )


async def needs_approval(rule: ApprovalRule, call: ToolCallMessage) -> bool:
    """Whether `rule` wants somebody to be asked about `call`."""
    if isinstance(rule, bool):
        return rule
    if callable(rule):
        answer = rule(call)
        return bool(await answer if inspect.isawaitable(answer) else answer)
    return call.tool_name in rule


async def ask_for_approval(agent: MiniAgent | None, call: ToolCallMessage, description: str) -> ApprovalMessage:
    """Ask `agent`, or else the person at the console; what is neither a yes nor a no is asked again once."""
    fields: dict[str, Any] = {**call.as_kwargs(), "tool_description": description}
    asked = ToolCallMessage(**fields)
    questions: list[Message] = [asked]
    asker = agent or console_approval_agent
    for _ in range(2):
        replies = await asker.inquire(questions, errors_to_messages=False)
        verdict = _verdict(replies)
        if verdict is not None:
            return verdict
        questions = [asked, *replies, Message(_ASKED_AGAIN)]
    return ApprovalMessage(approved=False, reason="the answer was neither a yes nor a no")


def _verdict(replies: tuple[Message, ...]) -> ApprovalMessage | None:
    for reply in replies:
        approved = reply.get("approved")
        if isinstance(approved, bool):
            reason = reply.get("reason")
            return ApprovalMessage(approved=approved, reason=None if reason is None else str(reason))
    return _as_approval(read_yes_or_no("\n\n".join(str(reply) for reply in replies)))


def typed_approval(answer: str) -> ApprovalMessage | None:
    """Give what a person has typed to approve a call or not, `y` and `n` for short; None if it is neither."""
    return _as_approval(read_yes_or_no(answer, yes=("yes", "y"), no=("no", "n")))


def _as_approval(answer: YesOrNo | None) -> ApprovalMessage | None:
    return None if answer is None else ApprovalMessage(approved=answer.is_yes, reason=answer.reason)


@dataclass
class _Console:
    """Where one person is asked, one question at a time."""

    dialog: Any
    free: asyncio.Lock = field(default_factory=asyncio.Lock)


@miniagent
async def console_approval_agent(ctx: InteractionContext) -> None:
    """Show the person at the console the call of a tool, and reply with what the person says to it.

    Several calls are asked about one after another. Where standard input is no terminal, nobody can be asked, and the
    call is not approved.
    """
    # Loaded when somebody is asked: most programs have no approvals, and many no console.
    from miniagents.ext._console import ask_person, is_terminal, show_greeting
    from miniagents.ext._dialog import Dialog

    messages = await ctx.message_promises
    if not is_terminal(sys.stdin):
        reason = "nobody can be asked, as standard input is no terminal (`approval_agent=` names somebody else)"
        ctx.reply(ApprovalMessage(approved=False, reason=reason))
        return
    context = MiniAgents.get_current()
    console: _Console = vars(context).setdefault(_KEY_IN_CONTEXT, _Console(Dialog()))
    with context.waits_for_outside("a person at the console"):
        async with console.free:
            show_greeting(_question(messages))
            try:
                answer = await ask_person(console.dialog)
                while not answer.strip():
                    answer = await ask_person(console.dialog)
            except EOFError:
                answer = "no, nobody is at the console any more"
    ctx.reply(typed_approval(answer) or answer)


def _question(messages: tuple[Message, ...]) -> str:
    call = messages[0]
    try:
        # Written anew, so that its line breaks cannot imitate a question of ours.
        arguments = to_json(from_json(str(call) or "{}")).decode()
    except ValueError:
        arguments = repr(str(call))
    question = f"{call.get('agent_alias') or 'A model'} wants to call `{call.get('tool_name')}` with {arguments}"
    return f"{question}\n{_ASKED_AGAIN if len(messages) > 1 else 'May it? (yes / no)'}"
