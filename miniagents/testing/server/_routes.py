"""Which protocol a request speaks, by its path: the one list of everything that the server serves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from miniagents.testing.server._rendering import Protocol
from miniagents.testing.server.anthropic import Anthropic
from miniagents.testing.server.anthropic_clouds import BedrockClaude, VertexClaude
from miniagents.testing.server.bedrock import BedrockConverse
from miniagents.testing.server.gemini import Gemini
from miniagents.testing.server.openai_chat import OpenAIChat
from miniagents.testing.server.openai_responses import OpenAIResponses

Task = Literal["answer", "count", "embed", "list"]


@dataclass(frozen=True)
class Route:
    """What a request asks for: `model` and `streamed` are `None` where the body says it."""

    protocol: Protocol
    task: Task
    model: str | None = None
    streamed: bool | None = None


_GOOGLE = r"/v1(?:beta\d?|alpha)?/projects/[^/]+/locations/[^/]+/publishers"
# (pattern, protocol, task, streamed). `model` is a group of the pattern where the path names it.
_TABLE: list[tuple[str, type[Protocol], Task, bool | None]] = [
    (r"/v1/chat/completions", OpenAIChat, "answer", None),
    (r"/openai/deployments/(?P<model>[^/]+)/chat/completions", OpenAIChat, "answer", None),
    (r"(?:/openai)?/v1/responses", OpenAIResponses, "answer", None),
    (r"/openai/responses", OpenAIResponses, "answer", None),
    (r"/openai/v1/chat/completions", OpenAIChat, "answer", None),
    (r"(?:/openai)?/v1/embeddings|/openai/deployments/(?P<model>[^/]+)/embeddings", OpenAIChat, "embed", None),
    (r"/v1/messages", Anthropic, "answer", None),
    (r"/v1/messages/count_tokens", Anthropic, "count", False),
    (_GOOGLE + r"/anthropic/models/count-tokens:rawPredict", VertexClaude, "count", False),
    (_GOOGLE + r"/anthropic/models/(?P<model>[^/:]+):streamRawPredict", VertexClaude, "answer", True),
    (_GOOGLE + r"/anthropic/models/(?P<model>[^/:]+):rawPredict", VertexClaude, "answer", False),
    (r"/model/(?P<model>.+)/invoke-with-response-stream", BedrockClaude, "answer", True),
    (r"/model/(?P<model>.+)/invoke", BedrockClaude, "answer", False),
    (r"/model/(?P<model>.+)/converse-stream", BedrockConverse, "answer", True),
    (r"/model/(?P<model>.+)/converse", BedrockConverse, "answer", False),
    (r"(?:/v1\w*|" + _GOOGLE + r"/google)/models/(?P<model>[^/:]+):streamGenerateContent", Gemini, "answer", True),
    (r"(?:/v1\w*|" + _GOOGLE + r"/google)/models/(?P<model>[^/:]+):generateContent", Gemini, "answer", False),
    (r"(?:/v1\w*|" + _GOOGLE + r"/google)/models/(?P<model>[^/:]+):countTokens", Gemini, "count", False),
    (r"/v1beta/models", Gemini, "list", False),
]
_COMPILED: list[tuple[re.Pattern[str], type[Protocol], Task, bool | None]] = [
    (re.compile(pattern), kind, task, streamed) for pattern, kind, task, streamed in _TABLE
]


@cache
def _speaker(kind: type[Protocol]) -> Protocol:
    return kind()


def route_of(path: str, headers: Mapping[str, str]) -> Route | None:
    """Return what the request asks for, `None` if nothing is served there."""
    if path == "/v1/models":
        # The one path that three providers share; the headers tell them apart.
        marks: dict[str, type[Protocol]] = {"anthropic-version": Anthropic, "x-goog-api-key": Gemini}
        return Route(_speaker(next((kind for mark, kind in marks.items() if mark in headers), OpenAIChat)), "list")
    for pattern, kind, task, streamed in _COMPILED:
        match = pattern.fullmatch(path)
        if match:
            return Route(_speaker(kind), task, match.groupdict().get("model"), streamed)
    return None


def protocol_of_stranger(path: str, headers: Mapping[str, str]) -> Protocol:
    """Return in whose words to say that nothing is served there."""
    if "anthropic-version" in headers:
        return _speaker(Anthropic)
    return _speaker(BedrockConverse if path.startswith("/model/") else OpenAIChat)
