"""The fixture `cassette` and the option `--cassette-mode`, each tried in a test suite of its own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's test suite, in which a die is rolled by an agent, and each roll is written down."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "filterwarnings = error\naddopts = --strict-markers\ntimeout = 20\n"
    )
    return pytester


def run(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    suite.makepyfile(
        test_die=f"""
from pathlib import Path
import pytest
from miniagents import Message
from miniagents.journal import StartedCall

async def rolled(cassette, question="Roll"):
    run = await cassette.begin_run()
    call = StartedCall("k", None, "die", inputs=(Message(question),))
    found = await run.find_equal_call(call)
    if found is None:
        with open("rolls.txt", "a") as rolls:
            rolls.write(question + "\\n")
        await run.call_started(call)
        await run.call_finished("k", [(Message("six"), None)])
        await run.end()
        return "six"
    return str(found.replies[0].message)

{tests}
"""
    )
    return suite.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=25)


def rolls(suite: pytest.Pytester) -> int:
    rolled = suite.path / "rolls.txt"
    return len(rolled.read_text().splitlines()) if rolled.exists() else 0


A_ROLL = """
async def test_a_roll(cassette):
    assert await rolled(cassette) == "six"
"""


def test_a_test_is_recorded_once_and_answered_from_then_on(suite: pytest.Pytester) -> None:
    for _ in range(2):
        run(suite, A_ROLL).assert_outcomes(passed=1)

    assert rolls(suite) == 1
    assert '"content": "six"' in (suite.path / "cassettes/test_die/test_a_roll.jsonl").read_text()
    run(suite, A_ROLL, "--cassette-mode=replay").assert_outcomes(passed=1)
    assert rolls(suite) == 1
    run(suite, A_ROLL, "--cassette-mode=record").assert_outcomes(passed=1)
    assert rolls(suite) == 2


def test_a_replay_without_a_cassette_says_how_to_record_one(suite: pytest.Pytester) -> None:
    result = run(suite, A_ROLL, "--cassette-mode=replay")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*There is no cassette *test_a_roll.jsonl to replay.*--cassette-mode=record*"])
    assert rolls(suite) == 0


def test_a_mode_that_is_none_is_refused(suite: pytest.Pytester) -> None:
    result = run(suite, A_ROLL, "--cassette-mode=rewind")

    result.stderr.fnmatch_lines(["*--cassette-mode: invalid choice: 'rewind'*"])


def test_each_test_has_a_file_of_its_own_whatever_its_name_is(suite: pytest.Pytester) -> None:
    tests = """
class TestRolls:
    @pytest.mark.parametrize("by", ["gpt-4o", "a/b", "a?b", "x" * 200, "é"])
    async def test_a_roll(self, cassette, by):
        assert await rolled(cassette) == "six"
"""
    run(suite, tests).assert_outcomes(passed=5)

    names = sorted(path.name for path in (suite.path / "cassettes/test_die").iterdir())
    assert len(names) == rolls(suite) == 5
    assert "TestRolls.test_a_roll[gpt-4o].jsonl" in names
    assert all(len(name) < 150 and name.isascii() and "/" not in name for name in names)
    run(suite, tests, "--cassette-mode=replay").assert_outcomes(passed=5)


SWALLOWED = """
async def test_a_roll(cassette):
    try:
        await rolled(cassette, {question!r})
    except Exception as error:
        print(type(error).__name__)
    {then}
"""


def test_a_miss_that_an_agent_kept_to_itself_fails_the_test_that_passed(suite: pytest.Pytester) -> None:
    run(suite, SWALLOWED.format(question="Roll", then="")).assert_outcomes(passed=1)

    result = run(suite, SWALLOWED.format(question="Roll twice", then=""), "--cassette-mode=replay")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*-    content: "Roll"', '*+    content: "Roll twice"'])


def test_a_test_that_has_failed_shows_its_own_error_only(suite: pytest.Pytester) -> None:
    run(suite, SWALLOWED.format(question="Roll", then="")).assert_outcomes(passed=1)

    result = run(suite, SWALLOWED.format(question="Roll twice", then="assert 1 == 2"), "--cassette-mode=replay")

    result.assert_outcomes(failed=1)


def test_a_run_of_pytest_that_takes_no_cassette_does_not_load_the_package(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
import sys

def test_it():
    assert "pytest_miniagents" in sys.modules
    assert "miniagents" not in sys.modules
"""
    )

    suite.runpytest_subprocess("-p", "no:cacheprovider", timeout=25).assert_outcomes(passed=1)
