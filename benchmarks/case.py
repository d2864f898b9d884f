"""What a case is: data, that `measuring.py` measures and `report.py` shows."""

from dataclasses import dataclass, field
from typing import Any, Literal

AGENT_FRAMEWORKS = ("pydantic-ai", "openai-agents", "langgraph", "autogen", "agent-framework")
PUBLISHED = ("0.0.24", "0.0.35")


@dataclass(frozen=True)
class Work:
    """A function of a subject, with its parameters; `units` is how many things it does, so that one has a price."""

    subject: str
    function: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    units: float = 1
    label: str = ""
    clock: Literal["cpu", "wall"] = "cpu"
    """What its time is taken by, unless the function gives a number of its own."""

    @property
    def name(self) -> str:
        """How the report calls it."""
        return self.label or self.subject


@dataclass(frozen=True)
class Case:
    """One row of the table: our work, what it is held against, and others for information."""

    name: str
    what: str
    ours: Work
    against: tuple[Work, ...] = ()
    """What the ratio is taken to; of several, to the cheapest."""
    others: tuple[Work, ...] = ()
    target: float | None = None
    """The bound of the ratio (or of our own value, where there is nothing to hold it against)."""
    sense: Literal["at most", "times faster"] = "at most"
    unit: Literal["us", "wall", "bytes", "tasks", "objects", "part"] = "us"
    """"us": seconds of CPU time, repeated until there is enough to be measured; "wall": seconds on the clock on the
    wall."""

    @property
    def target_text(self) -> str:
        """The target as the table shows it."""
        if self.target is None:
            return ""
        if self.sense == "times faster":
            return f">= {self.target:g} x faster"
        if self.unit == "part":
            return f"<= {self.target:.0%}"
        if self.unit in ("us", "wall") and not self.against:
            return f"<= {duration(self.target)}"
        return f"<= {self.target:g}" + ("" if not self.against else " x")


def duration(seconds: float) -> str:
    """Give a time with its unit."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def same_work(subjects: tuple[str, ...], ours: Work) -> tuple[Work, ...]:
    """Give our work as other subjects do it."""
    return tuple(Work(subject, ours.function, ours.params, ours.units) for subject in subjects)
