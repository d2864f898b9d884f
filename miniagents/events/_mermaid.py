"""Diagrams of a bus and of a flow, as Mermaid draws them."""

from collections.abc import Iterable

from miniagents.events._subscriptions import Subscription
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.flow import Flow
from miniagents.events.trace import DEAD, EMITTED, HANDLED, JOINED, MEMORY, Trace


class _Nodes:
    """The nodes of a diagram, each drawn once."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._names: dict[object, str] = {}

    def __call__(self, key: object, text: str, *, shape: str = '["{}"]') -> str:
        """Give the name of a node, drawing it when it is new."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"n{len(self._names)}"
            self._lines.append(f"    {name}{shape.format(_shown(text))}")
        return name


def _shown(text: str) -> str:
    # In Mermaid's texts a quote and a line break are written so.
    return "<br/>".join(text.replace("#", "#35;").replace('"', "#quot;").splitlines())


_HANDLER = '(["{}"])'
_JOIN = '{{{{"{}"}}}}'
_MEMORY = '[("{}")]'
_DEAD = '[/"{}"/]'


def draw_bus(subscriptions: Iterable[Subscription], trace: Trace) -> str:
    """Give routes and joins, and, dotted, what was seen of replies and of the shared memory."""
    lines = ["flowchart LR"]
    node = _Nodes(lines)
    drawn: dict[str, str] = {}
    for subscription in subscriptions:
        handler = node(
            ("handler", subscription.name), subscription.name, shape=_JOIN if subscription.join else _HANDLER
        )
        drawn[subscription.name] = handler
        arrow = "-->|when|" if subscription.when else "-->"
        lines += [f"    {node(kind.__name__, kind.__name__)} {arrow} {handler}" for kind in subscription.types]
    seen = dict.fromkeys((row[0], row[5], row[4]) for row in trace.kept() if row[0] in (EMITTED, MEMORY))
    for kind, name, event_type in seen:
        if name is None or name not in drawn:
            continue
        other = node(("memory",), "shared memory", shape=_MEMORY) if kind == MEMORY else node(event_type, event_type)
        arrow = "-.->|merges|" if kind == MEMORY else "-.->"
        line = f"    {drawn[name]} {arrow} {other}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def draw_flow(flow: Flow, trace: Trace) -> str:
    """Give which event led to which, by which handler, and what failed."""
    lines = ["flowchart TD"]
    node = _Nodes(lines)
    events = flow.events
    there = {event.id for event in events}
    # Those that were joined with the event that came last, which alone is the cause of what followed.
    joined: dict[tuple[str | None, str | None], list[str]] = {}
    for row in trace.kept():
        if row[0] == JOINED and row[1] == flow.id and row[2] in there and row[2] is not None:
            joined.setdefault((row[8], row[5]), []).append(row[2])
    for number, event in enumerate(events):
        is_dead = isinstance(event, DeadLetter)
        text = f"{type(event).__name__}: {type(event.error).__name__}" if is_dead else type(event).__name__
        # An event that has no id of its own is not in the causal tree.
        name = node(event.id or str(number), text, shape=_DEAD if is_dead else '["{}"]')
        if event.causation_id is not None and event.causation_id in there:
            causes = (*joined.get((event.causation_id, event.source), ()), event.causation_id)
            lines += [f"    {node(cause, '')} -->|{_label(event.source)}| {name}" for cause in causes]
    leaves = {(row[2], row[5]) for row in trace.kept() if row[0] in (HANDLED, DEAD) and row[1] == flow.id}
    made = {(event.causation_id, event.source) for event in events}
    for event_id, handler in sorted(leaves - made, key=str):
        if event_id is not None and handler is not None and event_id in there:
            drawn = node(f"{event_id} {handler}", handler, shape=_HANDLER)
            causes = (*joined.get((event_id, handler), ()), event_id)
            lines += [f"    {node(cause, '')} --> {drawn}" for cause in causes]
    return "\n".join(lines)


def _label(text: object) -> str:
    return f'"{_shown(str(text or ""))}"'


__all__ = ["draw_bus", "draw_flow"]
