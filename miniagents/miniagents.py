"""`MiniAgents`, `@miniagent` and `MiniAgent`: what a program is made of.

@miniagent
async def my_agent(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"You said: {await message_promise}")

async def main() -> None:
    print(await my_agent.inquire("Hello").as_single_promise())

MiniAgents().run(main())
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast, overload

from miniagents._agent_kit import AgentKit, as_dict, make_agent, open_calls_here, shown
from miniagents._call_marks import CallMarks, OnUncertain
from miniagents._interception import CallInterceptor, InterceptedCall, intercepted_replies
from miniagents._mini_agents import MiniAgents
from miniagents._segments import SequenceBuffer
from miniagents._settings import AgentSignature, recorded
from miniagents._usage_scopes import UsageScope, inside
from miniagents.interaction import AgentCall, AgentRun, InteractionContext
from miniagents.message_sequence import MessageSequencePromise, closed_sequence
from miniagents.messages import Message
from miniagents.promising.errors import NoRunningLoopError
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import RateLimit, UsageLimits
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
        def _kit(self) -> AgentKit:
            """What it needs to run; not a field, as it is no part of the content."""
            ...

    def inquire(
        self,
        messages: object = None,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        errors_to_messages: bool | None = None,  # noqa: FBT001
        *,
        usage_limits: UsageLimits | None = None,
        rate_limit: RateLimit | None = None,
        journal_key: str | None = None,
        **settings: Any,
    ) -> MessageSequencePromise:
        """Call the agent with `messages` and return its replies, which are still to come, at once.

        No code of the agent runs before the next task switch (with `start_asap=False`: before somebody reads the
        replies). `errors_to_messages` true turns errors into messages in these replies. The limits are for this call
        and all that it starts. `journal_key` tells it apart from equal calls in a journal. The settings win over those
        of `fork()` and of the decorator.

        Raises:
            NotAMessageError: something in `messages` cannot become a message.
            UnknownSettingError: the agent does not take a setting, or lacks one.
            ValueError: a setting cannot be frozen; it is named.
            TypeError: a limit is none.
            NoActiveContextError, NoRunningLoopError: there is no context, or no running event loop, here.
        """
        context, kwargs, scopes, loop = self._prepare(settings, usage_limits, rate_limit)
        replies = self._call(context, closed_sequence(messages), kwargs, start_asap, loop, scopes, journal_key)
        return shown(replies, context, start_asap, errors_to_messages)

    def kick_off(
        self,
        messages: object = None,
        *,
        usage_limits: UsageLimits | None = None,
        rate_limit: RateLimit | None = None,
        journal_key: str | None = None,
        **settings: Any,
    ) -> None:
        """Call the agent and ignore its replies. It starts at the next task switch, in any mode.

        An error in it is logged at once, and (unless `background_errors="log"`) raised when the context ends.

        Raises:
            NotAMessageError, UnknownSettingError, ValueError, TypeError, NoActiveContextError, NoRunningLoopError: as
                `inquire`.
        """
        context, kwargs, scopes, loop = self._prepare(settings, usage_limits, rate_limit)
        requests = closed_sequence(messages)
        self._call(context, requests, kwargs, True, loop, scopes, journal_key, is_fired=True)  # noqa: FBT003

    def initiate_inquiry(
        self,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        errors_to_messages: bool | None = None,  # noqa: FBT001
        *,
        usage_limits: UsageLimits | None = None,
        rate_limit: RateLimit | None = None,
        journal_key: str | None = None,
        **settings: Any,
    ) -> AgentCall:
        """Begin a call whose messages are sent one after another; see `AgentCall`.

        Raises:
            UnknownSettingError, ValueError, TypeError, NoActiveContextError, NoRunningLoopError: as `inquire`.
        """
        context, kwargs, scopes, loop = self._prepare(settings, usage_limits, rate_limit)
        requests = SequenceBuffer(context.read_ahead_by_default, f"the messages for `{self.alias}`")
        promise = MessageSequencePromise.of_buffer(requests)
        replies = self._call(context, promise, kwargs, start_asap, loop, scopes, journal_key)
        open_calls = open_calls_here(context)
        open_calls.add(requests)

        def finish() -> None:
            open_calls.discard(requests)
            requests.close()

        # Nobody is left to read them then, and the context need not keep them for its end.
        replies.buffer().when_ended(functools.partial(open_calls.discard, requests))

        return AgentCall(self.alias, requests, shown(replies, context, start_asap, errors_to_messages), finish)

    def fork(
        self,
        alias: str | None = None,
        description: str | None = None,
        interaction_metadata: Mapping[str, Any] | None = None,
        mutable_state: Mapping[str, Any] | None = None,
        *,
        usage_limits: UsageLimits | None = None,
        rate_limit: RateLimit | None = None,
        durable: bool | None = None,
        version: str | None = None,
        memoize: bool | timedelta | None = None,
        on_uncertain: OnUncertain | None = None,
        **settings: Any,
    ) -> "MiniAgent":
        """Give a new agent with these settings on top of this one's.

        The values of `mutable_state` reach the function as keyword arguments, unfrozen and shared by all calls. The
        limits are for all calls of the new agent, and of its own forks, together; those of this one hold as well. What
        `durable`, `version`, `memoize` and `on_uncertain` say to a journal, `@miniagent` tells. The settings of a call
        win over those of a fork, those of the last fork over those of earlier ones.

        Raises:
            UnknownSettingError: the agent does not take a setting.
            ValueError: a setting cannot be frozen; it is named. Or `on_uncertain` is given, and it is not durable.
            TypeError: a limit, or what a journal is told, is none.
        """
        kit = self._kit
        alias = alias or self.alias
        scopes = kit.scopes
        if usage_limits is not None or rate_limit is not None:
            scopes = (*scopes, UsageScope.of_fork(alias, usage_limits, rate_limit))
        metadata = {**(self.interaction_metadata.as_kwargs() if self.interaction_metadata else {})}
        metadata.update(as_dict(interaction_metadata, "interaction_metadata"))
        metadata.pop("class_", None)
        return make_agent(
            MiniAgent,
            kit.signature,
            kit.func_or_class,
            alias=alias,
            # Filled in anew, as the alias in it may be another one now.
            description=kit.description if description is None else description,
            interaction_metadata=metadata,
            # A later setting wins over an earlier one, be that frozen or not.
            mutable_state={
                **{name: value for name, value in kit.mutable_state.items() if name not in settings},
                **as_dict(mutable_state, "mutable_state"),
            },
            settings={**kit.settings, **settings},
            scopes=scopes,
            marks=kit.marks.changed(durable, version, memoize, on_uncertain),
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

    def _prepare(
        self, settings: dict[str, Any], usage_limits: object, rate_limit: object
    ) -> tuple[MiniAgents, dict[str, Any], tuple[UsageScope, ...], asyncio.AbstractEventLoop]:
        """Look for the context and the loop, and put the settings and the limits of one call together."""
        context = MiniAgents.get_current()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NoRunningLoopError(f"call the agent `{self.alias}`") from None
        kit = self._kit
        if settings:
            kit.signature.check_names(self.alias, settings)
            settings = {**kit.defaults, **kit.signature.prepare(settings)}
        else:
            settings = kit.defaults
        if kit.signature.required:
            kit.signature.check_complete(self.alias, settings)
        scopes = kit.scopes
        if usage_limits is not None or rate_limit is not None:
            scopes = (*scopes, UsageScope.of_call(self.alias, usage_limits, rate_limit))
        return context, settings, scopes, loop

    def _call(
        self,
        context: MiniAgents,
        requests: MessageSequencePromise,
        settings: dict[str, Any],
        start_asap: bool | None,  # noqa: FBT001 - passed on as it came
        loop: asyncio.AbstractEventLoop,
        scopes: tuple[UsageScope, ...],
        journal_key: str | None,
        *,
        is_fired: bool = False,
    ) -> MessageSequencePromise:
        if scopes:
            with inside(scopes):
                return self._call(context, requests, settings, start_asap, loop, (), journal_key, is_fired=is_fired)
        eager = context.start_everything_asap_by_default if start_asap is None else start_asap
        if context.interceptors:
            call = InterceptedCall(
                self, self._recorded(settings), requests, self._kit.marks, journal_key, self._kit.completion(settings)
            )
            run = functools.partial(self._run, context, requests, settings, is_lazy=not eager, is_fired=False)
            replies = intercepted_replies(context, call, run, is_lazy=not eager, is_fired=is_fired)
        else:
            replies = self._run(context, requests, settings, is_lazy=not eager, is_fired=is_fired, loop=loop)
        recorder = context.recorder()
        if recorder is not None:
            recorder.watch(self, self._recorded(settings), requests, replies)
        return replies

    def _recorded(self, settings: dict[str, Any]) -> Frozen:
        """Give the settings of a call as they are recorded: without what is shared by all calls and may change."""
        kit = self._kit
        if settings is kit.defaults and self.settings is not None:
            return self.settings
        shared = kit.mutable_state
        own = {name: value for name, value in settings.items() if name not in shared or value is not shared[name]}
        return Frozen(**recorded(own))

    def _run(
        self,
        context: MiniAgents,
        requests: MessageSequencePromise,
        settings: dict[str, Any],
        *,
        is_lazy: bool,
        is_fired: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> MessageSequencePromise:
        invoke = functools.partial(self._kit.invoke, settings)
        bound = context.read_ahead_by_default
        run = AgentRun(context, self, requests, invoke, bound=bound, is_lazy=is_lazy, is_fired=is_fired)
        replies = MessageSequencePromise.of_buffer(run.replies)
        if not is_lazy:
            run.launch(loop)
        return replies


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
    durable: bool | None = None,
    version: str | None = None,
    memoize: bool | timedelta | None = None,
    on_uncertain: OnUncertain | None = None,
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
    durable: bool | None = None,
    version: str | None = None,
    memoize: bool | timedelta | None = None,
    on_uncertain: OnUncertain | None = None,
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
        durable: whether a journal answers its finished calls when a run is resumed, as it does for model agents and
            tools; the agent then gets its input whole. Others run again, and find the calls that they make answered.
        version: part of what its calls are known by in a journal; give a new one when answers should be others.
        memoize: whether a journal answers a call that is equal to one of any run; a `timedelta`: no older one.
        on_uncertain: what becomes of a durable call that was cut off with its process: it runs again (`"retry"`), a
            person is asked whether it shall (`"ask"`), or it fails (`"fail"`); the latter two with `durable=True` or
            `memoize`, here or before.
        kwargs_to_freeze: settings; those of forks and calls win over them.

    Raises:
        NotAnAgentError: it is neither an async function nor such a class, or declares a reserved name.
        UnknownSettingError: it does not take a setting.
        ValueError: a setting cannot be frozen; it is named. Or `on_uncertain` is given, and the agent is not durable.
        TypeError: what a journal is told is not what it should be.
    """

    def decorate(decorated: Callable[..., Any]) -> MiniAgent:
        name = getattr(decorated, "__name__", type(decorated).__name__)
        signature = AgentSignature(decorated, name)
        agent_alias = alias or (upper_snake_case(name) if normalize_func_or_class_name else name)
        text = description
        if text is None and (documented := inspect.getdoc(decorated) if decorated.__doc__ else None):
            text = collapse_spaces(documented) if normalize_spaces_in_docstring else documented
        return make_agent(
            MiniAgent,
            signature,
            decorated,
            alias=agent_alias,
            description=text,
            interaction_metadata=as_dict(interaction_metadata, "interaction_metadata"),
            mutable_state=as_dict(mutable_state, "mutable_state"),
            settings=kwargs_to_freeze,
            # A class may say it for all agents that are made of it and of its subclasses.
            marks=CallMarks(getattr(decorated, "__durable__", None)).changed(durable, version, memoize, on_uncertain),
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
