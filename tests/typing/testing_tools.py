"""What a type checker must infer about `miniagents.testing`. Checked by basedpyright in strict mode, never run."""

import asyncio
from typing import assert_type

from miniagents import MiniAgent, MiniAgents
from miniagents.testing import Script, ScriptedAgent, VirtualTimeLoop, run_with_virtual_clock


async def answer() -> int:
    return 42


def the_virtual_clock_gives_back_what_it_runs() -> None:
    assert_type(run_with_virtual_clock(answer()), int)
    assert_type(run_with_virtual_clock(MiniAgents().arun(answer())), int)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert_type(runner.run(answer()), int)


def a_scripted_model_is_an_agent_that_remembers_what_it_was_asked() -> None:
    script = Script("Hello!", ["one ", "two"], TimeoutError(), lambda prompt: prompt.last_text)

    assert_type(ScriptedAgent, MiniAgent)
    assert_type(ScriptedAgent.fork(script=script), MiniAgent)
    assert_type([prompt.system for prompt in script.prompts], list[str])
