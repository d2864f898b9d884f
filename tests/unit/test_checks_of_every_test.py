"""The checks of `tests/conftest.py`, each tried on a test that it must fail: a check that cannot fail is none."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test suite with our `conftest.py` and settings."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyprojecttoml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return pytester


def run(suite: pytest.Pytester, tests: str) -> pytest.RunResult:
    file = suite.makepyfile(f"import asyncio, logging, time\nimport pytest\nfrom miniagents import miniagent\n{tests}")
    # In one process: our settings would start some more for one or two tests.
    return suite.runpytest_subprocess("-p", "no:cacheprovider", "-n", "0", file, timeout=25)


def test_a_task_that_is_left_behind_fails_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
async def forget_me() -> None:
    await asyncio.Event().wait()

async def test_it() -> None:
    asyncio.get_running_loop().kept = asyncio.create_task(forget_me())
""",
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the test is over and these tasks are not:*", "*forget_me*"])


BLOCKING_AGENT = """
@miniagent
async def blocking_agent(ctx) -> None:
    time.sleep(0.001)
    ctx.reply("hi")
"""


def test_an_agent_that_blocks_the_loop_fails_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        f"""{BLOCKING_AGENT}
async def test_it(mini_agents) -> None:
    await blocking_agent.inquire()
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*BlockingError: Blocking call to time.sleep*"])


def test_blocking_may_be_allowed_with_a_reason(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        f"""{BLOCKING_AGENT}
@pytest.mark.allow_blocking("it shows what blocking does")
async def test_with(mini_agents) -> None:
    await blocking_agent.inquire()

@pytest.mark.allow_blocking
async def test_without(mini_agents) -> None:
    await blocking_agent.inquire()
""",
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*`@pytest.mark.allow_blocking` needs one argument: the reason*"])


def test_an_error_in_the_log_fails_a_test_that_does_not_look(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
def log_an_error() -> None:
    logging.getLogger("miniagents.somewhere").error("something went wrong")

def test_it() -> None:
    log_an_error()

def test_with_a_look(caplog) -> None:
    log_an_error()
    assert "went wrong" in caplog.text

@pytest.mark.allow_errors_in_log("it is about something else")
def test_with_a_reason() -> None:
    log_an_error()

def test_of_a_warning() -> None:
    logging.getLogger("miniagents").warning("something looks strange")
""",
    )

    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*errors were logged, and the test does not look*", "*something went wrong*"])


def test_a_coroutine_that_is_never_awaited_fails_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
def test_it() -> None:
    asyncio.sleep(0)
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*coroutine 'sleep' was never awaited*"])
