"""`SharedWorkingMemory`: what the agents of a dispatcher know together."""

from collections.abc import Mapping
from typing import Any

from miniagents.events.shared_memory import SharedMemory


class SharedWorkingMemory(SharedMemory):
    """A `SharedMemory` with the names that go with dispatchers.

    Args:
        initial: what is in it at first.
    """

    __slots__ = ()

    def get_working_memory(self) -> dict[str, Any]:
        """Give a copy of everything in it, however deep."""
        return self.get()

    def merge_to_working_memory(self, working_memory: Mapping[str, Any]) -> None:
        """Put changes into it: dicts are merged key by key, however deep; anything else takes the old one's place.

        Raises:
            TypeError: it is no mapping.
        """
        self.merge(working_memory)


__all__ = ["SharedWorkingMemory"]
