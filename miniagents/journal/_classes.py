"""Which class a stored name stands for: the subclasses of `Frozen` that this process has, and nothing else.

A name found in data never makes anything load. A class is known from the moment it is defined.
"""

import gc
import time
from collections.abc import Iterator
from weakref import WeakSet

from miniagents.promising.ext.frozen import Frozen

_RELOOK_S = 0.1
_checked: "WeakSet[type[Frozen]]" = WeakSet()
"""Classes that are known to be the only ones of their names."""
_MOST_CHECKED = 1000


class SameNameError(Exception):
    """Two classes have one name."""

    def __init__(self, name: str, one: str, other: str) -> None:
        super().__init__(
            f"two classes are called `{name}`: `{one}` and `{other}`. The journal knows classes by their names: give "
            "one of them another name"
        )


class _Known:
    """The classes as they were a moment ago: going through all of them for each of thousands of messages takes long."""

    def __init__(self) -> None:
        self.looked_at = -1.0
        self.by_name: dict[str, dict[str, type[Frozen]]] = {}

    def look(self) -> None:
        self.by_name = {}
        for kind in _subclasses(Frozen):
            # A class that is defined again, as in a notebook, takes the place of its earlier self.
            self.by_name.setdefault(kind.__name__, {})[f"{kind.__module__}.{kind.__qualname__}"] = kind
        self.looked_at = time.monotonic()


_known = _Known()


def class_named(name: str) -> type[Frozen] | None:
    """Give the class of this name; None if there is none.

    Raises:
        SameNameError: there are two.
    """
    if name not in _known.by_name or time.monotonic() - _known.looked_at > _RELOOK_S:
        _known.look()
    if len(_known.by_name.get(name, ())) > 1:
        # A class is in cycles with itself, so one that nobody has any more may still be there.
        _known.by_name.clear()
        gc.collect()
        _known.look()
    found = _known.by_name.get(name, {})
    if len(found) > 1:
        one, other, *_ = sorted(found)
        raise SameNameError(name, one, other)
    return next(iter(found.values()), None)


def check_name_of(kind: type[Frozen]) -> None:
    """Refuse a class whose name another class has, too.

    Raises:
        SameNameError: there are two.
    """
    if kind not in _checked:
        _known.look()
        class_named(kind.__name__)
        if len(_checked) >= _MOST_CHECKED:
            _checked.clear()
        _checked.add(kind)


def _subclasses(kind: type[Frozen]) -> Iterator[type[Frozen]]:
    seen = {kind}
    pending = [kind]
    while pending:
        current = pending.pop()
        yield current
        # `type.__subclasses__` gives them in the order in which they were defined.
        new = [found for found in reversed(current.__subclasses__()) if found not in seen]
        seen.update(new)
        pending.extend(new)
