"""The pytest fixtures and markers that users get, each tried in a test suite of its own."""

import asyncio
from pathlib import Path

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.testing import VirtualTimeLoop

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's test suite, which has nothing but the fixtures."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest('pytest_plugins = ["miniagents.testing.fixtures"]')
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "filterwarnings = error\naddopts = --strict-markers\ntimeout = 20\n"
    )
    return pytester


def run(suite: pytest.Pytester, tests: str) -> pytest.RunResult:
    suite.makepyfile(
        f"""
import asyncio
import pytest
from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.testing import VirtualTimeLoop


@miniagent
async def echo_agent(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"You said: {{await message_promise}}")


@miniagent
async def waiting_agent(ctx: InteractionContext) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        print("the waiting agent has ended")


@miniagent
async def failing_agent(ctx: InteractionContext) -> None:
    raise LookupError("nothing there")

{tests}
"""
    )
    return suite.runpytest_subprocess("-p", "no:cacheprovider", "-s", timeout=25)


async def test_the_context_is_open_during_the_test(mini_agents: MiniAgents) -> None:
    assert MiniAgents.get_current() is mini_agents


@pytest.mark.virtual_clock
async def test_context_and_test_share_the_virtual_clock(mini_agents: MiniAgents) -> None:
    @miniagent
    async def patient_agent(ctx: InteractionContext) -> None:
        await asyncio.sleep(3600)
        ctx.reply("done")

    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)

    assert str(await patient_agent.inquire().as_single_promise()) == "done"
    assert asyncio.get_running_loop().time() == pytest.approx(3600)


@pytest.mark.mini_agents(start_everything_asap_by_default=False)
async def test_the_marker_passes_settings_to_the_context(mini_agents: MiniAgents) -> None:
    assert mini_agents.start_everything_asap_by_default is False


def test_work_that_a_passing_test_left_unfinished_is_awaited(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
@miniagent
async def slow_agent(ctx: InteractionContext) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    print("the slow agent has ended")

async def test_it(mini_agents: MiniAgents) -> None:
    slow_agent.kick_off()
""",
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the slow agent has ended*"])


def test_an_error_that_nobody_received_fails_the_test_that_passed(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
async def test_it(mini_agents: MiniAgents) -> None:
    failing_agent.kick_off()
""",
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*LookupError: nothing there*"])


def test_a_test_that_fails_cancels_what_would_never_end_and_shows_its_own_error_only(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
async def test_it(mini_agents: MiniAgents) -> None:
    replies = waiting_agent.inquire()
    await asyncio.sleep(0)
    assert "what came" == "what was expected"
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the waiting agent has ended*", "*what was expected*"])


def test_it_works_in_the_strict_mode_of_pytest_asyncio(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")

    result = run(
        suite,
        """
@pytest.mark.asyncio
async def test_agents(mini_agents: MiniAgents) -> None:
    assert [str(message) for message in await echo_agent.inquire("hi")] == ["You said: hi"]

@pytest.mark.asyncio
@pytest.mark.virtual_clock
async def test_clock(mini_agents: MiniAgents) -> None:
    await asyncio.sleep(3600)
""",
    )

    result.assert_outcomes(passed=2)


def test_a_loop_that_the_suite_chooses_itself_is_used_where_the_marker_is_not(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        """
import asyncio
pytest_plugins = ["miniagents.testing.fixtures"]

class OwnLoop(asyncio.SelectorEventLoop):
    pass

def pytest_asyncio_loop_factories(config, item):
    return {"own": OwnLoop}
"""
    )

    result = run(
        suite,
        """
async def test_own() -> None:
    assert type(asyncio.get_running_loop()).__name__ == "OwnLoop"

@pytest.mark.virtual_clock
async def test_marked() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
""",
    )

    result.assert_outcomes(passed=2)


def test_the_names_of_tests_stay_as_they_are(suite: pytest.Pytester) -> None:
    result = run(suite, "async def test_it() -> None: ...\n")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*test_it[[]*")
