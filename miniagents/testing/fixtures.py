"""Fixtures and markers for pytest.

Put `pytest_plugins = ["miniagents.testing.fixtures"]` in your top-level `conftest.py`. They need
`pip install pytest "pytest-asyncio>=1.4"`:

```python
async def test_the_agent_greets(mini_agents: MiniAgents) -> None:
    assert str(await my_agent.inquire("hi").as_single_promise()) == "Hello!"


@pytest.mark.virtual_clock
async def test_the_agent_gives_up_after_an_hour(mini_agents: MiniAgents) -> None: ...
```
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from miniagents.miniagents import MiniAgents
from miniagents.testing.virtual_clock import VirtualTimeLoop

__all__ = ["mini_agents"]

_LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_call_report_key = pytest.StashKey[pytest.TestReport]()


class _TestFailedError(Exception):
    """Ends the context of a test that failed, so that work which nobody will ever finish is cancelled."""


@pytest_asyncio.fixture(loop_scope="function")
async def mini_agents(request: pytest.FixtureRequest) -> AsyncIterator[MiniAgents]:
    """An open `MiniAgents` context around one test; made with the keywords of `@pytest.mark.mini_agents(...)`.

    When the test has passed, all background work is awaited, and an error that nobody received fails the test. When
    the test has failed, what still runs is cancelled, so that the test's own error is all that one sees.
    """
    marker = request.node.get_closest_marker("mini_agents")
    settings: dict[str, Any] = dict(marker.kwargs) if marker else {}
    try:
        async with MiniAgents(**settings) as context:
            yield context
            report = request.node.stash.get(_call_report_key, None)
            if report is not None and report.failed:
                raise _TestFailedError
    except _TestFailedError:
        pass


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, also to `--strict-markers`."""
    if not config.hook.pytest_asyncio_loop_factories.has_spec():
        # Without the hook the marker would silently leave a test on the real clock.
        raise pytest.UsageError('miniagents.testing.fixtures needs `pip install -U "pytest-asyncio>=1.4"`')
    config.addinivalue_line("markers", "virtual_clock: run this async test on virtual time (miniagents.testing)")
    config.addinivalue_line("markers", "mini_agents(**settings): what the `mini_agents` fixture passes to MiniAgents()")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember how the test ended, for the `mini_agents` fixture."""
    report = yield
    if report.when == "call":
        item.stash[_call_report_key] = report
    return report


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Generator[None, Mapping[str, _LoopFactory] | None, Mapping[str, _LoopFactory]]:
    """Choose the loop of each async test: virtual time where it is marked, else what your own hook says, or asyncio."""
    factories = yield
    if item.get_closest_marker("virtual_clock"):
        return {"virtual_clock": VirtualTimeLoop}
    return factories or {"asyncio": asyncio.new_event_loop}
