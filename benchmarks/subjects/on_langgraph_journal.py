"""The chain of the journal's cases, written with langgraph: a node for each call, and a checkpoint after each."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    text: str


async def echo(state: State) -> State:
    return {"text": state["text"]}


async def journal_chain(calls: int) -> AsyncIterator[None]:
    """Until the last answer is there, every checkpoint committed."""
    graph = StateGraph(State)
    names = [f"call {number}" for number in range(calls)]
    for name, before in zip(names, [START, *names], strict=False):
        graph.add_node(name, echo)
        graph.add_edge(before, name)
    graph.add_edge(names[-1], END)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncSqliteSaver.from_conn_string(str(Path(folder, "checkpoints.db"))) as saver:
            await saver.setup()
            # As ours: what is committed survives the process, not a power failure.
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
            chain = graph.compile(checkpointer=saver)
            config = {"configurable": {"thread_id": "run"}, "recursion_limit": calls + 1}
            yield
            result = await chain.ainvoke({"text": "x"}, config, durability="sync")
            yield
    assert result["text"] == "x"
