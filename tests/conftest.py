"""What holds for every test: no task is left behind, nothing blocks the event loop, no error goes to the log unseen."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster
from pytest_asyncio import is_async_test

from tests.support.freezing import freeze_modules

resource = None
with contextlib.suppress(ImportError):  # not on Windows
    import resource

pytest_plugins = ["miniagents.testing.fixtures"]


# Far more than the tests need; what grows beyond it gets a `MemoryError` instead of taking the machine with it.
MAX_MEMORY_BYTES = 8 * 1024**3


def pytest_configure() -> None:
    if resource is not None:
        _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
        if hard_limit == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, hard_limit))
    # A key in the shell of whoever runs the tests must not turn one of them into a call that costs money.
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "OPENAI_", "OLLAMA_", "MINIAGENTS_")):
            del os.environ[name]


def pytest_collection_finish() -> None:
    """Take what is there now, all modules and tests, out of the collector's sight: it stays to the end anyway.

    Hundreds of tests collect garbage, or look for who refers to an object. Each would go through all of it every time.
    A test in which one of these refers to what the test has made lets the collector see them again (`gc.unfreeze()`).
    """
    freeze_modules()


# First, hence torn down last: after the contexts of other fixtures have ended.
@pytest.fixture(autouse=True)
def every_task_ends(request: pytest.FixtureRequest) -> None:
    """After an async test and its fixtures, no task may be left on the loop."""
    if is_async_test(request.node):
        request.getfixturevalue("no_task_left_behind")


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, "the test is over and these tasks are not:\n" + "\n".join(map(repr, left))


@pytest.fixture(scope="session")
def blocking_call_detector() -> BlockBuster:
    """Raises in calls that block the event loop, wherever a frame of the package is on the stack."""
    detector = BlockBuster(["miniagents"])
    for function in detector.functions.values():
        # A lazy import reads files, once; that is what `import miniagents` saves.
        function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
        # To show a traceback, Python reads the sources.
        function.can_block_in("linecache.py", {"getlines", "updatecache", "checkcache"})
    return detector


@pytest.fixture(autouse=True)
def nothing_blocks_the_event_loop(
    request: pytest.FixtureRequest, blocking_call_detector: BlockBuster
) -> Iterator[None]:
    """In an async test a blocking call below the package is an error, unless `@pytest.mark.allow_blocking(reason)`."""
    if not is_async_test(request.node) or _reason(request.node, "allow_blocking"):
        yield
        return
    blocking_call_detector.activate()
    try:
        yield
    finally:
        blocking_call_detector.deactivate()


class _ErrorRecorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def no_error_is_logged_unseen(request: pytest.FixtureRequest) -> Iterator[None]:
    """An error in the log of `miniagents` or asyncio fails a test that does not look at the log (with `caplog`)."""
    recorder = _ErrorRecorder()
    loggers = [logging.getLogger("miniagents"), logging.getLogger("asyncio")]
    for logger in loggers:
        logger.addHandler(recorder)
    yield
    for logger in loggers:
        logger.removeHandler(recorder)
    if recorder.lines and "caplog" not in request.fixturenames and not _reason(request.node, "allow_errors_in_log"):
        pytest.fail(
            "errors were logged, and the test does not look: take `caplog` and assert on `caplog.text`, or give a "
            "reason with `@pytest.mark.allow_errors_in_log(reason)`. The log:\n" + "\n".join(recorder.lines),
            pytrace=False,
        )


def _reason(node: pytest.Item, marker_name: str) -> str | None:
    marker = node.get_closest_marker(marker_name)
    if marker is None:
        return None
    if len(marker.args) != 1 or not isinstance(marker.args[0], str):
        pytest.fail(f"`@pytest.mark.{marker_name}` needs one argument: the reason", pytrace=False)
    return marker.args[0]
