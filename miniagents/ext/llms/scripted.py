"""`ScriptedAgent`: a model that answers from a script, offline, for tests and demonstrations.

```python
script = Script("Hello!", ["Let ", "me ", "see"], TimeoutError("the model is busy"))
model = ScriptedAgent.fork(script=script)

await model.inquire("Hi", system="Be brief.")  # Hello!
script.prompts[0].system  # 'Be brief.'
```

It is an `LLMAgent` like those that ask real models: prompts, roles, streaming and logs work alike.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, cast

from pydantic import field_validator

from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._common.streams import closed_at_the_end
from miniagents.ext.llms._common.words import words_of
from miniagents.ext.llms._turns.prompt_events import end_of, prompt_of
from miniagents.ext.llms.errors import ScriptExhaustedError
from miniagents.ext.llms.llm_common import LLMAgent
from miniagents.ext.llms.llm_messages import ThinkingMessage, ToolCallMessage
from miniagents.ext.llms.model_events import BlockEnded, BlockStarted, BlockToken, ModelEvent, ModelRequest
from miniagents.ext.llms.prompt import Prompt
from miniagents.messages import Message
from miniagents.miniagents import miniagent
from miniagents.promising.ext.frozen import Frozen

Step: TypeAlias = str | float | BaseException | asyncio.Event | ThinkingMessage | ToolCallMessage
"""One step of a reply: a token; so many seconds of silence; an error; an event to wait for before going on; a thought;
a call of a tool, see `tool_call`."""

FixedReply: TypeAlias = str | Message | BaseException | Sequence[Step]
ReplyFunction: TypeAlias = Callable[[Prompt], FixedReply | Awaitable[FixedReply] | AsyncIterator[str]]
Reply: TypeAlias = FixedReply | ReplyFunction
"""What a model answers, see `Script`."""


class Script:
    """What a `ScriptedAgent` says, one reply per call, in the order in which the calls get to answer.

    A reply is
    - a text, which is streamed word by word;
    - a `Message`: its text likewise, its other fields become fields of the answer;
    - an exception, which is raised;
    - a list of steps: texts are tokens, an exception is raised at its place, numbers are seconds of silence, an
      `asyncio.Event` is waited for, so that a test decides when the next token comes, and a `ThinkingMessage` or a
      `tool_call("name", {"argument": 1})` is what the model thinks or calls;
    - a function of the `Prompt`, also an async one, which returns one of these or is an async generator of tokens.

    One script may be shared by several agents; they take their replies from it in turn.

    Attributes:
        prompts: what was asked, a `Prompt` per call, oldest first.
    """

    def __init__(
        self,
        *replies: Reply,
        when_exhausted: Literal["raise", "repeat_last", "start_over"] = "raise",
        token_delay_s: float = 0.0,
    ) -> None:
        """Take the replies.

        Args:
            replies: one per call.
            when_exhausted: what the calls after the last reply get: `ScriptExhaustedError`, the last reply again, or
                all of them from the first on.
            token_delay_s: seconds of silence before each token; on a virtual clock they take no time.
        """
        self.prompts: list[Prompt] = []
        self._replies = replies
        self._when_exhausted = when_exhausted
        self._token_delay_s = token_delay_s

    @property
    def token_delay_s(self) -> float:
        """Seconds of silence before each token."""
        return self._token_delay_s

    def next_reply(self, prompt: Prompt, agent_alias: str) -> Reply:
        """Record the prompt and return the reply to it.

        Raises:
            ScriptExhaustedError: there is none left.
        """
        number = len(self.prompts)
        self.prompts.append(prompt)
        if number < len(self._replies):
            return self._replies[number]
        if not self._replies or self._when_exhausted == "raise":
            raise ScriptExhaustedError(agent_alias, len(self._replies), prompt.last_text)
        return self._replies[-1 if self._when_exhausted == "repeat_last" else number % len(self._replies)]


@miniagent
class ScriptedAgent(LLMAgent):
    """Answer from a script, offline. See `Script` for what can be in it, and `LLMAgent` for the settings.

    `usage` of the answer counts words of the prompt and tokens of the answer.

    Attributes:
        script: a `Script`, or a text or function that answers every call alike.
    """

    provider: ClassVar[str] = "scripted"

    model: str = "scripted"
    script: Script

    @field_validator("script", mode="before")
    @classmethod
    def _script_of(cls, value: Any) -> Any:
        if isinstance(value, str) or callable(value):
            return Script(cast("Reply", value), when_exhausted="repeat_last")
        if isinstance(value, Script):
            return value
        raise TypeError(
            f"`script={value!r}` is no script: give `Script(...)` with one reply per call, or a text or function for "
            "all calls. A list must be in a `Script`, which remembers how far it has been told."
        )

    async def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Yield the events of the next reply of the script."""
        prompt = prompt_of(request)
        reply: Any = self.script.next_reply(prompt, self.agent_alias)
        if callable(reply):
            reply = reply(prompt)
        if hasattr(reply, "__await__"):
            reply = await reply
        fields = _fields_of(reply) if isinstance(reply, Message) and not _is_block(reply) else {}
        usage = {"input_tokens": _word_count(prompt), "output_tokens": 0}
        calls_tools = False
        delay_s = self.script.token_delay_s
        async with closed_at_the_end(_steps_of(reply)) as steps:
            async for step in steps:
                if isinstance(step, str):
                    if delay_s:
                        await asyncio.sleep(delay_s)
                    usage["output_tokens"] += 1
                    yield step
                elif _is_block(step):
                    calls_tools = calls_tools or isinstance(step, ToolCallMessage)
                    async for event in self._block(step, usage):
                        yield event
                else:
                    await self._do(step)
        fields.setdefault("finish_reason", "tool_calls" if calls_tools else "stop")
        yield end_of({"usage": usage, **fields})

    async def _block(self, block: Message, usage: dict[str, int]) -> AsyncIterator[ModelEvent]:
        """Yield the events of a thought or a tool call, its text word by word."""
        known = {name: value for name, value in block.as_kwargs().items() if name not in _NOT_OF_A_BLOCK}
        is_call = isinstance(block, ToolCallMessage)
        # Every call has an id of its own, also where a script is told twice.
        key = f"call_{next(_numbers)}"
        text = str(block.content or "")
        if is_call:
            known["tool_call_id"] = known.get("tool_call_id") or key
            text = text or json.dumps(thawed(known.get("arguments")) or {})
        yield BlockStarted(key, "tool_call" if is_call else "thinking", known if is_call else {})
        for token in words_of(text):
            await self._pause(self.script.token_delay_s)
            usage["output_tokens"] += 1
            yield BlockToken(key, token)
        yield BlockEnded(key, {} if is_call else known)

    async def _do(self, step: Any) -> None:
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
        elif isinstance(step, int | float):
            await self._pause(step)
        else:
            raise TypeError(
                f"{step!r} cannot be a step of a scripted reply: give tokens (`str`), seconds (a number), exceptions, "
                "`asyncio.Event`s, `ThinkingMessage`s and `tool_call(...)`s."
            )

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)


def tool_call(tool_name: str, arguments: Mapping[str, Any] | None = None, tool_call_id: str = "") -> ToolCallMessage:
    """Give a step of a scripted reply in which the model calls a tool; without an id each call gets one of its own."""
    return ToolCallMessage(tool_name=tool_name, tool_call_id=tool_call_id, arguments=Frozen(**(arguments or {})))


_numbers = itertools.count(1)
_NOT_OF_A_BLOCK = frozenset({"class_", "content", "content_template", "role", "model", "agent_alias", "provider"})


def _is_block(step: object) -> bool:
    return isinstance(step, ThinkingMessage | ToolCallMessage)


def _steps_of(reply: Any) -> AsyncIterator[Any]:
    if hasattr(reply, "__aiter__"):
        return reply
    if _is_block(reply):
        return _one_by_one([reply])
    if isinstance(reply, str | Message):
        return _one_by_one(words_of(str(reply)))
    return _one_by_one(cast("Iterable[Any]", reply) if isinstance(reply, Iterable) else [reply])


async def _one_by_one(steps: Iterable[Any]) -> AsyncIterator[Any]:
    for step in steps:
        yield step


def _fields_of(message: Message) -> dict[str, Any]:
    kept = {"content", "content_template", "role", "model", "agent_alias"}
    return {name: value for name, value in message.as_kwargs().items() if name not in kept and value is not None}


def _word_count(prompt: Prompt) -> int:
    return len(prompt.system.split()) + sum(len(turn.text.split()) for turn in prompt.turns)
