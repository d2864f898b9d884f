"""A thousand conversations with tools at once, over real sockets: each gets what is its own, and every token is counted."""

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagents import MessageSequencePromise, MiniAgent, MiniAgents
from miniagents.errors import PromiseCancelledError
from miniagents.ext.llms import AnthropicAgent, LLMError, OpenAIAgent
from miniagents.testing.server import ProtocolServer, start_protocol_server
from miniagents.usage import ContextUsage, UsageTotals
from tests.endurance.conversations import STOP_HERE, Course, answer, courses_of
from tests.endurance.tools import allocated_blocks, times

COUNT = 1000
COUNTED = ("requests", "tool_calls", "input_tokens", "output_tokens", "cache_read_tokens", "unknown")
# The SDKs allow 5 seconds for a connection, which a busy machine needs to begin a thousand conversations.
SETTINGS: dict[str, Any] = {"max_retries": 0, "timeout": 120.0}
CLAUDE = AnthropicAgent.fork(alias="CLAUDE", model="claude-sonnet-5-5", max_tokens=1000, **SETTINGS)
GPTS = [OpenAIAgent.fork(alias=alias, model="gpt-5-mini", **SETTINGS) for alias in ("GPT", "SECOND_GPT")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    with start_protocol_server(process=True) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.answer_with(answer)
        yield server


def agent_of(course: Course) -> MiniAgent:
    return CLAUDE if course.with_claude else GPTS[course.number % 2]


async def double(number: int) -> str:
    """Double a number."""
    await asyncio.sleep(0)
    return str(2 * number)


async def converse(course: Course, replies: MessageSequencePromise) -> str:
    """Read all replies, or until they are to be cancelled; give how it ended."""
    said: list[str] = []
    try:
        async for message in replies:
            said.append("")
            async for token in message:
                said[-1] += token
                if token == STOP_HERE:
                    assert replies.cancel()
    except PromiseCancelledError:
        assert said[-1].startswith("Let us now")
        return "is cancelled"
    except LLMError as error:
        assert error.partial_text == ("" if error.status_code else "Once")
        return "fails"
    assert said == [
        "Let me see.",
        f'{{"number": {course.number}}}',
        str(2 * course.number),
        f"It is {2 * course.number}.",
    ]
    return "succeeds"


def counted(totals: UsageTotals) -> dict[str, int]:
    return {name: getattr(totals, name) for name in COUNTED}


def summed(courses: Iterable[Course], *without: str) -> dict[str, int]:
    total = dict.fromkeys(COUNTED, 0)
    for course in courses:
        for name, amount in course.usage.items():
            total[name] += 0 if name in without else amount
    return total


async def talk(courses: list[Course]) -> tuple[Counter[str], ContextUsage]:
    """Have all conversations at once, and check what each has cost."""
    async with MiniAgents() as context:
        calls = [agent_of(course).inquire(course.text, tools=[double]) for course in courses]
        outcomes = await asyncio.gather(*map(converse, courses, calls))
    wrong = [
        (course, counted(call.usage))
        for course, call in zip(courses, calls, strict=True)
        if counted(call.usage) != course.usage
    ]
    assert not wrong, f"{len(wrong)} of {len(courses)}: {wrong[:3]}"
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return Counter(outcomes), context.usage


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def check_totals(usage: ContextUsage, courses: list[Course]) -> None:
    assert counted(usage.total) == summed(courses)
    by_agent: dict[str, list[Course]] = defaultdict(list)
    by_model: dict[str, list[Course]] = defaultdict(list)
    for course in courses:
        by_agent[agent_of(course).alias].append(course)
        by_model["claude-sonnet-5-5" if course.with_claude else "gpt-5-mini"].append(course)
    assert {alias: counted(totals) for alias, totals in usage.by_agent.items()} == {
        alias: summed(own) for alias, own in by_agent.items()
    }
    # Tools are called by agents, not by models.
    assert {model: counted(totals) for model, totals in usage.by_model.items()} == {
        model: summed(own, "tool_calls") for model, own in by_model.items()
    }


def check_requests(server: ProtocolServer, sent: int) -> None:
    # The server learns of the last ends after the client has them.
    server.wait_for_ends()
    requests = server.requests
    assert server.errors == []
    assert len(requests) == sent
    assert Counter(request.how_ended for request in requests)["closed by the client"] == COUNT // 10
    assert all(request.ended_at is not None for request in requests)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
def test_a_thousand_conversations_with_tools_end_with_exact_totals_and_leave_nothing(server: ProtocolServer) -> None:
    dice = random.Random(4)
    # All that is made once: SDKs, their clients, caches of schemas.
    asyncio.run(talk(courses_of("the first", 200, dice)))
    files, blocks = open_files(), allocated_blocks()

    for number in range(times(1)):
        server.reset()
        server.answer_with(answer)
        courses = courses_of(f"round {number}", COUNT, dice)
        outcomes, usage = asyncio.run(talk(courses))

        assert outcomes == {"succeeds": COUNT - 2 * (COUNT // 10), "is cancelled": COUNT // 10, "fails": COUNT // 10}
        check_totals(usage, courses)
        check_requests(server, usage.total.requests)

    del outcomes, usage, courses
    assert open_files() <= files
    # However many rounds: what is left are caches.
    assert allocated_blocks() - blocks < 20 * COUNT
