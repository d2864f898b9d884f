"""What the tests of events need besides."""

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True, scope="session")
def a_setting_may_be_looked_up_among_installed_packages(blocking_call_detector: BlockBuster) -> None:
    """What `MiniAgents(journal=...)` does when it is made, as a rule before there is a loop."""
    for function in blocking_call_detector.functions.values():
        function.can_block_in("miniagents/_interception.py", {"load_extensions"})
