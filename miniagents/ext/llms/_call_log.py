"""Hands the prompt and the answer of one call to the agent that logs them."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from miniagents.ext.llm_logger import markdown_llm_logger_agent
from miniagents.ext.llms._streams import closed_at_the_end
from miniagents.ext.llms.llm_messages import AssistantMessage, SystemMessage, UserMessage
from miniagents.ext.llms.prompt import Prompt
from miniagents.interaction import Agent
from miniagents.messages import Message
from miniagents.miniagents import MiniAgents

# Headers carry keys; a log must not.
_NEVER_LOGGED = frozenset({"extra_headers"})


@dataclass
class LLMCallLog:
    """One call that is to be logged when it has ended.

    The logger gets plain messages, after the end: reading the answer's promise would count as a reader of it, which
    hides an error that nobody else received, and would pull tokens ahead of a slow reader.
    """

    logger_agent: Agent
    agent_alias: str
    model: str
    prompt: Prompt
    request: dict[str, Any]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _start_s: float = field(default_factory=time.monotonic)

    @classmethod
    def of_call(
        cls,
        *,
        logger_agent: bool | Agent | None,
        agent_alias: str,
        model: str,
        prompt: Prompt,
        request: dict[str, Any],
    ) -> Self | None:
        """The log of a call that is about to begin, None if it is not to be logged.

        Args:
            logger_agent: an agent, True for the Markdown files, None for what the context says.
            agent_alias: who is asked.
            model: which model is asked.
            prompt: what it is asked.
            request: with which parameters.
        """
        if logger_agent is None:
            logger_agent = MiniAgents.get_current().llm_logger_agent
        if logger_agent is False:
            return None
        if logger_agent is True:
            logger_agent = markdown_llm_logger_agent
        shown = {name: value for name, value in request.items() if name not in _NEVER_LOGGED}
        return cls(logger_agent, agent_alias, model, prompt, shown)

    async def watching(self, tokens: AsyncIterator[str], answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Pass the tokens on and, however they end, hand prompt and answer to the logger."""
        came: list[str] = []
        try:
            async with closed_at_the_end(tokens):
                async for token in tokens:
                    came.append(token)
                    yield token
        except BaseException as error:
            self._hand_over("".join(came), answer_fields, _sentence(error))
            raise
        self._hand_over("".join(came), answer_fields, None)

    def _hand_over(self, text: str, answer_fields: dict[str, Any], error: str | None) -> None:
        call = {
            "started_at": self.started_at,
            "duration_s": time.monotonic() - self._start_s,
            "request": {"model": self.model, **self.request},
            "error": error,
        }
        answer = AssistantMessage(
            text, **{"model": self.model, "agent_alias": self.agent_alias, **answer_fields, "llm_call": call}
        )
        self.logger_agent.kick_off([*self._prompt_messages(), answer])

    def _prompt_messages(self) -> list[Message]:
        prompt = self.prompt
        messages: list[Message] = []
        messages += (SystemMessage(str(block.get("text", block))) for block in prompt.system_blocks)
        if prompt.system:
            messages.append(SystemMessage(prompt.system))
        messages += (
            UserMessage(turn.text) if turn.role == "user" else AssistantMessage(turn.text) for turn in prompt.turns
        )
        return messages


def _sentence(error: BaseException) -> str:
    # Of asyncio and of generators; both mean that nobody wanted the rest.
    if type(error).__name__ in {"CancelledError", "GeneratorExit"}:
        return "it was cancelled"
    return f"{type(error).__name__}: {error}"
