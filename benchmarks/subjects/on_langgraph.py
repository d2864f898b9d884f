"""The end-to-end cases, written with langgraph: a graph of one node that asks a chat model."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph


class FakeModel(BaseChatModel):
    tokens: int
    burst: int

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("t" * self.tokens))])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        if self.burst:
            await asyncio.sleep(0)
        return self._generate(messages)

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for index in range(self.tokens):
            chunk = ChatGenerationChunk(message=AIMessageChunk("t"))
            if run_manager:
                await run_manager.on_llm_new_token("t", chunk=chunk)
            yield chunk
            if self.burst and index % self.burst == self.burst - 1:
                await asyncio.sleep(0)


def graph_of(tokens: int, *, burst: int) -> Any:
    model = FakeModel(tokens=tokens, burst=burst)

    async def assistant(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([SystemMessage("Be brief."), *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("assistant", assistant)
    graph.add_edge(START, "assistant")
    graph.add_edge("assistant", END)
    return graph.compile()


def question() -> dict[str, Any]:
    return {"messages": [HumanMessage("hi")]}


async def agent_run(runs: int) -> None:
    graph = graph_of(1, burst=0)
    for _ in range(runs):
        assert (await graph.ainvoke(question()))["messages"][-1].content == "t"


async def agents_at_once(runs: int) -> None:
    graph = graph_of(1, burst=1)
    assert len(await asyncio.gather(*[graph.ainvoke(question()) for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    count = 0
    async for message, _ in graph_of(tokens, burst=1).astream(question(), stream_mode="messages"):
        count += len(message.content)
    assert count == tokens
