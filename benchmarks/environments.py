"""Virtual environments of the other frameworks, made once and kept in a cache folder outside of the repository."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """Something that is measured: a file in `subjects/`, and what must be installed for it."""

    name: str
    module: str
    """Without ".py"; the one with "_models" behind its name asks models over the network."""
    requirement: str = ""
    """What pip installs, the first giving the environment its name; empty: it runs on the Python, and beside the
    package, that run the benchmarks."""
    package: str = ""
    """The distribution whose version the report names."""


OURS = Subject("ours", "on_miniagents", package="miniagents")
FLOOR = Subject("floor", "bare_asyncio")
OPENAI = Subject("openai", "on_openai_sdk", package="openai")
ANTHROPIC = Subject("anthropic", "on_anthropic_sdk", package="anthropic")
ALWAYS_THERE = (OURS, FLOOR, OPENAI, ANTHROPIC)
"""What needs no environment of its own."""
PEERS = (
    Subject("0.0.24", "on_published_miniagents", "miniagents==0.0.24", "miniagents"),
    Subject("0.0.35", "on_published_miniagents", "miniagents==0.0.35", "miniagents"),
    Subject("pydantic-ai", "on_pydantic_ai", "pydantic-ai-slim[openai]", "pydantic-ai-slim"),
    Subject("openai-agents", "on_openai_agents", "openai-agents", "openai-agents"),
    Subject("langgraph", "on_langgraph", "langgraph langchain-openai langgraph-checkpoint-sqlite", "langgraph"),
    Subject("autogen", "on_autogen", "autogen-agentchat autogen-ext[openai]", "autogen-agentchat"),
    Subject(
        "agent-framework",
        "on_agent_framework",
        "agent-framework-core agent-framework-openai",
        "agent-framework-core",
    ),
    Subject("mojentic", "on_mojentic", "mojentic==3.0.0", "mojentic"),
)


def cache_folder() -> Path:
    """Give the folder for the environments: `$MINIAGENTS_BENCHMARKS_CACHE`, else one below the user's cache folder."""
    if chosen := os.environ.get("MINIAGENTS_BENCHMARKS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "miniagents-benchmarks"


def python_for(subject: Subject, *, with_uvloop: bool) -> Path:
    """Give the interpreter to run the subject with; makes its environment if there is none yet.

    Raises:
        subprocess.CalledProcessError: it could not be installed; `stderr` says why.
    """
    if not subject.requirement:
        return Path(sys.executable)
    requirements = [*subject.requirement.split(), *(["uvloop"] if with_uvloop else [])]
    # The same Python for all: else the table would compare interpreters.
    key = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode()).hexdigest()[:8]
    first = requirements[0].partition("[")[0].replace("==", "-")
    name = f"{first}-py{sys.version_info[0]}.{sys.version_info[1]}-{key}"
    folder = cache_folder() / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    installed = folder / "installed.txt"
    wanted = "\n".join(requirements)
    if installed.exists() and set(requirements) <= set(installed.read_text("utf-8").split()):
        return python
    command = [sys.executable, "-m", "venv", "--clear", str(folder)]
    if not python.exists():
        subprocess.run(command, check=True, capture_output=True, text=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    subprocess.run(pip, check=True, capture_output=True, text=True, env=clean_environment())
    installed.write_text(wanted, "utf-8")
    return python


def clean_environment(**more: str) -> dict[str, str]:
    """Give the environment variables for a process that must see nothing of this package, and ask no real model."""
    unwanted = (
        *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"),
        *("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
        # Else each import would compile what it imports.
        "PYTHONDONTWRITEBYTECODE",
    )
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    # Told not to, frameworks neither trace nor send anything anywhere. One hash seed: the same dictionaries each time.
    quiet = {
        "PYTHONHASHSEED": "0",
        # Not beside the sources, which may be those of a clone that must stay as it is.
        "PYTHONPYCACHEPREFIX": str(cache_folder() / "bytecode"),
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "LANGSMITH_TRACING": "false",
        "ENABLE_INSTRUMENTATION": "false",
        "DO_NOT_TRACK": "1",
    }
    return {**kept, **quiet, **more}
