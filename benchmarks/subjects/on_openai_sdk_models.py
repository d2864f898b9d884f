"""How models are asked over the network with OpenAI's SDK alone, without any agent."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_core import from_json

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


class City(BaseModel):
    name: str
    population: int


def messages_of(prompt: str, history: int = 0) -> list[Any]:
    old = [{"role": ("user", "assistant")[index % 2], "content": f"message {index}"} for index in range(history)]
    return [{"role": "system", "content": "Be brief."}, *old, {"role": "user", "content": prompt}]


@asynccontextmanager
async def streaming(how: str, history: int = 0) -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:
        completions = client.chat.completions

        async def objects(prompt: str) -> AsyncIterator[str]:
            messages = messages_of(prompt, history)
            async for chunk in await completions.create(model="gpt-4o", messages=messages, stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

        async def raw_lines(prompt: str) -> AsyncIterator[str]:
            messages = messages_of(prompt, history)
            asked = completions.with_streaming_response.create(model="gpt-4o", messages=messages, stream=True)
            async with asked as response:
                async for line in response.iter_lines():
                    if line.startswith("data: {"):
                        chunk = from_json(line[6:])
                        if chunk["choices"] and (text := chunk["choices"][0]["delta"].get("content")):
                            yield text

        yield {"objects": objects, "raw lines": raw_lines}[how]


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:

        async def ask(prompt: str) -> str | None:
            messages, tools = messages_of(prompt), [ADD]
            while True:
                answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)  # type: ignore[arg-type]
                message = answer.choices[0].message
                if not message.tool_calls:
                    return message.content
                messages.append(message)
                for call in message.tool_calls:
                    result = sum(json.loads(call.function.arguments).values())  # type: ignore[union-attr]
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": str(result)})

        yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    async with AsyncOpenAI() as client:

        async def ask(prompt: str) -> City | None:
            answer = await client.chat.completions.parse(
                model="gpt-4o", messages=messages_of(prompt), response_format=City
            )
            return answer.choices[0].message.parsed

        yield ask
