"""Tools that block: in threads of their own, many at once, which nothing else waits for."""

import asyncio
import subprocess
import sys
import threading

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent
from miniagents.ext.llms._tools.threads import ToolThreads
from miniagents.testing import ProtocolServer
from tests.unit.ext.llms.tools.tool_calls import call, toolbox


async def test_tools_that_block_stop_no_other_model(server: ProtocolServer, mini_agents: MiniAgents) -> None:
    free = threading.Event()

    def wait() -> str:
        return str(free.wait(20))

    waiting = toolbox(wait).run([call("wait") for _ in range(40)])
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            replies = await OpenAIAgent.inquire("Hi", model="gpt-4o", base_url=server.openai_base_url, api_key="key")
    finally:
        free.set()

    assert str(replies[-1]).startswith('You said "Hi"')
    assert [str(await result) for result in waiting] == ["True"] * 40


async def test_the_blocking_tools_of_a_turn_run_at_the_same_time_and_may_wait_for_one_another(
    mini_agents: MiniAgents,
) -> None:
    meeting = threading.Barrier(64)

    def meet() -> str:
        return "met" if meeting.wait(20) >= 0 else ""

    results = toolbox(meet).run([call("meet") for _ in range(64)])

    assert [str(await result) for result in results] == ["met"] * 64


def test_a_thread_ends_when_it_has_nothing_to_do_and_the_next_call_gets_another() -> None:
    threads = ToolThreads(longest_idle_s=0.01)
    first = threads.submit(threading.current_thread).result(10)

    first.join(10)

    assert not first.is_alive()
    assert threads.submit(threading.current_thread).result(10) is not first


def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from Python 3.12 on when the main thread has come to its end."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_thread_that_is_kept_works_when_no_other_can_be_made_and_ends_with_its_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ToolThreads(longest_idle_s=0)
    with threads.one_kept():
        no_more_threads(monkeypatch)
        kept = threads.submit(threading.current_thread).result(10)
        others = [threads.submit(threading.current_thread) for _ in range(3)]
        assert [other.result(10) for other in others] == [kept] * 3

    kept.join(10)
    assert not kept.is_alive()


def test_where_there_is_no_thread_at_all_nothing_is_done_later_on(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = ToolThreads()
    done: list[str] = []

    with monkeypatch.context() as patch:
        no_more_threads(patch)
        with pytest.raises(RuntimeError, match="can't create"):
            threads.submit(done.append, "refused")
    threads.submit(done.append, "taken").result(10)

    assert done == ["taken"]


def test_what_is_more_than_the_threads_waits_and_can_be_given_up_meanwhile() -> None:
    threads = ToolThreads(most=1)
    free = threading.Event()
    first = threads.submit(free.wait, 10)
    unwanted, next_one = threads.submit(free.is_set), threads.submit(threading.current_thread)
    last = threads.submit(threading.current_thread)

    assert unwanted.cancel()
    free.set()

    assert first.result(10)
    assert next_one.result(10) is last.result(10)


def test_a_program_ends_though_a_tool_that_was_given_up_never_returns() -> None:
    program = """
import asyncio, threading
from miniagents import MiniAgents
from miniagents.ext.llms import Script, ScriptedAgent, tool_call

begun = threading.Event()

def stuck() -> str:
    begun.set()
    threading.Event().wait()

async def main():
    async with ScriptedAgent.inquire("go", tools=[stuck], script=Script([tool_call("stuck", {})], "done")):
        await asyncio.to_thread(begun.wait)
    print("left")

MiniAgents().run(main())
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left\n", "")
