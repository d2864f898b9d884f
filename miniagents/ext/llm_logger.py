"""`markdown_llm_logger_agent`: one Markdown file per prompt and answer of a model.

Switch it on for all models with `MiniAgents(llm_logger_agent=True)`, for one of them with
`OpenAIAgent.fork(llm_logger_agent=True)`, and write elsewhere than to `llm_logs/` with
`llm_logger_agent=markdown_llm_logger_agent.fork(log_folder="elsewhere/")`.

A logger of your own is any agent. It is called when an answer has ended, with the prompt's messages as they were sent
(the system prompt first) and the answer as the last one. The answer has the fields of the reply, and `llm_call` with
`started_at`, `duration_s`, `request` (model and parameters) and `error` (None, or why the answer is not complete).
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import miniagent
from miniagents.promising._wording import text_of
from miniagents.promising.ext.frozen import Frozen

# Shown elsewhere in the file, or of no use to a reader.
_NOT_RESPONSE_FIELDS: Final = frozenset({"class_", "content", "content_template", "role", "agent_alias", "llm_call"})
_LONGEST_ALIAS: Final = 60


@miniagent
async def markdown_llm_logger_agent(ctx: InteractionContext, log_folder: str | Path = "llm_logs/") -> None:
    """Write the messages that it gets, a prompt and the answer to it, into a new Markdown file in `log_folder`.

    The folder is made if need be. Files are named by the time (UTC) at which the model was asked and by the agent's
    alias: their names sort by time, and no file is ever overwritten. Replies with nothing.
    """
    messages = await ctx.message_promises
    if not messages:
        return
    answer = messages[-1]
    call = getattr(answer, "llm_call", None)
    started_at = _started_at(call)
    alias = str(getattr(answer, "agent_alias", None) or "LLM")
    text = "\n".join(_lines(messages[:-1], answer, alias, started_at, call))
    await asyncio.to_thread(_write_new_file, Path(log_folder), _file_stem(started_at, alias), text)


def _started_at(call: Any) -> datetime:
    started_at: object = getattr(call, "started_at", None)
    return started_at if isinstance(started_at, datetime) else datetime.now(UTC)


def _file_stem(started_at: datetime, alias: str) -> str:
    # Colons are not allowed in file names everywhere, and an alias may hold anything.
    time_text = started_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{time_text}-{re.sub(r'[^A-Za-z0-9_-]+', '_', alias)[:_LONGEST_ALIAS]}"


def _write_new_file(folder: Path, stem: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            # "x": another call of this microsecond, or another process, may have taken the name.
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            continue
        return


def _lines(prompt: Sequence[Message], answer: Message, alias: str, started_at: datetime, call: Any) -> Iterator[str]:
    yield f"# {alias}"
    yield ""
    yield f"- asked: {started_at.astimezone(UTC).isoformat(sep=' ')}"
    if call is not None:
        yield f"- took: {call.duration_s:.3f} s"
        for name, value in call.request.as_kwargs().items():
            yield f"- {name}: `{_as_json(value)}`"
    for message in prompt:
        yield from _section(str(getattr(message, "role", None) or "user"), str(message))
    yield from _section(f"{getattr(answer, 'role', None) or 'assistant'} ({alias})", str(answer))
    error = getattr(call, "error", None)
    if error is not None:
        yield from _section("error", f"The answer is not complete: {text_of(error)}")
    response = {name: value for name, value in answer.as_kwargs().items() if name not in _NOT_RESPONSE_FIELDS}
    yield from _section("response", f"```json\n{_as_json(response, indent=2)}\n```")


def _section(title: str, text: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    # As it is: what was sent and received must be found here letter for letter.
    yield text


def _as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: object) -> Any:
    return value.as_kwargs() if isinstance(value, Frozen) else str(value)
