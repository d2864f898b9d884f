"""The agent that talks to a chosen model."""

import os
from pathlib import Path

from miniagents.cli.model_choice import ModelChoice
from miniagents.miniagents import MiniAgent


def agent_for(choice: ModelChoice) -> MiniAgent:
    """The agent for `choice`, ready to be inquired; what it needs is imported now.

    Raises:
        ScriptFileError: the file of `script:FILE` cannot be replayed.
    """
    match choice.provider:
        case "openai":
            from miniagents.ext.llms import OpenAIAgent

            return OpenAIAgent.fork(model=choice.model)
        case "anthropic":
            from miniagents.ext.llms import AnthropicAgent

            return AnthropicAgent.fork(model=choice.model)
        case "local":
            return _local_agent(choice.model, choice.base_url or "")
        case "guide":
            from miniagents.ext.guide_agent import guide_agent

            return guide_agent
        case "echo":
            from miniagents.cli.offline_models import EchoAgent

            return EchoAgent
        case "script":
            from miniagents.cli.offline_models import script_agent

            return script_agent(Path(choice.model).expanduser())


def _local_agent(model: str, base_url: str) -> MiniAgent:
    from miniagents.ext.llms import OpenAIAgent

    # The adapter takes its server and key from the environment when it is first asked, and this process asks no other
    # server. The user's own key and names are nothing that a program on some port of this machine should see.
    os.environ.update(OPENAI_BASE_URL=base_url, OPENAI_API_KEY="none-needed")
    for name in ("OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        os.environ.pop(name, None)
    # A proxy in the environment must not carry to another machine what was meant for this one. The name in small
    # letters wins where both are set.
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    host = base_url.removeprefix("http://").rpartition(":")[0].strip("[]")
    os.environ["no_proxy"] = f"{exceptions},{host}" if exceptions else host
    # Not every such server ends its streams with `[DONE]`.
    return OpenAIAgent.fork(alias="LOCAL_MODEL", model=model, end_mark="finish_reason")
