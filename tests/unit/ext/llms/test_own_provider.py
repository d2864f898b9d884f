"""What a provider of a user's own needs: one subclass with one method."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import MiniAgents, miniagent
from miniagents.ext.llms import AssistantMessage, LLMAgent, Prompt, TokenUsage


class PirateMessage(AssistantMessage):
    pass


@miniagent
class PirateAgent(LLMAgent):
    """A pirate."""

    answer_class = PirateMessage

    volume: int = 1

    async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        answer_fields["parameters"] = self.api_parameters
        for word in prompt.last_text.split():
            yield word
            yield ""
            yield " arr" + "!" * self.volume + " "
        answer_fields["usage"] = TokenUsage(output_tokens=2)


@miniagent
class ForgetfulAgent(LLMAgent):
    async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> Any:
        return "not a stream"


async def test_one_method_is_all_it_takes():
    async with MiniAgents():
        [tokens] = [
            [token async for token in message] async for message in PirateAgent.inquire("ahoy there", model="p1")
        ]
        [message] = await PirateAgent.inquire("ahoy", model="p1", stream=False, volume=2, parrot={"colour": ["green"]})

    assert tokens == ["ahoy", " arr! ", "there", " arr! "]
    assert isinstance(message, PirateMessage)
    assert str(message) == "ahoy arr!! "
    assert (message.model, message.role, message.agent_alias) == ("p1", "assistant", "PIRATE_AGENT")
    assert message.usage == TokenUsage(output_tokens=2)
    assert message.parameters.parrot.colour == ("green",)


async def test_a_method_without_yield_is_named():
    async with MiniAgents():
        with pytest.raises(TypeError, match=r"`ForgetfulAgent.stream_answer\(\)` returned .*at least one `yield`"):
            await ForgetfulAgent.inquire("Hi", model="x")
