"""What is there before the tests is taken out of the garbage collector's sight."""

import gc

from miniagents.promising import _deadlock


def freeze_modules() -> None:
    """Keep all that is there now from being collected and looked through; none of it holds what a test makes."""
    gc.collect()
    gc.freeze()
    _deadlock.FROZEN_BY_PYTHON = gc.get_freeze_count()
