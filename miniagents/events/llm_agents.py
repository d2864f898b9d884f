"""Agents of a dispatcher that ask a model: `BaseAsyncLLMAgent`, `BaseAsyncLLMAgentWithMemory`, `BaseLLMAgent`."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from miniagents.events.agents import BaseAgent, BaseAsyncAgent
from miniagents.events.errors import RegistrationError
from miniagents.events.llm_broker import LLMBroker
from miniagents.events.shared_memory import SharedMemory
from miniagents.miniagents import MiniAgent
from miniagents.promising._wording import shown

BEHAVIOUR: Final = "You are a helpful assistant."


class _AsksModel:
    """What agents that ask a model are made with, be they asynchronous or not."""

    _asks_by: ClassVar[str]
    """What the broker must have."""

    def __init__(
        self,
        llm: LLMBroker | MiniAgent,
        behaviour: str = BEHAVIOUR,
        tools: Sequence[Any] | None = None,
        response_model: type[Any] | None = None,
    ) -> None:
        self.llm = _broker(llm, self._asks_by)
        self.behaviour = behaviour
        self.tools: list[Any] = list(tools or ())
        self.response_model = response_model

    def add_tool(self, tool: Any) -> None:
        """Let the model call one more tool from now on."""
        self.tools.append(tool)


class BaseAsyncLLMAgent(_AsksModel, BaseAsyncAgent):
    """An agent with a model: override `receive_event_async`, and ask with `await self.generate_response(...)`.

    Args:
        llm: the broker, or an agent that asks a model.
        behaviour: the system prompt.
        tools: functions, agents and MCP tools that the model may call, also for an answer of a `response_model`.
        response_model: what answers are validated as; None: texts.

    Raises:
        RegistrationError: `llm` is neither of these.
    """

    _asks_by = "agenerate"

    async def generate_response(self, content: object) -> Any:
        """Ask the model; give its answer as a `response_model`, or as a text if there is none.

        Raises:
            StructuredOutputError, TruncatedOutputError, RefusalError: no answer was a valid `response_model`.
            LLMError: the model, or its provider, failed.
        """
        messages = _prompt(self.behaviour, content)
        if self.response_model is None:
            return await self.llm.agenerate(messages, self.tools or None)
        return await self.llm.agenerate_object(messages, self.response_model, tools=self.tools or None)


class BaseAsyncLLMAgentWithMemory(BaseAsyncLLMAgent):
    """An agent with a model that knows what is in a shared memory, and adds to it what it learns.

    Each prompt has the whole memory as JSON. What the model puts into `memory` of its answer is merged into the shared
    one, in one step and however deep, so that agents which answer at the same time lose nothing of each other's.

    Args:
        llm: the broker, or an agent that asks a model.
        memory: the memory, mostly the one of the dispatcher.
        behaviour: the system prompt.
        instructions: what the model is to do, in each prompt.
        response_model: a pydantic model; answers are of a subclass of it that also has `memory`.
        tools: functions, agents and MCP tools that the model may call.

    Raises:
        RegistrationError: `llm` is neither of these.
    """

    def __init__(
        self,
        llm: LLMBroker | MiniAgent,
        memory: SharedMemory,
        behaviour: str,
        instructions: str,
        response_model: type[Any],
        tools: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(llm, behaviour, tools, response_model)
        self.memory = memory
        self.instructions = instructions

    async def generate_response(self, content: object) -> Any:
        """Ask the model, and merge what it learned; give its answer.

        Raises:
            StructuredOutputError, TruncatedOutputError, RefusalError: no answer was valid; the memory is as it was.
            LLMError: the model, or its provider, failed.
        """
        from pydantic import Field, create_model

        assert self.response_model is not None
        answer_model: Any = create_model(
            self.response_model.__name__,
            __base__=self.response_model,
            memory=(
                dict[str, Any],
                Field(
                    default_factory=dict, description="What is new and worth remembering, by name; {} if nothing is."
                ),
            ),
        )
        known = json.dumps(self.memory.get(), ensure_ascii=False, default=str)
        messages = [
            _prompt(self.behaviour, f"This is what you know:\n{known}"),
            _user_message(self.instructions),
            *_prompt(None, content),
        ]
        answer = await self.llm.agenerate_object(messages, answer_model, tools=self.tools or None)
        self.memory.merge(answer.memory)
        return answer


class BaseLLMAgent(_AsksModel, BaseAgent):
    """An agent with a model that blocks: override `receive_event`, and ask with `self.generate_response(...)`.

    Args:
        llm: the broker, or an agent that asks a model.
        behaviour: the system prompt.
        tools: functions, agents and MCP tools that the model may call.
        response_model: what answers are validated as; None: texts.

    Raises:
        RegistrationError: `llm` is neither of these.
    """

    _asks_by = "generate"

    def generate_response(self, content: object) -> Any:
        """Ask the model; give its answer as a `response_model`, or as a text if there is none.

        Raises:
            StructuredOutputError, TruncatedOutputError, RefusalError: no answer was a valid `response_model`.
            LoopIsRunningError: it is called in a coroutine; derive from `BaseAsyncLLMAgent` there.
            LLMError: the model, or its provider, failed.
        """
        messages = _prompt(self.behaviour, content)
        if self.response_model is None:
            return self.llm.generate(messages, self.tools or None)
        return self.llm.generate_object(messages, self.response_model, tools=self.tools or None)


def _broker(llm: Any, method: str) -> Any:
    if isinstance(llm, MiniAgent):
        return LLMBroker.of_agent(llm)
    # Whatever else has the method may stand in for a broker.
    if not callable(getattr(llm, method, None)):
        raise RegistrationError(
            f"`llm` is an `LLMBroker`, or an agent that asks a model, not {shown(llm)}. Write "
            "`LLMBroker(model='openai:gpt-5.5')`."
        )
    return llm


def _prompt(behaviour: str | None, content: object) -> list[object]:
    # Loaded when used: not every program asks models.
    from miniagents.ext.llms.llm_messages import SystemMessage

    said = _user_message(content) if isinstance(content, str) else content
    return [said] if behaviour is None else [SystemMessage(behaviour), said]


def _user_message(text: str) -> object:
    # Loaded when used, as above.
    from miniagents.ext.llms.llm_messages import UserMessage

    return UserMessage(text)


__all__ = ["BaseAsyncLLMAgent", "BaseAsyncLLMAgentWithMemory", "BaseLLMAgent"]
