"""The end-to-end cases, written with autogen-agentchat. Its agents keep what was said: each run has a new one."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent
from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage


class FakeModel(ChatCompletionClient):
    def __init__(self, tokens: int, *, burst: int) -> None:
        self.tokens = tokens
        self.burst = burst

    def result(self) -> CreateResult:
        usage = RequestUsage(prompt_tokens=1, completion_tokens=self.tokens)
        return CreateResult(finish_reason="stop", content="t" * self.tokens, usage=usage, cached=False)

    async def create(self, messages: Any, **kwargs: Any) -> CreateResult:
        if self.burst:
            await asyncio.sleep(0)
        return self.result()

    async def create_stream(self, messages: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        for index in range(self.tokens):
            yield "t"
            if self.burst and index % self.burst == self.burst - 1:
                await asyncio.sleep(0)
        yield self.result()

    async def close(self) -> None:
        """Nothing to close."""

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    def total_usage(self) -> RequestUsage:
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    def count_tokens(self, messages: Any, **kwargs: Any) -> int:
        return 1

    def remaining_tokens(self, messages: Any, **kwargs: Any) -> int:
        return 1000

    @property
    def capabilities(self) -> Any:
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=False, function_calling=False, json_output=False, family="unknown", structured_output=False
        )


def agent_of(model: FakeModel, *, streams: bool = False) -> AssistantAgent:
    return AssistantAgent("assistant", model, system_message="Be brief.", model_client_stream=streams)


async def agent_run(runs: int) -> None:
    model = FakeModel(1, burst=0)
    for _ in range(runs):
        assert (await agent_of(model).run(task="hi")).messages[-1].content == "t"


async def agents_at_once(runs: int) -> None:
    model = FakeModel(1, burst=1)
    assert len(await asyncio.gather(*[agent_of(model).run(task="hi") for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    count = 0
    async for event in agent_of(FakeModel(tokens, burst=1), streams=True).run_stream(task="hi"):
        if isinstance(event, ModelClientStreamingChunkEvent):
            count += len(event.content)
    assert count == tokens
