"""Messages made into the turns of a request: what is said by whom, in a form that every provider accepts."""

import itertools
import operator
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from miniagents.ext.llms.errors import EmptyPromptError, UnknownRoleError
from miniagents.ext.llms.llm_messages import (
    MediaMessage,
    ModelMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms.model_events import RequestTurn, is_plain_text
from miniagents.messages import Message

Side = Literal["system", "user", "assistant"]

# "developer" is what newer models of OpenAI call their system messages.
_SIDES: Final[dict[str, Side]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said so far: the system's texts, and turns of user and assistant one after the other."""

    system_texts: tuple[str, ...]
    turns: tuple[RequestTurn, ...]


def conversation_of(
    messages: Iterable[Message], *, agent_alias: str, provider: str, fake_first_user_message: str | None
) -> Conversation:
    """Put messages into order for a model of `provider`.

    Blank texts are left out, and so are thoughts that another provider's model had. A call of a tool that was never
    answered gets an answer that says so, and an answer whose call is not there becomes a text: providers refuse both.

    Raises:
        UnknownRoleError: a message has a role other than system, developer, user, assistant, tool or none.
    """
    system_texts: list[str] = []
    said: list[tuple[Literal["user", "assistant"], Message]] = []
    for message in messages:
        side = _side_of(message, agent_alias)
        if side == "system":
            if str(message).strip():
                system_texts.append(str(message))
        elif _says_something(message, provider):
            said.append((side, message))
    said = _without_torn(said)
    if said and all(side == "assistant" and is_plain_text(message) for side, message in said):
        # What a model gets from another one in a chain: to this one it is what the user says.
        said = [("user", message) for _, message in said]
    if (not said or said[0][0] == "assistant") and fake_first_user_message is not None:
        said.insert(0, ("user", UserMessage(fake_first_user_message)))
    return Conversation(tuple(system_texts), tuple(_turns(_answered(said))))


def checked(conversation: Conversation, agent_alias: str, *, has_system: bool) -> Conversation:
    """Give the conversation, unless there is nothing in it.

    Raises:
        EmptyPromptError: there is nothing to send.
    """
    if not conversation.turns and not conversation.system_texts and not has_system:
        raise EmptyPromptError(agent_alias)
    return conversation


def _side_of(message: Message, agent_alias: str) -> Side:
    # In plain texts, which most messages are, pydantic looks for a missing attribute slowly.
    role: object = message.get("role") if type(message) is Message else getattr(message, "role", None)
    if role is None:
        return "user"
    if not isinstance(role, str) or role not in _SIDES:
        raise UnknownRoleError(agent_alias, role, _SIDES)
    return _SIDES[role]


def _says_something(message: Message, provider: str) -> bool:
    if isinstance(message, ThinkingMessage):
        # A thought is signed by the model that had it; nobody else can do anything with it.
        return message.provider == provider
    if isinstance(message, MediaMessage | ToolCallMessage | ToolResultMessage):
        return True
    if getattr(message, "provider_data", None) is not None and isinstance(message, ModelMessage):
        # What has no text may still be something to its own provider: a tool that runs there, for example.
        return bool(str(message.content or "").strip()) or message.provider == provider
    return bool(str(message).strip())


_OF_TOOLS: Final = (ToolCallMessage, ToolResultMessage)
_Said = list[tuple[Literal["user", "assistant"], Message]]
_Results = defaultdict[str, deque[ToolResultMessage]]


def _without_torn(said: _Said) -> _Said:
    """Leave out what a failure tore if the model began anew after it."""
    kept: _Said = []
    for index, (side, message) in enumerate(said):
        is_torn = isinstance(message, ModelMessage) and message.interrupted
        if is_torn and index + 1 < len(said) and isinstance(said[index + 1][1], ModelMessage):
            continue
        if is_torn and isinstance(message, ToolCallMessage):
            # Its arguments are cut off, and nobody ran it.
            continue
        kept.append((side, message))
    return kept


def _answered(said: _Said) -> _Said:
    """Match calls of tools and their results, which follow the turn of the calls."""
    if not any(isinstance(message, _OF_TOOLS) for _, message in said):
        return said
    # In order: some servers begin anew with their ids in every turn.
    results: _Results = defaultdict(deque)
    for _, message in said:
        if isinstance(message, ToolResultMessage):
            results[message.tool_call_id].append(message)
    calls = {message.tool_call_id for _, message in said if isinstance(message, ToolCallMessage)}
    answered: _Said = []
    waiting: list[ToolCallMessage] = []
    for side, message in said:
        if waiting and side == "user":
            answered.extend(_results_of(waiting, results))
            waiting = []
        if isinstance(message, ToolCallMessage):
            waiting.append(message)
        if not isinstance(message, ToolResultMessage):
            answered.append((side, message))
        elif message.tool_call_id not in calls:
            answered.append(("user", UserMessage(f"Result of the tool `{message.tool_name}`: {message}")))
    answered.extend(_results_of(waiting, results))
    return answered


def _results_of(calls: list[ToolCallMessage], results: _Results) -> _Said:
    """Give the results of calls and, after all of them, their pictures, which not every provider takes inside."""
    found = [_result_of(call, results) for call in calls]
    media = [message for result in found for message in result.get("media") or ()]
    return [("user", message) for message in (*found, *media)]


def _result_of(call: ToolCallMessage, results: _Results) -> ToolResultMessage:
    found = results[call.tool_call_id]
    if found:
        return found.popleft() if len(found) > 1 else found[0]
    return ToolResultMessage(
        "This call was not carried out.", tool_call_id=call.tool_call_id, tool_name=call.tool_name, is_error=True
    )


def _turns(said: Sequence[tuple[Literal["user", "assistant"], Message]]) -> list[RequestTurn]:
    return [
        RequestTurn(side, tuple(message for _, message in group))
        for side, group in itertools.groupby(said, key=operator.itemgetter(0))
    ]
