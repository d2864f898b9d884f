"""What the tests of your own agents need: models that follow a script, and a clock that does not wait.

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
"""

from miniagents.ext.llms.scripted import Script, ScriptedAgent
from miniagents.testing.virtual_clock import VirtualTimeLoop, run_with_virtual_clock

__all__ = ["Script", "ScriptedAgent", "VirtualTimeLoop", "run_with_virtual_clock"]
