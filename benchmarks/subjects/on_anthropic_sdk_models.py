"""How models are asked over the network with Anthropic's SDK alone, without any agent."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic
from pydantic_core import from_json


@asynccontextmanager
async def streaming(how: str) -> AsyncGenerator[Any]:
    async with AsyncAnthropic() as client:

        def request_of(prompt: str) -> dict[str, Any]:
            messages = [{"role": "user", "content": prompt}]
            return {
                "model": "claude-haiku-4-5",
                "system": "Be brief.",
                "messages": messages,
                "max_tokens": 10000,
                "stream": True,
            }

        async def objects(prompt: str) -> AsyncIterator[str]:
            async for event in await client.messages.create(**request_of(prompt)):
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    yield event.delta.text

        async def raw_lines(prompt: str) -> AsyncIterator[str]:
            async with client.messages.with_streaming_response.create(**request_of(prompt)) as response:
                async for line in response.iter_lines():
                    if line.startswith("data: "):
                        event = from_json(line[6:])
                        if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
                            yield event["delta"]["text"]

        yield {"objects": objects, "raw lines": raw_lines}[how]
