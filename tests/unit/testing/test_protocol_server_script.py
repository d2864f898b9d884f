"""What the protocol server answers to which request, what it remembers, and where it runs."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

import miniagents.testing.server
from miniagents.errors import MissingExtraError
from miniagents.testing import (
    Answer,
    Failure,
    Gate,
    Pause,
    ProtocolServer,
    RecordedRequest,
    Tokens,
    ToolCall,
    start_protocol_server,
)
from tests.unit.testing.scripted_answers import fail, shout

ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(server: ProtocolServer):
    with OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=0) as client:
        yield client


def ask(client: OpenAI, *texts: str) -> str:
    """Ask with a dialog in which the user and the assistant take turns; return the answer."""
    roles = ("user", "assistant") * len(texts)
    messages: Any = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return client.chat.completions.create(model="m", messages=messages).choices[0].message.content or ""


# ------------------------------------------------------------------------------------------------------ which answer


def test_replies_are_given_out_in_the_order_of_the_requests_and_then_it_echoes(server: ProtocolServer, client: OpenAI):
    server.script("one", Answer("two"))
    server.script("three")

    assert [ask(client, "Hi") for _ in range(4)] == [
        "one",
        "two",
        "three",
        'You said "Hi" (I am m, this was message 1)',
    ]


def test_a_function_of_the_request_may_be_a_reply(server: ProtocolServer, client: OpenAI):
    async def slowly(request: RecordedRequest) -> Answer:
        await asyncio.sleep(0)
        return Answer([f"{len(request.dialog)} ", "messages"])

    server.script(shout, slowly, lambda request: Answer(request.path))

    assert [ask(client, "a", "b", "c") for _ in range(3)] == ["C", "3 messages", "/v1/chat/completions"]


def test_a_function_may_answer_everything_that_is_not_scripted(server: ProtocolServer, client: OpenAI):
    server.answer_with(shout)
    server.script("scripted")

    assert [ask(client, "hi"), ask(client, "ho")] == ["scripted", "HO"]


def test_an_error_of_a_function_is_kept_and_told(server: ProtocolServer, client: OpenAI):
    server.answer_with(fail)

    with pytest.raises(Exception, match="LookupError\\('nothing for hi'\\)"):
        ask(client, "hi")

    assert [str(error) for error in server.errors] == ["nothing for hi"]


def test_an_answer_that_a_protocol_cannot_say_is_an_error_of_the_script(server: ProtocolServer):
    half_of_an_object = Answer(["So:", ToolCall("add", ['{"a": '])])
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    server.script(half_of_an_object, half_of_an_object)

    with httpx2.Client(base_url=server.url, headers={"x-goog-api-key": "any"}) as http:
        refused = http.post("/v1beta/models/m:generateContent", json=body)
        with pytest.raises(httpx2.RemoteProtocolError):
            http.post("/v1beta/models/m:streamGenerateContent?alt=sse", json=body)

    assert refused.status_code == 500
    assert "the scripted answer cannot be sent: JSONDecodeError" in refused.json()["error"]["message"]
    assert [type(error).__name__ for error in server.errors] == ["JSONDecodeError"] * 2


def test_a_conversation_may_have_replies_of_its_own(server: ProtocolServer, client: OpenAI):
    server.script("for anyone")
    server.script("for Ann", "also for Ann", key="I am Ann")
    server.script("for Bob", key="I am Bob")

    answers = [ask(client, "I am Bob"), ask(client, "I am Ann"), ask(client, "I am Ann", "for Ann", "Go on")]

    assert answers == ["for Bob", "for Ann", "also for Ann"]
    assert ask(client, "I am Ann") == "for anyone"


def test_what_tells_conversations_apart_may_be_chosen(server: ProtocolServer, client: OpenAI):
    server.key_by(lambda request: request.headers["authorization"])
    server.script("for this key", key="Bearer any")

    assert ask(client, "Hi") == "for this key"


async def test_hundreds_of_conversations_at_once_each_get_their_own_answers(server: ProtocolServer):
    everyone_is_here = asyncio.Event()

    async def answer(request: RecordedRequest) -> str:
        if len(server.requests) == 300:
            everyone_is_here.set()
        await everyone_is_here.wait()
        return f"{request.first_user_text}, turn {len(request.dialog)}"

    server.answer_with(answer)
    headers = {"authorization": "Bearer any"}
    limits = httpx2.Limits(max_connections=None)

    async with httpx2.AsyncClient(base_url=server.url, headers=headers, limits=limits, timeout=25) as http:

        async def talk(number: int) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": f"conversation {number}"}]}
            response = await http.post("/v1/chat/completions", json=body)
            return response.json()["choices"][0]["message"]["content"]

        answers = await asyncio.gather(*map(talk, range(300)))

    assert answers == [f"conversation {number}, turn 1" for number in range(300)]
    assert len({request.client_port for request in server.requests}) == 300


def test_a_reset_forgets_requests_replies_and_functions(server: ProtocolServer, client: OpenAI):
    server.script("one", "two")
    server.script("own", key="Hi")
    server.answer_with("otherwise")
    ask(client, "x")

    server.reset()

    assert ask(client, "Hi").startswith("You said")
    assert len(server.requests) == 1


# ------------------------------------------------------------------------------------------------------ time


async def test_a_gate_holds_the_answer_where_it_stands(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["first", gate, " second"]))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    headers = {"authorization": "Bearer any"}
    async with (
        httpx2.AsyncClient(base_url=server.openai_base_url, headers=headers) as http,
        http.stream("POST", "chat/completions", json=body) as response,
    ):
        await gate.reached()
        sent_before = server.requests[0].bytes_sent

        gate.open()

        everything = await response.aread()
    assert b"first" in everything[:sent_before]
    assert b"second" in everything[sent_before:]


def test_a_gate_holds_an_answer_of_one_piece_too(server: ProtocolServer, client: OpenAI):
    gate = Gate()
    server.script(Answer([gate, "late"]))
    gate.open()

    assert ask(client, "Hi") == "late"


def test_tokens_may_be_slow(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Pause(0.02), "a", "b"], delay_s=0.01))
    began = time.monotonic()

    list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True))

    assert time.monotonic() - began >= 0.02 + 4 * 0.01


def test_many_equal_tokens_are_one_part_and_may_leave_together(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Tokens(100, " x", per_write=30)]))

    chunks = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == " x" * 100


# ------------------------------------------------------------------------------------------------------ where it runs


@pytest.fixture(scope="module")
def in_a_process():
    with start_protocol_server(process=True) as server:
        yield server


def test_a_server_in_a_process_of_its_own_does_as_it_is_told(in_a_process: ProtocolServer):
    in_a_process.reset()
    in_a_process.script("one", Failure(429, "Slow down"), shout)
    in_a_process.script("own", key="I am Ann")
    with OpenAI(base_url=in_a_process.openai_base_url, api_key="any", max_retries=0) as client:
        assert ask(client, "I am Ann") == "own"
        assert ask(client, "Hi") == "one"
        with pytest.raises(Exception, match="Slow down"):
            ask(client, "Hi")
        assert ask(client, "Hi") == "HI"

    assert [request.last_user_text for request in in_a_process.requests] == ["I am Ann", "Hi", "Hi", "Hi"]
    assert in_a_process.requests[0].bytes_sent > 0


def test_how_a_request_ended_is_known_across_processes(in_a_process: ProtocolServer):
    in_a_process.reset()
    with OpenAI(base_url=in_a_process.openai_base_url, api_key="any") as client:
        # The second answer, on the same connection, says that the server is done with the first.
        assert [ask(client, "Hi"), ask(client, "Ho")]

    request = in_a_process.requests[0]

    assert asyncio.run(request.ended()) == "complete"
    assert request.began_at <= request.ended_at <= time.monotonic()


def test_what_cannot_go_to_another_process_is_refused_in_words(in_a_process: ProtocolServer):
    with pytest.raises(TypeError, match="`script\\(\\)` of a server in a process of its own .* no `Gate`"):
        in_a_process.script(Answer([Gate()]))
    with pytest.raises(TypeError, match="`answer_with\\(\\)` .* no lambda"):
        in_a_process.answer_with(lambda request: "x")


def test_a_server_in_a_process_may_refuse_connections(in_a_process: ProtocolServer):
    with in_a_process.refusing_connections(), pytest.raises(httpx2.ConnectError):
        httpx2.get(in_a_process.url)

    assert httpx2.get(in_a_process.url).status_code == 401


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_a_port_that_is_taken_is_an_error_at_once(server: ProtocolServer, process: bool):
    port = int(server.url.rpartition(":")[2])

    with pytest.raises(OSError), start_protocol_server(port=port, process=process):
        pass


def test_at_a_terminal_it_says_how_to_point_the_sdks_to_it():
    command = [sys.executable, "-m", "miniagents.testing.server", "--port", "0", "--tokens", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl+C" in line:
                break
        exported = dict(re.findall(r"export (\w+)=(\S+)", printed))
        try:
            with OpenAI(base_url=exported["OPENAI_BASE_URL"], api_key=exported["OPENAI_API_KEY"]) as client:
                assert ask(client, "Hi") == " token token token"
        finally:
            process.terminate()

    assert exported["ANTHROPIC_BASE_URL"] == exported["GOOGLE_GEMINI_BASE_URL"]


def test_without_uvicorn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [name for name in sys.modules if name.startswith("miniagents.testing.server.")]:
        monkeypatch.delitem(sys.modules, name)

    with pytest.raises(MissingExtraError, match=r'`start_protocol_server\(\)` needs .* "miniagents\[testing\]"'):
        with start_protocol_server():
            pass


def test_the_program_in_its_description_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", miniagents.testing.server.__doc__ or "", re.DOTALL)

    exec(program, {"__name__": "__main__"})


def test_every_name_of_the_server_is_a_name_of_the_testing_tools():
    for name in miniagents.testing.server.__all__:
        assert getattr(miniagents.testing, name) is getattr(miniagents.testing.server, name)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'start_protocol_serve'"):
        miniagents.testing.start_protocol_serve  # noqa: B018 - looking it up is the test
