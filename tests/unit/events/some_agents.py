"""Agents of the tests of dispatchers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pydantic import BaseModel

from miniagents.events import AsyncAggregatorAgent, BaseAsyncAgent, BaseAsyncLLMAgent, Event, LLMBroker, Router
from miniagents.ext.llms import Prompt
from miniagents.testing import Script, ScriptedAgent


class Recorder(BaseAsyncAgent):
    """Keeps what it gets, and returns what `reply` makes of it."""

    def __init__(self, reply: Callable[[Any], Any] = lambda _: None) -> None:
        self.got: list[Any] = []
        self._reply = reply

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        self.got.append(event)
        return self._reply(event)


class Slow(Recorder):
    """Takes so many seconds for each event."""

    def __init__(self, seconds: float, reply: Callable[[Any], Any] = lambda _: None) -> None:
        super().__init__(reply)
        self._seconds = seconds
        self.running = self.most_running = 0

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self._seconds)
        self.running -= 1
        return await super().receive_event_async(event)


class Gated(Recorder):
    """Waits for `gate` in each event, and tells when it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        self.begun.set()
        await self.gate.wait()
        return await super().receive_event_async(event)


class Failing(Recorder):
    """Raises for the events for which `fails` says so."""

    def __init__(self, fails: Callable[[Any], bool] = lambda _: True) -> None:
        super().__init__()
        self._fails = fails

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        if self._fails(event):
            raise ValueError(f"cannot handle {event}")
        return await super().receive_event_async(event)


class Aggregator(AsyncAggregatorAgent):
    """Keeps the sets that it gets; raises the errors that are there for it."""

    def __init__(self, types: Sequence[type[Event]] | None = None, **options: Any) -> None:
        super().__init__(types, **options)
        self.sets: list[list[Any]] = []
        self.errors: list[Exception] = []

    async def process_events(self, events: list[Any]) -> Sequence[Event] | Event | None:
        if self.errors:
            raise self.errors.pop()
        self.sets.append(events)
        return None


class Answer(BaseModel):
    text: str


class Asker(BaseAsyncLLMAgent):
    """Asks its model for each event, and keeps the answers."""

    def __init__(self, llm: LLMBroker, **options: Any) -> None:
        super().__init__(llm, **options)
        self.answers: list[Any] = []

    async def receive_event_async(self, event: Event) -> Sequence[Event] | Event | None:
        self.answers.append(await self.generate_response(f"Asked: {getattr(event, 'text', '')}"))
        return None


def router_of(*routes: tuple[type[Event], Any]) -> Router:
    router = Router()
    for kind, agent in routes:
        router.add_route(kind, agent)
    return router


def broker(*replies: Any, **options: Any) -> LLMBroker:
    return LLMBroker(model="rehearsal", gateway=ScriptedAgent.fork(script=Script(*replies, **options)))


class CountedModel:
    """A model that takes so many seconds, and knows how many calls of it there were at once."""

    def __init__(self, seconds: float, text: str = "well") -> None:
        self._seconds = seconds
        self._text = text
        self.running = self.most_running = self.given_up = self.calls = 0

    def __call__(self, prompt: Prompt) -> AsyncIterator[str]:
        return self._answer(prompt)

    async def _answer(self, _: Prompt) -> AsyncIterator[str]:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.running -= 1
        yield self._text

    def broker(self) -> LLMBroker:
        return broker(self, when_exhausted="repeat_last")


async def until(condition: Callable[[], object]) -> None:
    """Let others go on until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)
