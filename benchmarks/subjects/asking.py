"""What is asked of models over the network: the same for all; each subject's `..._models.py` says how it asks.

    streaming()       an async context manager that gives `ask(prompt)`, an async iterator of texts
    with_a_tool()     ... `await ask(prompt)`: the model's answer after a round of the tool `add`
    parsed()          ... `await ask(prompt)`: the answer as an object with `name` and `population`

The first question of each measurement is not counted: it makes the client and opens the connection.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any


async def count_of(texts: AsyncIterator[str]) -> int:
    """How many tokens the texts are; each is " token"."""
    length = 0
    async for text in texts:
        length += len(text)
    return length // len(" token")


async def llm_stream(
    subject: Any, tokens: int, per_write: int, *, padded: bool = False, **how: Any
) -> AsyncIterator[None]:
    """One answer of so many tokens."""
    async with subject.streaming(**how) as ask:
        assert await count_of(ask("say 1 1")) == 1
        yield
        assert await count_of(ask(f"{'pad' if padded else 'say'} {tokens} {per_write}")) == tokens


async def llm_streams_at_once(subject: Any, streams: int, tokens: int, **how: Any) -> AsyncIterator[None]:
    """So many answers at once, each of so many tokens."""

    async def count(_: int) -> int:
        return await count_of(ask(f"say {tokens} 1"))

    async with subject.streaming(**how) as ask:
        # All connections are open before.
        await asyncio.gather(*[count_of(ask("say 1 1")) for _ in range(streams)])
        yield
        assert await asyncio.gather(*map(count, range(streams))) == [tokens] * streams


async def llm_first_token(subject: Any, times: int, **how: Any) -> float:
    """The seconds on the clock on the wall from the question to the first token, where tokens come 10 ms apart."""
    waited: list[float] = []
    async with subject.streaming(**how) as ask:
        for _ in range(1 + times):
            began = time.perf_counter()
            first_after: float | None = None
            async for text in ask("slowly 3"):
                if text and first_after is None:
                    first_after = time.perf_counter() - began
            assert first_after is not None
            waited.append(first_after)
    return statistics.median(waited[1:])


async def llm_tool_round(subject: Any, runs: int) -> AsyncIterator[None]:
    """One question after another; for each the model calls a tool and then answers."""
    async with subject.with_a_tool() as ask:
        assert await ask("add") == "The sum is 3."
        yield
        for _ in range(runs):
            assert await ask("add") == "The sum is 3."


async def llm_parsed(subject: Any, runs: int) -> AsyncIterator[None]:
    """One question after another; each answer is validated against a schema."""
    async with subject.parsed() as ask:
        assert (await ask("describe")).population == 2000000
        yield
        for _ in range(runs):
            assert (await ask("describe")).population == 2000000
