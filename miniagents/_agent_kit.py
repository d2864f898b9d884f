"""What an agent needs to run and what is no part of its content; how an agent is put together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from miniagents._call_marks import NOT_MARKED, CallMarks
from miniagents._mini_agents import MiniAgents
from miniagents._segments import SequenceBuffer
from miniagents._settings import AgentSignature, recorded
from miniagents._usage_scopes import UsageScope
from miniagents.interaction import InteractionContext, find_current_run
from miniagents.message_sequence import MessageSequencePromise, errors_as_messages
from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen, freeze

A = TypeVar("A", bound=Frozen)


class AgentKit:
    """What an agent needs to run and what is no part of its content."""

    __slots__ = (
        "defaults",
        "description",
        "func_or_class",
        "marks",
        "mutable_state",
        "scopes",
        "settings",
        "signature",
    )

    def __init__(
        self,
        signature: AgentSignature,
        func_or_class: Callable[..., Any],
        mutable_state: dict[str, Any],
        settings: dict[str, Any],
        description: str | None,
        scopes: tuple[UsageScope, ...],
        marks: CallMarks,
    ) -> None:
        self.signature = signature
        self.description = description
        self.func_or_class = func_or_class
        self.mutable_state = mutable_state
        self.settings = settings
        self.defaults = {**settings, **mutable_state}
        self.scopes = scopes
        """What counts, and limits, all calls of this agent and of its forks."""
        self.marks = marks

    def invoke(self, settings: dict[str, Any], ctx: InteractionContext) -> Awaitable[None]:
        """Begin the agent's work: call its function, or the instance that is made for this call."""
        if self.signature.is_class:
            return self._invoke_class(settings, ctx)
        return self.func_or_class(ctx, **settings)

    def completion(self, settings: dict[str, Any]) -> Callable[[Sequence[Message]], None] | None:
        """Give what completes replies that come from a journal, if the class of the agent has `__complete__`."""
        complete = getattr(self.func_or_class, "__complete__", None) if self.signature.is_class else None
        return None if complete is None else partial(complete, settings)

    async def _invoke_class(self, settings: dict[str, Any], ctx: InteractionContext) -> None:
        # Inside the task, as a constructor is the agent's own code, too, and may fail.
        await self.func_or_class(ctx=ctx, **settings)()


def make_agent(
    kind: type[A],
    signature: AgentSignature,
    func_or_class: Callable[..., Any],
    *,
    alias: str,
    description: str | None,
    interaction_metadata: Mapping[str, Any],
    mutable_state: dict[str, Any],
    settings: dict[str, Any],
    scopes: tuple[UsageScope, ...] = (),
    marks: CallMarks = NOT_MARKED,
) -> A:
    """Put an agent of the class `kind` together.

    Raises:
        UnknownSettingError: the function does not take a setting.
        ValueError: a setting cannot be frozen; it is named.
    """
    signature.check_names(alias, (*settings, *mutable_state))
    prepared = signature.prepare(settings)
    record = recorded(prepared)
    fields: dict[str, Any] = {
        "alias": alias,
        # Not `format`: a description may have braces of its own.
        "description": None if description is None else description.replace("{AGENT_ALIAS}", alias),
        "interaction_metadata": Frozen(**freeze(dict(interaction_metadata), "interaction_metadata").as_kwargs()),
        "settings": Frozen(**record),
    }
    agent = kind(**fields)
    kit = AgentKit(signature, func_or_class, mutable_state, prepared, description, scopes, marks)
    # Past pydantic, which would make it a private attribute and every access to it slow.
    cast("dict[str, Any]", agent.__dict__)["_kit"] = kit
    return agent


def kit_of(agent: Frozen) -> AgentKit:
    """Give what `agent`, made by `make_agent`, needs to run: for what takes an agent's place, or describes it."""
    return cast("dict[str, Any]", agent.__dict__)["_kit"]


def as_dict(value: object, name: str) -> dict[str, Any]:
    """Give a copy of a mapping that was given as `name`; an empty one for None.

    Raises:
        TypeError: it is no mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` is a dict of names and values, not {value!r}.")
    return dict(cast("Mapping[str, Any]", value))


def shown(
    replies: MessageSequencePromise,
    context: MiniAgents,
    start_asap: bool | None,  # noqa: FBT001 - passed on as it came
    errors_to_messages: bool | None,  # noqa: FBT001
) -> MessageSequencePromise:
    """Give the replies, or a view of them in which errors are messages if that is wanted."""
    if not (context.errors_to_messages if errors_to_messages is None else errors_to_messages):
        return replies
    eager = context.start_everything_asap_by_default if start_asap is None else start_asap
    return errors_as_messages(replies, is_lazy=not eager)


def open_calls_here(context: MiniAgents) -> set[SequenceBuffer]:
    """Give the set of whoever finishes a call that is left open: the agent that makes it, else the context."""
    run = find_current_run()
    if run is None or run.target is None:
        return context.open_calls()
    if run.open_calls is None:
        run.open_calls = set()
    return run.open_calls
