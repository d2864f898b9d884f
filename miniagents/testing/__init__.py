"""What the tests of your own agents need: models that follow a script, a clock that does not wait, a server.

```python
import asyncio

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.testing import Script, ScriptedAgent, run_with_virtual_clock


@miniagent
async def patient_agent(ctx: InteractionContext, model: MiniAgent) -> None:
    await asyncio.sleep(3600)
    ctx.reply(model.inquire(ctx.message_promises, system="Be brief."))


async def main() -> None:
    script = Script("Hello!")

    replies = await patient_agent.inquire("Hi", model=ScriptedAgent.fork(script=script))

    assert [str(reply) for reply in replies] == ["Hello!"]
    assert script.prompts[0].system == "Be brief."


run_with_virtual_clock(MiniAgents().arun(main()))  # ends at once
```

With pytest, `pytest_plugins = ["miniagents.testing.fixtures"]` in your top-level `conftest.py` brings the fixture
`mini_agents` and the marker `virtual_clock`; nothing else here needs pytest.

`start_protocol_server()` starts a server that speaks the wire protocols of the model providers, and fails in all the
ways in which they fail; see `miniagents.testing.server`. It needs `pip install "miniagents[testing]"`.
"""

from typing import TYPE_CHECKING, Any

from miniagents.ext.llms.scripted import Script, ScriptedAgent
from miniagents.testing.virtual_clock import VirtualTimeLoop, run_with_virtual_clock

if TYPE_CHECKING:
    from miniagents.testing.server import (
        HTML_PAGE,
        Answer,
        BadJSON,
        Body,
        Cited,
        Cut,
        Drop,
        EmptyChoices,
        Endless,
        ErrorInside,
        Failure,
        Gate,
        Interleaved,
        KeepAlive,
        Pause,
        Ping,
        ProtocolServer,
        Raw,
        RecordedRequest,
        RedactedThinking,
        Refusal,
        Reset,
        Silence,
        Thinking,
        Tokens,
        ToolCall,
        UnknownEvent,
        Usage,
        start_protocol_server,
    )

__all__ = [
    "HTML_PAGE",
    "Answer",
    "BadJSON",
    "Body",
    "Cited",
    "Cut",
    "Drop",
    "EmptyChoices",
    "Endless",
    "ErrorInside",
    "Failure",
    "Gate",
    "Interleaved",
    "KeepAlive",
    "Pause",
    "Ping",
    "ProtocolServer",
    "Raw",
    "RecordedRequest",
    "RedactedThinking",
    "Refusal",
    "Reset",
    "Script",
    "ScriptedAgent",
    "Silence",
    "Thinking",
    "Tokens",
    "ToolCall",
    "UnknownEvent",
    "Usage",
    "VirtualTimeLoop",
    "run_with_virtual_clock",
    "start_protocol_server",
]


def __getattr__(name: str) -> Any:
    """Load the server when it is used first."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from miniagents.testing import server

    return getattr(server, name)
