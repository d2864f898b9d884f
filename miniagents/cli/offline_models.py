"""Models that need no network: `echo`, which repeats what it is told, and `script:FILE`, which replays a conversation.

They are LLM agents like those of the providers, so that everything around them works as with a real model.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from miniagents.errors import MiniAgentsError
from miniagents.ext._chat_markdown import from_markdown
from miniagents.ext.llms._common.words import words_of
from miniagents.ext.llms.echo import EchoAgent
from miniagents.ext.llms.llm_common import LLMAgent
from miniagents.ext.llms.prompt import Prompt
from miniagents.miniagents import MiniAgent, miniagent

__all__ = ["EchoAgent", "ScriptEndedError", "ScriptFileAgent", "ScriptFileError", "script_agent"]


class ScriptFileError(MiniAgentsError):
    """The file of `script:FILE` cannot be replayed."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"The script {str(path)!r} {problem}. A script is a text file of headings `## USER` and `## ASSISTANT`, "
            "each followed by what was said, as `--history` writes it."
        )


class ScriptEndedError(MiniAgentsError):
    """The conversation has gone on longer than the script does."""

    def __init__(self, path: str, replies: int) -> None:
        counted = "one reply, and it has" if replies == 1 else f"{replies} replies, and all have"
        super().__init__(f"The script {path!r} holds {counted} been given: start a new conversation, or add to it.")


@miniagent(alias="SCRIPT")
class ScriptFileAgent(LLMAgent):
    """Reply with the next of `replies`, word by word: the first to the first turn of a conversation, and so on.

    Which one is next follows from the conversation alone, so that one continued from a history goes on where it was.

    Raises:
        ScriptEndedError: there is no reply left.
    """

    replies: tuple[str, ...] = ()

    async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Yield the words of the reply whose turn it is."""
        given = sum(turn.role == "assistant" for turn in prompt.turns)
        if given >= len(self.replies):
            raise ScriptEndedError(self.model, len(self.replies))
        for token in words_of(self.replies[given]):
            yield token


def script_agent(path: Path) -> MiniAgent:
    """An agent that replays the conversation in the file at `path`, which is read now (blocking).

    Raises:
        ScriptFileError: the file cannot be read, or there is nothing in it that an assistant said.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScriptFileError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ScriptFileError(path, f"is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    replies = _replies(text)
    if not replies:
        raise ScriptFileError(path, "holds nothing below a heading `## ASSISTANT`")
    return ScriptFileAgent.fork(model=str(path), replies=replies)


def _replies(text: str) -> tuple[str, ...]:
    """What the assistant said in each of its turns; messages of one turn are joined, as they are in a conversation."""
    replies: list[str] = []
    before: object = None
    for message in from_markdown(text):
        role = message.get("role")
        if role == "assistant" and before == "assistant":
            replies[-1] = f"{replies[-1]}\n\n{message}"
        elif role == "assistant":
            replies.append(str(message))
        before = role
    return tuple(reply for reply in replies if reply.strip())
