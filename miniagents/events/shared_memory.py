"""`SharedMemory`: what the handlers of one bus know together."""

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from miniagents.promising._wording import shown


class SharedMemory:
    """A dict that handlers read as a copy and change by merging.

    Nothing that `get()` has given changes afterwards, and nothing that is done to it shows here. A merge happens in one
    step, in whatever thread: nobody ever sees half of it, and no other merge gets lost.
    """

    __slots__ = ("_content", "_listeners", "_lock")

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        self._content: dict[str, Any] = {}
        # Agents work in threads, too.
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[Mapping[str, Any]], None], ...] = ()
        if initial is not None:
            self.merge(initial)

    def get(self) -> dict[str, Any]:
        """Give a copy of everything in it, however deep."""
        return copy.deepcopy(self._content)

    def merge(self, changes: Mapping[str, Any]) -> None:
        """Put `changes` into it: dicts are merged key by key, however deep; anything else takes the old one's place.

        Raises:
            TypeError: `changes` is no mapping.
        """
        if not isinstance(cast("object", changes), Mapping):
            raise TypeError(f"`merge()` takes a dict of what is to change, not {shown(changes)}.")
        # Copied before anything is changed: what cannot be copied changes nothing.
        copied = copy.deepcopy(dict(changes))
        with self._lock:
            # A new dict, so that whoever reads at this moment has all of the old one.
            self._content = _merged(self._content, copied)
        for tell in self._listeners:
            tell(changes)

    def when_merged(self, callback: Callable[[Mapping[str, Any]], None]) -> None:
        """Call `callback` with the changes of each merge from now on (for this package)."""
        with self._lock:
            self._listeners += (callback,)

    def forget(self, callback: Callable[[Mapping[str, Any]], None]) -> None:
        """Call it no more (for this package)."""
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known != callback)


def _merged(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, Mapping):
            result[key] = _merged(cast("dict[str, Any]", before), cast("Mapping[str, Any]", value))
        else:
            result[key] = value
    return result


__all__ = ["SharedMemory"]
