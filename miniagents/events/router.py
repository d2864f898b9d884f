"""`Router`: which agents get which events."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from miniagents.events._registration import is_class_of_events
from miniagents.events.errors import RegistrationError
from miniagents.events.event import Event
from miniagents.promising._wording import shown


class Router:
    """Tells a dispatcher which agents get which events: those of a class, and of all classes below it.

    Each agent gets an event once, however many of its routes fit. Routes may be added and removed while a dispatcher
    works; they count for the events that come from then on.

    Args:
        routes: routes to begin with, `{TextEvent: [analyzer, summarizer]}`.

    Raises:
        RegistrationError: see `add_route`.
    """

    def __init__(self, routes: Mapping[type[Event], Iterable[Any]] | None = None) -> None:
        self._routes: list[tuple[type[Event], Any]] = []
        # The same by agent, by its identity, which lasts as long as it is there.
        self._types: dict[int, list[type[Event]]] = {}
        self._watchers: list[Callable[[Any], None]] = []
        for kind, agents in (routes or {}).items():
            for agent in agents:
                self.add_route(kind, agent)

    def add_route(self, event_type: type[Event], agent: Any) -> None:
        """Let `agent` get events of this class, and of those below it.

        An agent has a method `receive_event_async` or `receive_event`, as `BaseAsyncAgent` and `BaseAgent` have, or is
        a `MiniAgent`.

        Raises:
            RegistrationError: the type is no class of events, or the agent is none, or none that a dispatcher at work
                can take; there is no such route then.
        """
        if not is_class_of_events(event_type):
            raise RegistrationError(
                f"`add_route()` takes a class of events first, and {shown(event_type)} is none. Define one, "
                "`class MyEvent(Event): ...`, and write `router.add_route(MyEvent, agent)`."
            )
        if isinstance(agent, type) or not any(
            callable(getattr(agent, name, None)) for name in ("receive_event_async", "receive_event", "inquire")
        ):
            made = f" Make one of it: `{agent.__name__}(...)`." if isinstance(agent, type) else ""
            raise RegistrationError(
                f"{shown(agent)} cannot get events: it is no object with a method `receive_event_async` or "
                f"`receive_event`, and no `MiniAgent`.{made}"
            )
        self._routes.append((event_type, agent))
        self._types.setdefault(id(agent), []).append(event_type)
        told: list[Callable[[Any], None]] = []
        try:
            for callback in self._watchers:
                callback(agent)
                told.append(callback)
        except BaseException:
            self._routes.pop()
            self._set_types(agent, self._types[id(agent)][:-1])
            for callback in told:
                callback(agent)
            raise

    def remove_route(self, event_type: type[Event], agent: Any) -> None:
        """Take back what `add_route` did with the same class and agent.

        Raises:
            RegistrationError: there is no such route.
        """
        kept = [route for route in self._routes if not (route[0] is event_type and route[1] is agent)]
        if len(kept) == len(self._routes):
            raise RegistrationError(
                f"There is no route of `{event_type.__name__}` to {shown(agent)}, so none can be removed."
            )
        self._routes = kept
        self._set_types(agent, [kind for kind, known in kept if known is agent])
        for callback in self._watchers:
            callback(agent)

    def get_agents(self, event: Event) -> list[Any]:
        """Give the agents that get `event`, each once, in the order in which they were added."""
        found: list[Any] = []
        for kind, agent in self._routes:
            if isinstance(event, kind) and not any(agent is known for known in found):
                found.append(agent)
        return found

    @property
    def routes(self) -> tuple[tuple[type[Event], Any], ...]:
        """All routes, as pairs of a class and an agent, in the order in which they were added."""
        return tuple(self._routes)

    def types_of(self, agent: Any) -> list[type[Event]]:
        """Give the classes that are routed to `agent` (for this package)."""
        return self._types.get(id(agent), [])

    def _set_types(self, agent: Any, types: list[type[Event]]) -> None:
        if types:
            self._types[id(agent)] = types
        else:
            # Its identity may be that of another one soon.
            del self._types[id(agent)]

    def watch(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the agent after each change of its routes, which it may refuse (for this package)."""
        self._watchers.append(callback)

    def unwatch(self, callback: Callable[[Any], None]) -> None:
        """Call it no more (for this package)."""
        self._watchers = [known for known in self._watchers if known != callback]


__all__ = ["Router"]
