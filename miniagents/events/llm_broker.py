"""`LLMBroker`: asks a model, for the agents of a dispatcher and for plain programs."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from miniagents.events._options import check_class
from miniagents.events._slots import find_run
from miniagents.events._thread_calls import for_thread
from miniagents.events.errors import RegistrationError
from miniagents.events.trace import MODEL_ANSWERED, MODEL_CALLED, Trace
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents
from miniagents.promising._reporting import one_line
from miniagents.promising._wording import shown
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import LoopIsRunningError

if TYPE_CHECKING:
    from miniagents.events._runs import HandlerRun

M = TypeVar("M")
R = TypeVar("R")

TEMPERATURE: Final = 1.0
NUM_CTX: Final = 32768
NUM_PREDICT: Final = -1
MAX_TOKENS: Final = 16384


class LLMBroker:
    """Asks a model: for a text with `generate`, for a validated object with `generate_object`.

    These block; coroutines use `await llm.agenerate(...)` and `await llm.agenerate_object(...)`.

    Args:
        model: its name, as `model_agent` takes it, such as `"anthropic:claude-sonnet-5-5"`; looked up when it is first
            asked.
        gateway: the agent that asks, in place of the one that `model_agent` gives, such as a `ScriptedAgent.fork(...)`;
            it gets `model` as a setting if it takes that.
        tracer: takes the calls that are not made by handlers; those by handlers are in the trace of their dispatcher.

    Messages are all that `inquire()` takes: a text, messages, dicts with `role` and `content`, lists of these. Of the
    options, those that are as they are by default are left to the provider.

    Raises:
        RegistrationError: the gateway is no agent, or the tracer none.
    """

    def __init__(self, model: str, gateway: MiniAgent | None = None, tracer: Trace | None = None) -> None:
        if gateway is not None and not isinstance(cast("object", gateway), MiniAgent):
            raise RegistrationError(
                f"`gateway` is an agent, such as `OpenAIAgent` or `ScriptedAgent.fork(...)`, not {shown(gateway)}. "
                "Without one the provider comes from the name of the model: `LLMBroker('openai:gpt-5.5')`."
            )
        check_class(
            tracer, "tracer", type(self).__name__, (Trace, NoneType), "a `Tracer` (a tokenizer is not needed here)"
        )
        self.model = model
        self._gateway = gateway
        self._agent: MiniAgent | None = None
        self._tracer = tracer

    @classmethod
    def of_agent(cls, agent: MiniAgent) -> "LLMBroker":
        """Give a broker that asks `agent` as it is, with the model that this has."""
        broker = cls(agent.alias, gateway=agent)
        broker._agent = agent
        return broker

    @property
    def agent(self) -> MiniAgent:
        """The agent that asks the model.

        Raises:
            UnknownModelError: nobody has a model of this name.
        """
        if self._agent is None:
            # Loaded when used: not every program asks models.
            from miniagents._agent_kit import kit_of
            from miniagents.ext.llms.model_agents import model_agent

            if self._gateway is None:
                self._agent = model_agent(self.model)
            elif "model" in kit_of(self._gateway).signature.names:
                self._agent = self._gateway.fork(model=self.model)
            else:
                self._agent = self._gateway
        return self._agent

    def generate(
        self,
        messages: object,
        tools: Sequence[Any] | None = None,
        temperature: float = TEMPERATURE,
        num_ctx: int = NUM_CTX,
        num_predict: int = NUM_PREDICT,
        max_tokens: int = MAX_TOKENS,
        correlation_id: str | None = None,
    ) -> str:
        """Give the model's answer as a text. Blocks; in a coroutine use `await agenerate(...)`.

        Args:
            messages: what the model is asked.
            tools: functions, agents and MCP tools that the model may call.
            temperature: how free the answer is.
            num_ctx: there for programs that give it; a server's own setting decides how much it reads.
            num_predict: as `max_tokens`, if it is zero or more.
            max_tokens: how long the answer may be.
            correlation_id: what the call has in common with others, in the trace; handlers need not give it.

        Raises:
            LoopIsRunningError: it is called in a coroutine, whose event loop it would stop.
            LLMError: the model, or its provider, failed.
        """
        settings = {"tools": tools, **_options(temperature, num_ctx, num_predict, max_tokens)}
        return self._wait_for("generate", lambda: self._text(messages, settings, correlation_id))

    def generate_object(
        self,
        messages: object,
        object_model: type[M],
        temperature: float = TEMPERATURE,
        num_ctx: int = NUM_CTX,
        num_predict: int = NUM_PREDICT,
        max_tokens: int = MAX_TOKENS,
        correlation_id: str | None = None,
        tools: Sequence[Any] | None = None,
    ) -> M:
        """Give the model's answer as an `object_model`, never None. Blocks; in a coroutine use `agenerate_object`.

        An answer that is not valid is asked for again, with what is wrong with it. The options are those of `generate`.

        Raises:
            StructuredOutputError, TruncatedOutputError, RefusalError: there is no valid answer.
            LoopIsRunningError, LLMError: as `generate`.
        """
        settings = {"tools": tools, **_options(temperature, num_ctx, num_predict, max_tokens)}
        return self._wait_for("generate_object", lambda: self._object(messages, object_model, settings, correlation_id))

    async def agenerate(
        self,
        messages: object,
        tools: Sequence[Any] | None = None,
        temperature: float = TEMPERATURE,
        num_ctx: int = NUM_CTX,
        num_predict: int = NUM_PREDICT,
        max_tokens: int = MAX_TOKENS,
        correlation_id: str | None = None,
    ) -> str:
        """Give the model's answer as a text; see `generate`. The call ends if this is cancelled."""
        settings = {"tools": tools, **_options(temperature, num_ctx, num_predict, max_tokens)}
        return await self._text(messages, settings, correlation_id)

    async def agenerate_object(
        self,
        messages: object,
        object_model: type[M],
        temperature: float = TEMPERATURE,
        num_ctx: int = NUM_CTX,
        num_predict: int = NUM_PREDICT,
        max_tokens: int = MAX_TOKENS,
        correlation_id: str | None = None,
        tools: Sequence[Any] | None = None,
    ) -> M:
        """Give the model's answer as an `object_model`; see `generate_object`. The model may call `tools` before."""
        settings = {"tools": tools, **_options(temperature, num_ctx, num_predict, max_tokens)}
        return await self._object(messages, object_model, settings, correlation_id)

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _text(self, messages: object, settings: dict[str, Any], correlation_id: str | None) -> str:
        # Loaded when used, as above.
        from miniagents.ext.llms.llm_messages import AssistantMessage, LLMMessage

        answer: list[Message] = []
        async with self._asked(messages, settings, correlation_id) as replies:
            for message in replies:
                if isinstance(message, AssistantMessage) or not isinstance(message, LLMMessage):
                    answer.append(message)
                elif message.role == "tool":
                    # What was said before a tool was called is no part of the answer.
                    answer.clear()
        return "".join(str(message) for message in answer)

    async def _object(
        self, messages: object, object_model: type[M], settings: dict[str, Any], correlation_id: str | None
    ) -> M:
        from miniagents.ext.llms.structured import parse_reply

        async with self._asked(messages, {**settings, "response_model": object_model}, correlation_id) as replies:
            return await parse_reply(replies, object_model)

    @asynccontextmanager
    async def _asked(
        self, messages: object, settings: dict[str, Any], correlation_id: str | None
    ) -> AsyncGenerator[tuple[Message, ...]]:
        given = {name: value for name, value in settings.items() if value is not None and value != ()}
        note = self._note_for(correlation_id)
        async with _some_context():
            began = monotonic()
            note(MODEL_CALLED, began, None, self.model)
            try:
                async with self.agent.inquire(messages, **given) as replies:
                    yield await replies
            except BaseException as error:
                note(MODEL_ANSWERED, monotonic(), monotonic() - began, one_line(error))
                raise
            note(MODEL_ANSWERED, monotonic(), monotonic() - began, None)

    def _note_for(self, correlation_id: str | None) -> Callable[[str, float, float | None, str | None], None]:
        """Give what puts something into the trace, at the place of the handler that is at work."""
        run = cast("HandlerRun | None", find_run())
        if run is None:
            trace = self._tracer
            place: tuple[str | None, ...] = (correlation_id or "", None, None, "", None)
        else:
            event = run.event
            trace = run.engine.trace
            place = (run.flow.id, event.id, event.causation_id, type(event).__name__, run.handler_name)

        def note(kind: str, at: float, duration_s: float | None, text: str | None) -> None:
            if trace is not None and trace.note is not None:
                row: Any = (kind, *place, at, duration_s, text)
                trace.note(row)

        return note

    def _wait_for(self, name: str, ask: Callable[[], Awaitable[R]]) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise LoopIsRunningError(
                f"`{name}()` blocks, and would stop the event loop that runs in this thread. In a coroutine write "
                f"`await llm.a{name}(...)`."
            )
        context = PromisingContext.find_current()
        if isinstance(context, MiniAgents) and context.loop is not None and context.loop.is_running():
            # A thread of an agent: the call is made where the agent is at work, and ends with it.
            return context.run_from_thread(for_thread, ask)
        return MiniAgents().run(ask())


@asynccontextmanager
async def _some_context() -> AsyncGenerator[None]:
    """Work in the context that is active, or else in one for this call."""
    if isinstance(PromisingContext.find_current(), MiniAgents):
        yield
        return
    async with MiniAgents():
        yield


def _options(temperature: float, num_ctx: int, num_predict: int, max_tokens: int) -> dict[str, Any]:
    """Give the options that a provider is to get: those that somebody chose."""
    del num_ctx
    options: dict[str, Any] = {}
    if temperature != TEMPERATURE:
        options["temperature"] = temperature
    if num_predict >= 0:
        options["max_tokens"] = num_predict
    if max_tokens != MAX_TOKENS:
        options["max_tokens"] = max_tokens
    return options


__all__ = ["LLMBroker"]
