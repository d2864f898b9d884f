"""The agent that talks to a chosen model."""

import os
from pathlib import Path

from miniagents.cli.model_choice import ModelChoice
from miniagents.ext.llms.model_agents import model_agent
from miniagents.miniagents import MiniAgent


def agent_for(choice: ModelChoice) -> MiniAgent:
    """The agent for `choice`, ready to be inquired; what it needs is imported now.

    Raises:
        ScriptFileError: the file of `script:FILE` cannot be replayed.
    """
    match choice.provider:
        case "openai" | "anthropic":
            return model_agent(f"{choice.provider}:{choice.model}")
        case "other":
            return model_agent(choice.model)
        case "local":
            return _local_agent(choice.model, choice.base_url or "")
        case "guide":
            from miniagents.ext.guide_agent import guide_agent

            return guide_agent
        case "echo":
            return model_agent("echo")
        case "script":
            from miniagents.cli.offline_models import script_agent

            return script_agent(Path(choice.model).expanduser())


def _local_agent(model: str, base_url: str) -> MiniAgent:
    # A proxy in the environment must not carry to another machine what was meant for this one. The name in small
    # letters wins where both are set.
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    host = base_url.removeprefix("http://").rpartition(":")[0].strip("[]")
    os.environ["no_proxy"] = f"{exceptions},{host}" if exceptions else host
    return model_agent(f"openai-compatible:{model}", alias="LOCAL_MODEL", base_url=base_url)
