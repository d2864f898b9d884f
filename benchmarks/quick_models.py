"""Counts for the agents that ask models: what a streamed token costs, over a transport that never touches a network."""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx2
from openai import AsyncOpenAI

from benchmarks.subjects import on_miniagents_models

CHUNK = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":'
    b'{"content":"token%d"},"logprobs":null,"finish_reason":%b}],"usage":null,"obfuscation":"%b"}\n\n'
)
TOKENS = 1000


class Body(httpx2.AsyncByteStream):
    """An answer of so many different tokens, padded as OpenAI's are, of which each read gives so many."""

    def __init__(self, tokens: int, per_read: int) -> None:
        chunks = [CHUNK % (index, b"null", b"x" * (index % 7)) for index in range(tokens)]
        self._reads = [b"".join(chunks[start : start + per_read]) for start in range(0, tokens, per_read)]
        self._reads.append(CHUNK.replace(b"token%d", b"") % (b'"stop"', b"") + b"data: [DONE]\n\n")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for read in self._reads:
            await asyncio.sleep(0)
            yield read


def client_of(tokens: int, per_read: int) -> AsyncOpenAI:
    """Give a client that gets this answer to everything."""

    # The answer itself does not count.
    body = Body(tokens, per_read)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

    return AsyncOpenAI(api_key="none", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))


async def per_token(count: Callable[[Callable[[], Any]], Any], per_read: int, relays: int = 0) -> float:
    """Count what reading a long answer takes more than reading a short one, for each token between them."""

    async def read_answer(client: AsyncOpenAI, tokens: int) -> None:
        async with on_miniagents_models.streaming(async_client=client, relays=relays) as ask:
            assert len([text async for text in ask("hi") if text]) == tokens

    counts: list[float] = []
    # The first one is not like the others.
    for tokens in (TOKENS, TOKENS, 2 * TOKENS):
        async with client_of(tokens, per_read) as client:
            counts.append(await count(partial(read_answer, client, tokens)))
    return (counts[2] - counts[1]) / TOKENS


async def steps(action: Callable[[], Any]) -> float:
    """Count the steps of the loop, which must be a `CountingLoop`."""
    loop: Any = asyncio.get_running_loop()
    before = loop.steps
    await action()
    return loop.steps - before


async def calls(action: Callable[[], Any]) -> float:
    """Count the calls of functions, those written in C and the steps of generators among them."""
    made = 0

    def see(_frame: object, event: str, _: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    gc.collect()
    gc.disable()
    sys.setprofile(see)
    try:
        await action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return made


async def bytes_at_the_most(action: Callable[[], Any]) -> float:
    """Count the bytes in use while the message is there, at the most."""
    gc.collect()
    tracemalloc.start()
    try:
        await action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
