"""`MiniAgents`, `@miniagent` and `MiniAgent`: what a program is made of.

@miniagent
async def my_agent(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"You said: {await message_promise}")

async def main() -> None:
    print(await my_agent.inquire("Hello").as_single_promise())

MiniAgents().run(main())
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast, overload

from miniagents._interception import CallInterceptor, InterceptedCall, intercepted_replies
from miniagents._mini_agents import MiniAgents
from miniagents._segments import SequenceBuffer
from miniagents._settings import AgentSignature, recorded
from miniagents.interaction import AgentCall, AgentRun, InteractionContext, find_current_run
from miniagents.message_sequence import MessageSequencePromise, closed_sequence, errors_as_messages
from miniagents.messages import Message
from miniagents.promising._waiting import running_loop
from miniagents.promising.ext.frozen import Frozen, freeze
from miniagents.utils import collapse_spaces, upper_snake_case


class MiniAgent(Frozen):
    """An agent: something that can be called with messages and replies with messages.

    Made by `@miniagent`. Like every `Frozen` it cannot change; `fork()` gives a new one with other settings.
    """

    alias: str
    """The name in upper snake case, as a console shows it."""
    description: str | None = None
    """What it does, for people and models."""
    interaction_metadata: Frozen | None = None
    """Fields that the records of its calls carry."""
    settings: Frozen | None = None
    """The settings that are fixed so far, in the form in which they are recorded."""

    if TYPE_CHECKING:

        @property
        def _kit(self) -> "_AgentKit":
            """What it needs to run; not a field, as it is no part of the content."""
            ...

    def inquire(
        self,
        messages: object = None,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        errors_to_messages: bool | None = None,  # noqa: FBT001
        **settings: Any,
    ) -> MessageSequencePromise:
        """Call the agent with `messages` and return its replies, which are still to come, at once.

        No code of the agent runs before the next task switch (with `start_asap=False`: before somebody reads the
        replies). `errors_to_messages` true turns errors into messages in these replies. The settings win over those
        of `fork()` and of the decorator.

        Raises:
            NotAMessageError: something in `messages` cannot become a message.
            UnknownSettingError: the agent does not take a setting, or lacks one.
            ValueError: a setting cannot be frozen; it is named.
            NoActiveContextError, NoRunningLoopError: there is no context, or no running event loop, here.
        """
        context, kwargs = self._prepare(settings)
        replies = self._call(context, closed_sequence(messages), kwargs, start_asap, is_fired=False)
        return _shown(replies, context, start_asap, errors_to_messages)

    def kick_off(self, messages: object = None, **settings: Any) -> None:
        """Call the agent and ignore its replies. It starts at the next task switch, in any mode.

        An error in it is logged at once, and (unless `background_errors="log"`) raised when the context ends.

        Raises:
            NotAMessageError, UnknownSettingError, ValueError, NoActiveContextError, NoRunningLoopError: as `inquire`.
        """
        context, kwargs = self._prepare(settings)
        self._call(context, closed_sequence(messages), kwargs, start_asap=True, is_fired=True)

    def initiate_inquiry(
        self,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        errors_to_messages: bool | None = None,  # noqa: FBT001
        **settings: Any,
    ) -> AgentCall:
        """Begin a call whose messages are sent one after another; see `AgentCall`.

        Raises:
            UnknownSettingError, ValueError, NoActiveContextError, NoRunningLoopError: as `inquire`.
        """
        context, kwargs = self._prepare(settings)
        requests = SequenceBuffer(context.read_ahead_by_default, f"the messages for `{self.alias}`")
        promise = MessageSequencePromise.of_buffer(requests)
        replies = self._call(context, promise, kwargs, start_asap, is_fired=False)
        open_calls = _open_calls_here(context)
        open_calls.add(requests)

        def finish() -> None:
            open_calls.discard(requests)
            requests.close()

        # Nobody is left to read them then, and the context need not keep them for its end.
        replies.buffer().when_ended(functools.partial(open_calls.discard, requests))

        return AgentCall(self.alias, requests, _shown(replies, context, start_asap, errors_to_messages), finish)

    def fork(
        self,
        alias: str | None = None,
        description: str | None = None,
        interaction_metadata: Mapping[str, Any] | None = None,
        mutable_state: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> "MiniAgent":
        """Give a new agent with these settings on top of this one's.

        The values of `mutable_state` reach the function as keyword arguments, unfrozen and shared by all calls. The
        settings of a call win over those of a fork, those of the last fork over those of earlier ones.

        Raises:
            UnknownSettingError: the agent does not take a setting.
            ValueError: a setting cannot be frozen; it is named.
        """
        kit = self._kit
        metadata = {**(self.interaction_metadata.as_kwargs() if self.interaction_metadata else {})}
        metadata.update(_mapping(interaction_metadata, "interaction_metadata"))
        metadata.pop("class_", None)
        return _make_agent(
            kit.signature,
            kit.func_or_class,
            alias=alias or self.alias,
            # Filled in anew, as the alias in it may be another one now.
            description=kit.description if description is None else description,
            interaction_metadata=metadata,
            # A later setting wins over an earlier one, be that frozen or not.
            mutable_state={
                **{name: value for name, value in kit.mutable_state.items() if name not in settings},
                **_mapping(mutable_state, "mutable_state"),
            },
            settings={**kit.settings, **settings},
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "MiniAgent":
        """Give an agent like this one with other fields; the same as `fork`.

        Raises:
            UnknownSettingError: the agent does not take a setting.
        """
        changes = dict(update or {})
        settings = cast("dict[str, Any]", dict(changes.pop("settings", None) or {}))
        settings.pop("class_", None)
        return self.fork(**changes, **settings)

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse to be called like a function.

        Raises:
            TypeError: always; it says what to call instead.
        """
        raise TypeError(
            f"The agent `{self.alias}` is not called like a function. Write `{self.alias.lower()}.inquire(messages)` "
            f"for its replies, or `{self.alias.lower()}.kick_off(messages)` to ignore them."
        )

    def __repr__(self) -> str:
        return f"<MiniAgent {self.alias}>"

    # -- for the package -----------------------------------------------------------------------------------------

    def _prepare(self, settings: dict[str, Any]) -> tuple[MiniAgents, dict[str, Any]]:
        """Look for the context and put the settings of one call together."""
        context = MiniAgents.get_current()
        running_loop(f"call the agent `{self.alias}`")
        kit = self._kit
        if settings:
            kit.signature.check_names(self.alias, settings)
            settings = {**kit.defaults, **kit.signature.prepare(settings)}
        else:
            settings = kit.defaults
        if kit.signature.required:
            kit.signature.check_complete(self.alias, settings)
        return context, settings

    def _call(
        self,
        context: MiniAgents,
        requests: MessageSequencePromise,
        settings: dict[str, Any],
        start_asap: bool | None,  # noqa: FBT001 - passed on as it came
        *,
        is_fired: bool,
    ) -> MessageSequencePromise:
        eager = context.start_everything_asap_by_default if start_asap is None else start_asap
        if context.interceptors:
            call = InterceptedCall(agent=self, settings=Frozen(**recorded(settings)), message_promises=requests)
            run = functools.partial(self._run, context, requests, settings, is_lazy=not eager, is_fired=False)
            replies = intercepted_replies(context, call, run, is_lazy=not eager, is_fired=is_fired)
        else:
            replies = self._run(context, requests, settings, is_lazy=not eager, is_fired=is_fired)
        recorder = context.recorder()
        if recorder is not None:
            recorder.watch(self, Frozen(**recorded(settings)), requests, replies)
        return replies

    def _run(
        self,
        context: MiniAgents,
        requests: MessageSequencePromise,
        settings: dict[str, Any],
        *,
        is_lazy: bool,
        is_fired: bool,
    ) -> MessageSequencePromise:
        kit = self._kit
        invoke = functools.partial(kit.invoke, settings)
        bound = context.read_ahead_by_default
        run = AgentRun(context, self, requests, invoke, bound=bound, is_lazy=is_lazy, is_fired=is_fired)
        replies = MessageSequencePromise.of_buffer(run.replies)
        if not is_lazy:
            run.launch()
        return replies


class _AgentKit:
    """What an agent needs to run and what is no part of its content."""

    __slots__ = ("defaults", "description", "func_or_class", "mutable_state", "settings", "signature")

    def __init__(
        self,
        signature: AgentSignature,
        func_or_class: Callable[..., Any],
        mutable_state: dict[str, Any],
        settings: dict[str, Any],
        description: str | None,
    ) -> None:
        self.signature = signature
        self.description = description
        self.func_or_class = func_or_class
        self.mutable_state = mutable_state
        self.settings = settings
        self.defaults = {**settings, **mutable_state}

    def invoke(self, settings: dict[str, Any], ctx: InteractionContext) -> Awaitable[None]:
        """Begin the agent's work: call its function, or the instance that is made for this call."""
        if self.signature.is_class:
            return self._invoke_class(settings, ctx)
        return self.func_or_class(ctx, **settings)

    async def _invoke_class(self, settings: dict[str, Any], ctx: InteractionContext) -> None:
        # Inside the task, as a constructor is the agent's own code, too, and may fail.
        await self.func_or_class(ctx=ctx, **settings)()


def _make_agent(
    signature: AgentSignature,
    func_or_class: Callable[..., Any],
    *,
    alias: str,
    description: str | None,
    interaction_metadata: Mapping[str, Any],
    mutable_state: dict[str, Any],
    settings: dict[str, Any],
) -> MiniAgent:
    signature.check_names(alias, (*settings, *mutable_state))
    prepared = signature.prepare(settings)
    record = recorded(prepared)
    agent = MiniAgent(
        alias=alias,
        # Not `format`: a description may have braces of its own.
        description=None if description is None else description.replace("{AGENT_ALIAS}", alias),
        interaction_metadata=Frozen(**freeze(dict(interaction_metadata), "interaction_metadata").as_kwargs()),
        settings=Frozen(**record),
    )
    kit = _AgentKit(signature, func_or_class, mutable_state, prepared, description)
    # Past pydantic, which would make it a private attribute and every access to it slow.
    cast("dict[str, Any]", agent.__dict__)["_kit"] = kit
    return agent


def _mapping(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` is a dict of names and values, not {value!r}.")
    return dict(cast("Mapping[str, Any]", value))


def _shown(
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


def _open_calls_here(context: MiniAgents) -> set[SequenceBuffer]:
    """Give the set of whoever finishes a call that is left open: the agent that makes it, else the context."""
    run = find_current_run()
    if run is None or run.target is None:
        return context.open_calls()
    if run.open_calls is None:
        run.open_calls = set()
    return run.open_calls


@overload
def miniagent(func_or_class: Callable[..., Any], /) -> MiniAgent: ...
@overload
def miniagent(
    func_or_class: None = None,
    *,
    alias: str | None = None,
    description: str | None = None,
    normalize_func_or_class_name: bool = True,
    normalize_spaces_in_docstring: bool = True,
    interaction_metadata: Mapping[str, Any] | None = None,
    mutable_state: Mapping[str, Any] | None = None,
    **kwargs_to_freeze: Any,
) -> Callable[[Callable[..., Any]], MiniAgent]: ...
def miniagent(
    func_or_class: Callable[..., Any] | None = None,
    *,
    alias: str | None = None,
    description: str | None = None,
    normalize_func_or_class_name: bool = True,
    normalize_spaces_in_docstring: bool = True,
    interaction_metadata: Mapping[str, Any] | None = None,
    mutable_state: Mapping[str, Any] | None = None,
    **kwargs_to_freeze: Any,
) -> Any:
    """Make an agent of an async function `f(ctx, **settings)`, or of a class with an async `__call__(self)`.

    Of a class, pydantic models included, each call makes a new instance with `ctx=` and the settings, so that an agent
    can be split into methods.

    Args:
        func_or_class: the function or class, where the decorator is used bare.
        alias: its name; by default that of the function or class in upper snake case (`MyAgent` -> `MY_AGENT`).
        description: what it does, by default the docstring; `{AGENT_ALIAS}` in it stands for the alias.
        normalize_func_or_class_name: whether the default alias is put into upper snake case.
        normalize_spaces_in_docstring: whether runs of white space in the docstring become one space.
        interaction_metadata: fields that the records of its calls carry.
        mutable_state: values that reach the function as keyword arguments, unfrozen and shared by all calls.
        kwargs_to_freeze: settings; those of forks and calls win over them.

    Raises:
        NotAnAgentError: it is neither an async function nor such a class, or declares a reserved name.
        UnknownSettingError: it does not take a setting.
        ValueError: a setting cannot be frozen; it is named.
    """

    def decorate(decorated: Callable[..., Any]) -> MiniAgent:
        name = getattr(decorated, "__name__", type(decorated).__name__)
        signature = AgentSignature(decorated, name)
        agent_alias = alias or (upper_snake_case(name) if normalize_func_or_class_name else name)
        text = description
        if text is None and (documented := inspect.getdoc(decorated) if decorated.__doc__ else None):
            text = collapse_spaces(documented) if normalize_spaces_in_docstring else documented
        return _make_agent(
            signature,
            decorated,
            alias=agent_alias,
            description=text,
            interaction_metadata=_mapping(interaction_metadata, "interaction_metadata"),
            mutable_state=_mapping(mutable_state, "mutable_state"),
            settings=kwargs_to_freeze,
        )

    return decorate if func_or_class is None else decorate(func_or_class)


__all__ = [
    "AgentCall",
    "CallInterceptor",
    "InteractionContext",
    "InterceptedCall",
    "Message",
    "MessageSequencePromise",
    "MiniAgent",
    "MiniAgents",
    "miniagent",
]
