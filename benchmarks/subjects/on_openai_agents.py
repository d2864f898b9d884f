"""The end-to-end cases, written with openai-agents."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

set_tracing_disabled(True)


class FakeModel(Model):
    def __init__(self, tokens: int, *, burst: int) -> None:
        self.tokens = tokens
        self.burst = burst

    def message(self) -> ResponseOutputMessage:
        text = ResponseOutputText(annotations=[], text="t" * self.tokens, type="output_text")
        return ResponseOutputMessage(id="1", content=[text], role="assistant", status="completed", type="message")

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        if self.burst:
            await asyncio.sleep(0)
        return ModelResponse(output=[self.message()], usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for index in range(self.tokens):
            yield ResponseTextDeltaEvent(
                content_index=0,
                delta="t",
                item_id="1",
                logprobs=[],
                output_index=0,
                sequence_number=index,
                type="response.output_text.delta",
            )
            if self.burst and index % self.burst == self.burst - 1:
                await asyncio.sleep(0)
        response = Response(
            id="1",
            created_at=0,
            model="fake",
            object="response",
            output=[self.message()],
            parallel_tool_calls=False,
            tool_choice="none",
            tools=[],
        )
        yield ResponseCompletedEvent(response=response, sequence_number=self.tokens, type="response.completed")


def agent_of(tokens: int, *, burst: int) -> Agent[None]:
    return Agent(name="assistant", instructions="Be brief.", model=FakeModel(tokens, burst=burst))


async def agent_run(runs: int) -> None:
    agent = agent_of(1, burst=0)
    for _ in range(runs):
        assert (await Runner.run(agent, "hi")).final_output == "t"


async def agents_at_once(runs: int) -> None:
    agent = agent_of(1, burst=1)
    assert len(await asyncio.gather(*[Runner.run(agent, "hi") for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    count = 0
    async for event in Runner.run_streamed(agent_of(tokens, burst=1), "hi").stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            count += len(event.data.delta)
    assert count == tokens
