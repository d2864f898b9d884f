"""Ready-made agents: chains and loops, the console, history, prompt logs, the offline guide.

| to | take |
| --- | --- |
| pass messages through several agents | `agent_chain`, `agent_loop`, with `AWAIT` and `CLEAR` among the agents |
| go on to the next model where one fails | `fallback_agent` |
| take the answer of whoever is first | `race_agent` |
| hold an answer back until it is checked | `gate_agent`, whose guard replies `VerdictMessage` |
| bound how often and how long an agent runs, ask it again | `limited` with `Retry` |
| let a person talk to an agent | `dialog_loop` with `console_user_agent` |
| build a user of your own | `user_agent` with `console_input_agent`, `console_output_agent`, `file_output_agent` |
| remember what was said | `in_memory_history_agent`, `MarkdownHistoryAgent`, `journal_history_agent` |
| log what models were asked and said | `markdown_llm_logger_agent` |
| answer from the documentation, offline | `guide_agent` |

Importing this package loads none of them: each is loaded with the first use of its name, so that a program which only
needs `agent_chain` does not pay for a console.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miniagents.ext.agent_aggregators import AWAIT, CLEAR, agent_chain, agent_loop, dialog_loop
    from miniagents.ext.guide_agent import guide_agent
    from miniagents.ext.history_agents import MarkdownHistoryAgent, in_memory_history_agent
    from miniagents.ext.journal_history import journal_history_agent
    from miniagents.ext.limited import Retry, limited
    from miniagents.ext.llm_logger import markdown_llm_logger_agent
    from miniagents.ext.misc_agents import (
        console_input_agent,
        console_output_agent,
        console_user_agent,
        file_output_agent,
        user_agent,
    )
    from miniagents.ext.model_aggregators import VerdictMessage, fallback_agent, gate_agent, race_agent

__all__ = [
    "AWAIT",
    "CLEAR",
    "MarkdownHistoryAgent",
    "Retry",
    "VerdictMessage",
    "agent_chain",
    "agent_loop",
    "console_input_agent",
    "console_output_agent",
    "console_user_agent",
    "dialog_loop",
    "fallback_agent",
    "file_output_agent",
    "gate_agent",
    "guide_agent",
    "in_memory_history_agent",
    "journal_history_agent",
    "limited",
    "markdown_llm_logger_agent",
    "race_agent",
    "user_agent",
]

_MODULE_OF_NAME = {
    "AWAIT": "agent_aggregators",
    "CLEAR": "agent_aggregators",
    "MarkdownHistoryAgent": "history_agents",
    "Retry": "limited",
    "VerdictMessage": "model_aggregators",
    "agent_chain": "agent_aggregators",
    "agent_loop": "agent_aggregators",
    "console_input_agent": "misc_agents",
    "console_output_agent": "misc_agents",
    "console_user_agent": "misc_agents",
    "dialog_loop": "agent_aggregators",
    "fallback_agent": "model_aggregators",
    "file_output_agent": "misc_agents",
    "gate_agent": "model_aggregators",
    "guide_agent": "guide_agent",
    "in_memory_history_agent": "history_agents",
    "journal_history_agent": "journal_history",
    "limited": "limited",
    "markdown_llm_logger_agent": "llm_logger",
    "race_agent": "model_aggregators",
    "user_agent": "misc_agents",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value  # Found without this function from now on.
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which a name is the agent's, also where the agent's module has the same one."""

    def __setattr__(self, name: str, value: object) -> None:
        # Whoever imports `miniagents.ext.guide_agent` first would otherwise put the module in the agent's place.
        if name not in _MODULE_OF_NAME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
