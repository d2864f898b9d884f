"""Hands the prompt and the answer of one turn to the agent that logs them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from miniagents._settings import HELD_BACK
from miniagents.ext.llms.llm_messages import (
    AssistantMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    UserMessage,
)
from miniagents.ext.llms.model_events import ModelRequest
from miniagents.interaction import Agent
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import MiniAgents
from miniagents.promising._wording import class_and_text

if TYPE_CHECKING:
    from miniagents.ext.llms.llm_common import LLMAgent

# Of the last message of an answer: named elsewhere in the log.
_NOT_REPEATED = frozenset({"class_", "content", "content_template", "role", "llm_call"})


@dataclass
class TurnLog:
    """One turn that is to be logged when it has ended.

    The logger gets plain messages, after the end: reading the answer's promises would count as a reader of them, which
    hides an error that nobody else received, and would pull tokens ahead of a slow reader.
    """

    logger_agent: Agent
    agent_alias: str
    request: ModelRequest
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _start_s: float = field(default_factory=time.monotonic)

    @classmethod
    def of_turn(cls, agent: "LLMAgent", request: ModelRequest) -> Self | None:
        """The log of a turn that is about to begin, None if it is not to be logged."""
        logger_agent = agent.llm_logger_agent
        if logger_agent is None:
            logger_agent = MiniAgents.get_current().llm_logger_agent
        if logger_agent is False:
            return None
        if logger_agent is True:
            # Loaded when somebody logs.
            from miniagents.ext.llm_logger import markdown_llm_logger_agent

            logger_agent = markdown_llm_logger_agent
        return cls(logger_agent, agent.agent_alias, request)

    def hand_over(self, promises: Sequence[MessagePromise], error: BaseException | None) -> None:
        """Hand prompt and answer to the logger; `error` is why the answer is not complete, if it is not."""
        parameters = {name: value for name, value in self.request.parameters.items() if name not in HELD_BACK}
        call = {
            "started_at": self.started_at,
            "duration_s": time.monotonic() - self._start_s,
            "request": {"model": self.request.model, "stream": self.request.stream, **parameters},
            "error": None if error is None else _sentence(error),
        }
        fields: dict[str, Any] = {"model": self.request.model, "agent_alias": self.agent_alias}
        if promises:
            fields.update(_fields_so_far(promises[-1]))
        fields["llm_call"] = call
        answer = AssistantMessage(_text_so_far(promises), **fields)
        blocks = [_whole(promise) for promise in promises if issubclass(promise.message_class, _BLOCKS)]
        self.logger_agent.kick_off(
            [*self._prompt_messages(), *(block for block in blocks if block is not None), answer]
        )

    def _prompt_messages(self) -> list[Message]:
        request = self.request
        messages: list[Message] = [SystemMessage(str(block.get("text", block))) for block in request.system_blocks]
        if request.system:
            messages.append(SystemMessage(request.system))
        for turn in request.turns:
            kind = UserMessage if turn.role == "user" else AssistantMessage
            messages += (kind(part) if isinstance(part, str) else part for part in turn.joined(request.delimiter))
        return messages


_BLOCKS = (ThinkingMessage, ToolCallMessage)


def _whole(promise: MessagePromise) -> Message | None:
    outcome = promise.outcome_if_done()
    return outcome if isinstance(outcome, Message) else None


def _fields_so_far(promise: MessagePromise) -> dict[str, Any]:
    message = _whole(promise)
    fields = promise.metadata_so_far if message is None else message.as_kwargs()
    return {name: value for name, value in fields.items() if name not in _NOT_REPEATED and value is not None}


def _text_so_far(promises: Sequence[MessagePromise]) -> str:
    texts = [promise for promise in promises if not issubclass(promise.message_class, _BLOCKS)]
    return "".join(piece for promise in texts for piece in promise.buffer().pieces if isinstance(piece, str))


def _sentence(error: BaseException) -> str:
    # Of asyncio and of generators; both mean that nobody wanted the rest.
    if type(error).__name__ in {"CancelledError", "GeneratorExit"}:
        return "it was cancelled"
    return class_and_text(error)
