"""Events: many agents, loosely coupled.

```python
class Asked(Event):
    text: str


class Answered(Event):
    text: str


async with EventBus() as bus:

    @bus.on(Asked)
    async def answer(ctx, event):
        ctx.reply(Answered(text=event.text.upper()))

    print((await bus.ask(Asked(text="hello"), Answered)).text)
```

An event is a frozen message, a handler is an agent or a function that replies as one does, and what follows from an
event, a `Flow`, is a message sequence promise: it streams, can be read again, and can be handed to any agent.

Programs that are made of a `Router`, an `AsyncDispatcher` (or a `Dispatcher`, for those without coroutines) and classes
of agents find these here too; they are thin classes over the bus.
"""

from miniagents.events.agents import BaseAgent, BaseAsyncAgent
from miniagents.events.aggregators import AsyncAggregatorAgent, BaseAggregatingAgent
from miniagents.events.async_dispatcher import AsyncDispatcher
from miniagents.events.bus import EventBus
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.dispatcher import Dispatcher
from miniagents.events.errors import (
    AskTimeoutError,
    BusStoppedError,
    EventError,
    FlowClosedError,
    FlowFailedError,
    HandlerTimeoutError,
    JoinIncompleteError,
    QueueFullError,
    RegistrationError,
    RestoredError,
    TooManyHopsError,
    UnresolvedEventError,
)
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.handler_context import HandlerContext
from miniagents.events.llm_agents import BaseAsyncLLMAgent, BaseAsyncLLMAgentWithMemory, BaseLLMAgent
from miniagents.events.llm_broker import LLMBroker
from miniagents.events.router import Router
from miniagents.events.shared_memory import SharedMemory
from miniagents.events.shared_working_memory import SharedWorkingMemory
from miniagents.events.stats import BusStats
from miniagents.events.terminate_event import TerminateEvent
from miniagents.events.trace import Trace, TraceEvent
from miniagents.events.tracer import Tracer

__all__ = [
    "AskTimeoutError",
    "AsyncAggregatorAgent",
    "AsyncDispatcher",
    "BaseAgent",
    "BaseAggregatingAgent",
    "BaseAsyncAgent",
    "BaseAsyncLLMAgent",
    "BaseAsyncLLMAgentWithMemory",
    "BaseLLMAgent",
    "BusStats",
    "BusStoppedError",
    "DeadLetter",
    "Dispatcher",
    "Event",
    "EventBus",
    "EventError",
    "Flow",
    "FlowClosedError",
    "FlowFailedError",
    "HandlerContext",
    "HandlerTimeoutError",
    "JoinIncompleteError",
    "LLMBroker",
    "QueueFullError",
    "RegistrationError",
    "RestoredError",
    "Router",
    "SharedMemory",
    "SharedWorkingMemory",
    "TerminateEvent",
    "TooManyHopsError",
    "Trace",
    "TraceEvent",
    "Tracer",
    "UnresolvedEventError",
]
