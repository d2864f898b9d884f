"""The model behind the cases with a network: a local server in a process of its own, whose work is not counted.

What the user says tells it what to answer, whichever framework asks:

    say 2000 64      2,000 tokens, 64 of them in a piece
    pad 2000 64      the same in chat completions that are padded as OpenAI's are
    slowly 20        20 tokens, one each 10 ms
    add              a call of the tool `add`, and when its result is there, a sentence
    describe         what fits the schema of a city
"""

from collections.abc import Generator
from contextlib import contextmanager
from random import Random
from string import ascii_letters

from miniagents.testing.server import Answer, Raw, RecordedRequest, Tokens, ToolCall, start_protocol_server

PADDED = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o",'
    b'"service_tier":"default","system_fingerprint":"fp_loopback","choices":[{"index":0,"delta":{"content":" token"},'
    b'"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"%s"}\n\n'
)
BETWEEN_SLOW_TOKENS_S = 0.01


def reply(request: RecordedRequest) -> Answer:
    """Answer one request."""
    task, *numbers = request.last_user_text.split()
    if task == "say":
        count, per_write = map(int, numbers)
        return Answer([Tokens(count, per_write=per_write)])
    if task == "pad":
        return Answer(padded_tokens(*map(int, numbers)))
    if task == "slowly":
        return Answer([Tokens(int(numbers[0]))], delay_s=BETWEEN_SLOW_TOKENS_S)
    if task == "describe":
        return Answer(['{"name": "Paris", "population": 2000000}'])
    if any(message["role"] == "tool" for message in request.body["messages"]):
        return Answer("The sum is 3.")
    return Answer([ToolCall("add", {"a": 1, "b": 2})])


def padded_tokens(count: int, per_write: int) -> list[Raw]:
    """Give the chunks with tokens, each with random padding, which hides how long a token is."""
    random = Random(0)
    chunks = [PADDED % "".join(random.choices(ascii_letters, k=random.randint(1, 12))).encode() for _ in range(count)]
    return [Raw(b"".join(chunks[start : start + per_write])) for start in range(0, count, per_write)]


@contextmanager
def model_server() -> Generator[dict[str, str]]:
    """Run the server; gives the environment variables by which the SDKs find it."""
    with start_protocol_server(process=True) as server:
        server.answer_with(reply)
        yield server.environment
