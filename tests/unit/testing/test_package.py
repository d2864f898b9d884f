"""The package `miniagents.testing` as a whole."""

import re

import miniagents.testing


def test_the_program_in_its_description_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", miniagents.testing.__doc__ or "", re.DOTALL)

    exec(program, {"__name__": "__main__"})


def test_it_brings_the_scripted_model_of_the_model_agents() -> None:
    from miniagents.ext.llms import ScriptedAgent

    assert miniagents.testing.ScriptedAgent is ScriptedAgent
