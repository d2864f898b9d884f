"""The end-to-end cases, written with agent-framework."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agent_framework import Agent, BaseChatClient, ChatResponse, ChatResponseUpdate, Content, Message, ResponseStream


class FakeModel(BaseChatClient[Any]):
    def __init__(self, tokens: int, *, burst: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.burst = burst

    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **kwargs: Any) -> Any:
        if stream:
            return ResponseStream(self.updates(), finalizer=ChatResponse.from_updates)
        return self.response()

    async def response(self) -> ChatResponse[Any]:
        if self.burst:
            await asyncio.sleep(0)
        return ChatResponse(messages=[Message("assistant", ["t" * self.tokens])])

    async def updates(self) -> AsyncIterator[ChatResponseUpdate]:
        for index in range(self.tokens):
            yield ChatResponseUpdate(contents=[Content.from_text("t")], role="assistant")
            if self.burst and index % self.burst == self.burst - 1:
                await asyncio.sleep(0)


def agent_of(tokens: int, *, burst: int) -> Agent[Any]:
    return Agent(FakeModel(tokens, burst=burst), "Be brief.")


async def agent_run(runs: int) -> None:
    agent = agent_of(1, burst=0)
    for _ in range(runs):
        assert (await agent.run("hi")).text == "t"


async def agents_at_once(runs: int) -> None:
    agent = agent_of(1, burst=1)
    assert len(await asyncio.gather(*[agent.run("hi") for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    count = 0
    async for update in agent_of(tokens, burst=1).run("hi", stream=True):
        count += len(update.text)
    assert count == tokens
