"""What all LLM agents have in common: their messages, and `LLMAgent`, the base class of one per provider."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, SkipValidation, Strict, ValidationError

from miniagents.ext.llms._common.faults import sdk_fault
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._common.setting_checks import API_PARAMETERS, check_setting, wrong_setting
from miniagents.ext.llms._turns.call_log import TurnLog
from miniagents.ext.llms._turns.conversation import checked, conversation_of
from miniagents.ext.llms._turns.kept_turns import KeptTurns
from miniagents.ext.llms._turns.model_turn import ModelTurn, TurnResult, tool_calls_of
from miniagents.ext.llms._turns.prompt_events import events_of_tokens
from miniagents.ext.llms.errors import LLMError, StructuredOutputError, ToolRoundsExceededError
from miniagents.ext.llms.llm_messages import (
    AssistantMessage,
    LLMMessage,
    SystemMessage,
    TokenUsage,
    ToolCallMessage,
    UserMessage,
)
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest, OutputSchema, ThinkingLevel, TurnEnded
from miniagents.ext.llms.prompt import Prompt
from miniagents.ext.llms.structured import complete_answer, output_schema, retry_message, validated
from miniagents.ext.llms.tools import Tool, Toolbox, ToolSource
from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents
from miniagents.promising._failure import Failure
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import requests_are_limited

__all__ = ["AssistantMessage", "LLMAgent", "LLMMessage", "SystemMessage", "TokenUsage", "UserMessage"]


class LLMAgent(BaseModel):
    """The base class of the agents that ask a model. It replies with a message for each block of the answer, streamed.

    A provider of your own is one subclass with one method, decorated with `@miniagent`:

    ```python
    @miniagent
    class ParrotAgent(LLMAgent):
        async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
            for word in prompt.last_text.split():
                yield word + " "
            answer_fields["stop_reason"] = "said it all"


    reply_sequence = ParrotAgent.inquire("Polly wants a cracker", model="polly-1")
    ```

    One whose models think or call tools overrides `stream_turn` instead; see `miniagents.ext.llms.model_events`.

    Everything else is done here: the prompt is put together, tools are run, faults are retried, limits are kept, the
    prompt log is written, and on cancellation (`promise.cancel()`, the end of an `async with agent.inquire(...)`, the
    end of the context) the stream is closed at the `yield` or `await` where it stands, so that its `async with` and
    `finally` blocks run. A text-only answer is exactly one `AssistantMessage`, whose `preliminary_metadata` has
    `model`, `role` and `agent_alias` before the first token; thoughts, calls of tools and their results stand before
    it in the reply sequence, each a message that streams.

    How the messages become a prompt:
    - A message without a role counts as the user's. Blank messages are left out.
    - System messages, wherever they stand, and `system` before them, are joined into one system prompt.
    - Messages of one role in a row are joined into one turn.
    - If nobody but assistants speaks, their messages count as the user's: that is what a model gets from another one
      in a chain.
    - A conversation that an assistant begins is opened with `fake_first_user_message`, and so is an empty one: a model
      that gets no messages at all is asked all the same, with `system` and that one turn.

    Attributes:
        ctx: the interaction, passed in by the framework.
        model: the provider's name of the model.
        system: the system prompt; a list of content blocks where the provider takes these.
        stream: token by token, or the whole answer as one token; None takes the context's
            `stream_llm_tokens_by_default`, and is True or False by the time the model is asked.
        tools: functions, agents and MCP tools that the model may call; see `miniagents.ext.llms.tools`.
        tool_errors: whether what goes wrong in a tool is told to the model, or raised as `ToolError`.
        max_tool_rounds: how many times in a row the model may call tools before `ToolRoundsExceededError`.
        requires_approval: which calls are asked about first: all (True), those of tools with these names, or those for
            which a function of the `ToolCallMessage` says so.
        approval_agent: who is asked; by default the person at the console.
        response_model: what the answer is validated as; `message.parsed` is then one of these.
        output_retries: how often the model is asked again, with what is wrong, where its answer does not validate.
        max_retries: how often a request that failed before anything was visible is sent again.
        on_midstream_failure: whether a failure after the first visible token is raised at its place, or the torn
            message ends with `interrupted=True` and the model is asked again.
        thinking: how much the model shall think; None leaves it to the provider. An object goes to the API as it is.
        cache: whether the stable beginning of the prompt is marked for the provider's cache, where it needs a mark.
        api_key: in place of the one in the environment. Never stored or shown.
        base_url: the server, in place of the provider's own.
        fake_first_user_message: what the user is made to have said where the conversation does not begin with the user;
            None leaves it as it is.
        message_delimiter_for_same_role: goes between texts that are joined.
        response_metadata: further fields of the reply, there before the first token.
        llm_logger_agent: an agent that is given the prompt and the answer when the answer has ended; True for
            `markdown_llm_logger_agent`, None for the context's `llm_logger_agent`.

    Any other keyword that is given to `fork()` or `inquire()` is a parameter of the API, see `api_parameters`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow")

    provider: ClassVar[str] = "custom"
    """Whose models these are; on every message that they make."""
    answer_class: ClassVar[type[Message]] = AssistantMessage
    """The class of the messages with the answer's text."""
    __durable__: ClassVar[bool] = True
    """What was paid for is answered from the journal, where there is one; see `@miniagent`."""
    retries_by_itself: ClassVar[bool] = False
    """Whether `stream_turn` sends a request again that failed before its first byte, as the providers' SDKs do."""

    ctx: InteractionContext
    model: str
    system: str | tuple[Frozen, ...] | None = None
    stream: Annotated[bool, Strict()] | None = None
    tools: Annotated[
        Sequence[Callable[..., Any] | Tool | ToolSource | MiniAgent | Mapping[str, Any]], SkipValidation
    ] = ()
    tool_errors: Literal["to_model", "raise"] = "to_model"
    max_tool_rounds: int = Field(default=20, ge=0)
    requires_approval: Annotated[bool | AbstractSet[str] | Callable[..., Any], SkipValidation] = False
    approval_agent: MiniAgent | None = None
    response_model: Annotated[type[Any] | None, SkipValidation] = None
    output_retries: int = Field(default=1, ge=0)
    max_retries: int = Field(default=2, ge=0)
    on_midstream_failure: Literal["raise", "restart"] = "raise"
    thinking: ThinkingLevel | Frozen | None = None
    cache: bool = True
    api_key: SecretStr | None = None
    base_url: str | None = Field(default=None, repr=False)
    fake_first_user_message: str | None = "/start"
    message_delimiter_for_same_role: str = "\n\n"
    response_metadata: Frozen | None = None
    llm_logger_agent: Annotated[bool, Strict()] | MiniAgent | None = None

    def __init__(self, **settings: Any) -> None:
        """Made by the framework, for each call.

        Raises:
            SettingError: a setting has a value that it does not take.
        """
        for name, value in settings.items():
            # Those of `mutable_state` come here unseen.
            self.__check_setting__(name, value)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            wrong = error
        else:
            return
        # Outside of the block above: what pydantic says has many lines, and shows keys.
        raise wrong_setting(settings["ctx"].this_agent.alias, type(self), settings, wrong)

    @classmethod
    def __check_setting__(cls, name: str, value: Any) -> None:
        """Refuse a setting where it is given, by `fork()` or `inquire()`; overridden where names mean something else.

        Raises:
            SettingError: it has a value that it does not take.
        """
        if name in API_PARAMETERS and name in cls.model_fields:
            # Declared by a class of the user's, which is free to mean something else.
            return
        check_setting(cls.__name__, name, value)

    @staticmethod
    def __complete__(settings: Mapping[str, Any], replies: Sequence[Message]) -> None:
        """Give an answer that comes from a journal what is not stored: `message.parsed`."""
        if settings.get("response_model") is not None:
            complete_answer(replies, settings["response_model"])

    # -- for providers -------------------------------------------------------------------------------------------

    def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send one request and yield the events of its answer, see `miniagents.ext.llms.model_events`.

        An async generator; it is closed when nobody wants the rest, and must close its connection then.
        """
        return events_of_tokens(self, request)

    def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Ask the model and yield its answer token by token; written as `async def` with `yield`.

        For providers whose models only say text; others override `stream_turn`.

        Args:
            prompt: what to ask.
            answer_fields: what is put in here becomes fields of the reply (values like those of JSON); it is read when
                the answer has ended. `usage` should be a `TokenUsage`.

        An error that is raised ends the reply at its place; the tokens before it stay readable.
        """
        raise NotImplementedError(f"`{type(self).__name__}` needs a method `stream_answer` or `stream_turn`.")

    def fault_of(self, error: Exception) -> LLMError | None:
        """Give the error of our tree for what `stream_turn` raised; None to raise it as it is."""
        return sdk_fault(self.who, error, provider=self.provider, model=self.model) if self.retries_by_itself else None

    def was_retried(self, fault: LLMError) -> bool:
        """Whether the request was sent again by the provider's SDK before it gave up with this."""
        kind = type(fault.__cause__ or fault).__name__
        return self.retries_by_itself and (
            fault.status_code is not None or kind in ("APIConnectionError", "APITimeoutError")
        )

    def check_options(self) -> None:
        """Refuse what the provider's current API refuses, before anything is sent.

        Raises:
            UnsupportedOptionError: an option does not go with this model.
        """

    @property
    def agent_alias(self) -> str:
        """The alias of this agent, as its fork names it."""
        return self.ctx.this_agent.alias

    @property
    def who(self) -> str:
        """This agent and its model, for the text of an error."""
        return f"`{self.agent_alias}` ({self.model})"

    @property
    def api_parameters(self) -> dict[str, Any]:
        """The keywords that are no settings of the agent class, as plain JSON: parameters to pass on to the API."""
        parameters = {name: thawed(value) for name, value in (self.model_extra or {}).items()}
        if isinstance(self.thinking, Frozen):
            parameters["thinking"] = thawed(self.thinking)
        return parameters

    @property
    def thinking_level(self) -> ThinkingLevel | None:
        """How much the model shall think; None where the API's own object says so, or nothing."""
        return None if isinstance(self.thinking, Frozen) else self.thinking

    def known_fields(self) -> dict[str, Any]:
        """Give the fields of every message of an answer that are there before its first token."""
        known: dict[str, Any] = {
            "role": "assistant",
            "model": self.model,
            "agent_alias": self.agent_alias,
            "provider": self.provider,
        }
        return {**self.response_metadata.as_kwargs(), **known} if self.response_metadata else known

    # -- the work ------------------------------------------------------------------------------------------------

    async def __call__(self) -> None:
        """Reply with the answer. Work starts when the framework runs the agent; nothing is sent before."""
        if self.stream is None:
            self.stream = MiniAgents.get_current().stream_llm_tokens_by_default
        self.check_options()
        toolbox, raw_tools = self._toolbox()
        schema = None if self.response_model is None else output_schema(self.response_model)
        messages: list[Message] = list(await self.ctx.message_promises)
        kept = KeptTurns() if toolbox is not None else None
        rounds = retries = 0
        while True:
            if toolbox is not None:
                await toolbox.prepare()
            result = await self._turn(self._request(messages, toolbox, raw_tools, schema), messages, kept)
            if result.failed:
                return
            messages += result.messages
            calls = [] if toolbox is None else tool_calls_of(result.messages)
            if toolbox is not None and calls:
                if rounds >= self.max_tool_rounds:
                    first = calls[0]
                    raise ToolRoundsExceededError(
                        self.agent_alias, first.tool_name, first.tool_call_id, self.max_tool_rounds
                    )
                rounds += 1
                if not await self._run_tools(toolbox, calls, messages):
                    return
            elif result.goes_on and rounds < self.max_tool_rounds:
                rounds += 1
            elif result.invalid is None:
                return
            else:
                if retries >= self.output_retries or not isinstance(result.invalid, StructuredOutputError):
                    raise result.invalid
                retries += 1
                messages.append(UserMessage(retry_message(result.invalid)))

    async def _run_tools(self, toolbox: Toolbox, calls: Sequence[ToolCallMessage], messages: list[Message]) -> bool:
        """Reply with the results, as they come, and add them to `messages`; `False` if a failure ends the answer."""
        results = toolbox.run(calls)
        self.ctx.reply(results)
        for promise in results:
            # Without counting as a reader: a failure stands at its place in the replies, for whoever reads.
            outcome = await promise.outcome()
            if isinstance(outcome, Failure):
                # Nobody will go on with what the other tools answer.
                for other in results:
                    other.cancel()
                return False
            messages.append(outcome)
        return True

    async def _turn(self, request: ModelRequest, asked: Sequence[Message], kept: KeptTurns | None) -> TurnResult:
        """Reply with the next turn, the one that is kept of a call that was cut off or a new one."""
        if kept is None:
            return await self._new_turn(request)
        known = await kept.find(asked)
        if known is not None:
            self.ctx.reply(known.promises)
            return known
        new = await self._new_turn(request)
        await kept.keep(asked, new)
        return new

    async def _new_turn(self, request: ModelRequest) -> TurnResult:
        log = TurnLog.of_turn(self, request)
        check = None if self.response_model is None else self._checked_output
        turn = ModelTurn(self, request, check)
        if log is None:
            return await turn.run()
        try:
            result = await turn.run()
        except BaseException as error:
            log.hand_over(turn.promises, error)
            raise
        log.hand_over(turn.promises, turn.fault)
        return result

    def _checked_output(self, text: str, end: TurnEnded) -> Any:
        wanted = cast("type[Any]", self.response_model)
        return validated(
            text,
            wanted,
            finish_reason=end.finish_reason,
            provider=self.provider,
            model=end.model or self.model,
            request_id=end.request_id,
        )

    def _toolbox(self) -> tuple[Toolbox | None, list[Any]]:
        """Give what runs the tools, and the tools that were given as JSON: those are for the provider, not for us."""
        given: Sequence[Any] = self.tools or ()
        raw = [thawed(tool) for tool in given if isinstance(tool, Mapping | Frozen) and not isinstance(tool, MiniAgent)]
        ours = [tool for tool in given if not isinstance(tool, Mapping | Frozen) or isinstance(tool, MiniAgent)]
        if not ours:
            return None, raw
        toolbox = Toolbox(
            ours,
            agent_alias=self.agent_alias,
            tool_errors=self.tool_errors,
            approval_agent=self.approval_agent,
            requires_approval=self.requires_approval,
        )
        return toolbox, raw

    def _request(
        self, messages: list[Message], toolbox: Toolbox | None, raw_tools: list[Any], schema: OutputSchema | None
    ) -> ModelRequest:
        system = self.system
        blocks = tuple(thawed(system)) if isinstance(system, tuple) else ()
        own_text = system if isinstance(system, str) and system.strip() else ""
        conversation = checked(
            conversation_of(
                messages,
                agent_alias=self.agent_alias,
                provider=self.provider,
                fake_first_user_message=self.fake_first_user_message,
            ),
            self.agent_alias,
            has_system=bool(blocks or own_text),
        )
        texts = [own_text, *conversation.system_texts] if own_text else conversation.system_texts
        parameters = self.api_parameters
        if raw_tools:
            parameters["tools"] = raw_tools
        # What a provider's SDK sends by itself, nobody could count or hold up.
        is_sent_once = self.retries_by_itself and requests_are_limited()
        return ModelRequest(
            model=self.model,
            turns=conversation.turns,
            system=self.message_delimiter_for_same_role.join(texts),
            system_blocks=blocks,
            tools=() if toolbox is None else toolbox.schemas,
            output=schema,
            thinking=self.thinking_level,
            stream=bool(self.stream),
            cache=self.cache,
            parameters=parameters,
            max_retries=0 if is_sent_once else self.max_retries,
            delimiter=self.message_delimiter_for_same_role,
            is_sent_once=is_sent_once,
        )
