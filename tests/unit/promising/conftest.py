"""The context around tests of promises."""

from collections.abc import AsyncIterator

import pytest

from miniagents.promising.promising import PromisingContext


@pytest.fixture
async def context() -> AsyncIterator[PromisingContext]:
    """An open `PromisingContext` with its default settings; at the end of the test its background work is awaited."""
    async with PromisingContext() as context:
        yield context
