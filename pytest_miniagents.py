"""The pytest plugin of miniagents: the fixture `cassette` and the option `--cassette-mode`.

It is found by pytest where miniagents is installed. It stands beside the package and imports it when a test takes the
fixture, as pytest loads plugins whenever it starts, in whatever project.
"""

import hashlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from miniagents.journal.cassette import Cassette

__all__ = ["cassette"]

_OPTION = "--cassette-mode"
_MODES = ("record", "replay", "auto")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\[\]-]+")
_LONGEST_NAME = 120
_has_passed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("miniagents").addoption(
        _OPTION,
        choices=_MODES,
        default="auto",
        help=(
            "what tests with the fixture `cassette` do: `auto` (default) answers what was recorded, executes and "
            "records the rest; `replay` executes nothing; `record` executes everything, and replaces what was recorded"
        ),
    )


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> "Iterator[Cassette]":
    """A cassette of the test's own, for `MiniAgents(journal=cassette)`.

    The file is `cassettes/<test module>/<test>.jsonl`, beside the module. A test that has passed fails all the same if
    something was asked that is not in the file, and an agent has kept the error to itself.
    """
    from miniagents.journal.cassette import Cassette

    node: Any = request.node
    mode: Any = request.config.getoption(_OPTION)
    made = Cassette(_path_for(node), mode)
    yield made
    if made.misses and node.stash.get(_has_passed, False):
        pytest.fail(str(made.misses[0]), pytrace=False)


# Not `wrapper=True`: older versions of pytest, which know nothing of that, load this plugin as well.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Remember how the test ended, for the fixture."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.stash[_has_passed] = report.passed


def _path_for(node: Any) -> Path:
    # Not of `nodeid`, which others add to.
    name = ".".join([*(above.name for above in node.listchain() if isinstance(above, pytest.Class)), node.name])
    safe = _UNSAFE.sub("_", name)
    if safe != name or len(safe) > _LONGEST_NAME:
        # Two tests whose names become the same have files of their own.
        safe = f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return node.path.parent / "cassettes" / node.path.stem / f"{safe}.jsonl"
