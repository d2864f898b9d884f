"""`EchoAgent`: a model that repeats what it is told, offline."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from miniagents.ext.llms._common.words import words_of
from miniagents.ext.llms.llm_common import LLMAgent
from miniagents.ext.llms.prompt import Prompt
from miniagents.miniagents import miniagent


@miniagent(alias="ECHO")
class EchoAgent(LLMAgent):
    """Reply with what was said last, word by word."""

    provider: ClassVar[str] = "echo"

    model: str = "echo"
    fake_first_user_message: str | None = None

    async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Yield the words of the last turn, with the blanks between them as they were."""
        for token in words_of(prompt.last_text):
            yield token
