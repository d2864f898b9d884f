"""More time for each test of this folder when `ENDURANCE` multiplies its counts; see `tools.py`."""

from pathlib import Path

import pytest

from tests.endurance.tools import FACTOR

FOLDER = Path(__file__).parent
# Far above what they take, as the machine may be busy with other things; it only ends what hangs.
TIME_LIMIT_S = 400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            # By a thread: what a signal raises would be taken for an error of the agent that happens to run.
            item.add_marker(pytest.mark.timeout(TIME_LIMIT_S * FACTOR, method="thread"))
