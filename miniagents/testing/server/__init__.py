"""A server on the loopback interface that speaks the wire protocols of the model providers, for your tests.

```python
from openai import OpenAI

from miniagents.testing import Answer, Failure, ToolCall, start_protocol_server

with start_protocol_server() as server:
    server.script(Failure(429, retry_after_s=0.01), Answer(["Let me", " see.", ToolCall("add", {"a": 1, "b": 2})]))
    client = OpenAI(base_url=server.openai_base_url, api_key="any")

    answer = client.chat.completions.create(model="gpt-x", messages=[{"role": "user", "content": "1 + 2?"}])

    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"a": 1, "b": 2}'
    assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 2
```

It serves OpenAI's chat completions (also Azure's form), Responses and embeddings, Anthropic's messages (also those of
Vertex and Bedrock), Gemini (also Vertex's) and Bedrock's Converse, streamed and whole. A script says in no provider's
words what is answered (`replies.py`, `parts.py`), one file per protocol says it in that protocol's. Needs
`pip install "miniagents[testing]"`. At a terminal: `python -m miniagents.testing.server --port 8123 --delay 0.05`.
"""

from miniagents.testing.server.control import ProtocolServer
from miniagents.testing.server.parts import (
    BadJSON,
    Cited,
    Cut,
    Drop,
    EmptyChoices,
    Endless,
    ErrorInside,
    Gate,
    Interleaved,
    KeepAlive,
    Pause,
    Ping,
    Raw,
    RedactedThinking,
    Refusal,
    Reset,
    Silence,
    Thinking,
    Tokens,
    ToolCall,
    UnknownEvent,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import HTML_PAGE, Answer, Body, Failure, Usage
from miniagents.testing.server.starting import start_protocol_server

__all__ = [
    "HTML_PAGE",
    "Answer",
    "BadJSON",
    "Body",
    "Cited",
    "Cut",
    "Drop",
    "EmptyChoices",
    "Endless",
    "ErrorInside",
    "Failure",
    "Gate",
    "Interleaved",
    "KeepAlive",
    "Pause",
    "Ping",
    "ProtocolServer",
    "Raw",
    "RecordedRequest",
    "RedactedThinking",
    "Refusal",
    "Reset",
    "Silence",
    "Thinking",
    "Tokens",
    "ToolCall",
    "UnknownEvent",
    "Usage",
    "start_protocol_server",
]
