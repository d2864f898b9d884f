"""How models are asked over the network with langgraph and langchain-openai."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from openai import DefaultAsyncHttpxClient
from pydantic import BaseModel

SYSTEM = SystemMessage("Be brief.")


class City(BaseModel):
    name: str
    population: int


class CityState(MessagesState):
    city: City


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def model_of(client: DefaultAsyncHttpxClient) -> ChatOpenAI:
    # The client that it would make is kept beyond the end of the event loop.
    return ChatOpenAI(model="gpt-4o", http_async_client=client)


def question(prompt: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(prompt)]}


@asynccontextmanager
async def streaming() -> AsyncGenerator[Any]:
    async with DefaultAsyncHttpxClient() as client:
        model = model_of(client)

        async def assistant(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke([SYSTEM, *state["messages"]])]}

        graph = StateGraph(MessagesState)
        graph.add_node("assistant", assistant)
        graph.add_edge(START, "assistant")
        graph.add_edge("assistant", END)
        compiled = graph.compile()

        async def ask(prompt: str) -> AsyncIterator[str]:
            async for message, _ in compiled.astream(question(prompt), stream_mode="messages"):
                yield message.content

        yield ask


@asynccontextmanager
async def with_a_tool() -> AsyncGenerator[Any]:
    async with DefaultAsyncHttpxClient() as client:
        model = model_of(client).bind_tools([add])

        async def assistant(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke([SYSTEM, *state["messages"]])]}

        graph = StateGraph(MessagesState)
        graph.add_node("assistant", assistant)
        graph.add_node("tools", ToolNode([add]))
        graph.add_edge(START, "assistant")
        graph.add_conditional_edges("assistant", tools_condition)
        graph.add_edge("tools", "assistant")
        compiled = graph.compile()

        async def ask(prompt: str) -> str:
            return (await compiled.ainvoke(question(prompt)))["messages"][-1].content

        yield ask


@asynccontextmanager
async def parsed() -> AsyncGenerator[Any]:
    async with DefaultAsyncHttpxClient() as client:
        model = model_of(client).with_structured_output(City)

        async def assistant(state: CityState) -> dict[str, Any]:
            return {"city": await model.ainvoke([SYSTEM, *state["messages"]])}

        graph = StateGraph(CityState)
        graph.add_node("assistant", assistant)
        graph.add_edge(START, "assistant")
        graph.add_edge("assistant", END)
        compiled = graph.compile()

        async def ask(prompt: str) -> City:
            return (await compiled.ainvoke(question(prompt)))["city"]

        yield ask
