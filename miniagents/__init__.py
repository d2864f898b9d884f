"""miniagents: multi-agent programs in asyncio, in which everything is an agent and every value is a replayable stream.

from miniagents import InteractionContext, MiniAgents, miniagent

@miniagent
async def my_agent(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"You said: {await message_promise}")

async def main() -> None:
    async for message_promise in my_agent.inquire(["Hello", "World"]):
        print(await message_promise)

MiniAgents().run(main())
"""

from typing import TYPE_CHECKING

from miniagents.errors import DeadlockError, MiniAgentsError, PromiseCancelledError, UsageLimitExceededError
from miniagents.interaction import Agent, AgentCall, InteractionContext
from miniagents.message_sequence import MessageSequence, MessageSequencePromise
from miniagents.messages import Message, MessagePromise, MessageTokenAppender
from miniagents.miniagent_typing import MessageType
from miniagents.miniagents import CallInterceptor, InterceptedCall, MiniAgent, MiniAgents, miniagent
from miniagents.promising.ext.frozen import Frozen, cached_privately
from miniagents.usage import ContextUsage, RateLimit, TokenUsage, UsageLimits, UsageTotals

if TYPE_CHECKING:
    from miniagents._records import AgentCallNode, AgentReplyNode

__version__ = "0.2.0"

__all__ = [
    "Agent",
    "AgentCall",
    "AgentCallNode",
    "AgentReplyNode",
    "CallInterceptor",
    "ContextUsage",
    "DeadlockError",
    "Frozen",
    "InteractionContext",
    "InterceptedCall",
    "Message",
    "MessagePromise",
    "MessageSequence",
    "MessageSequencePromise",
    "MessageTokenAppender",
    "MessageType",
    "MiniAgent",
    "MiniAgents",
    "MiniAgentsError",
    "PromiseCancelledError",
    "RateLimit",
    "TokenUsage",
    "UsageLimitExceededError",
    "UsageLimits",
    "UsageTotals",
    "__version__",
    "cached_privately",
    "miniagent",
]


def __getattr__(name: str) -> object:
    # The classes of records are loaded when somebody listens for them, which most programs do not.
    if name in ("AgentCallNode", "AgentReplyNode"):
        from miniagents import _records

        return getattr(_records, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
