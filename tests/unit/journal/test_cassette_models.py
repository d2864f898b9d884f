"""A cassette that is made with the SDK of a provider against a server replays where there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms.errors import AuthenticationError
from miniagents.journal.cassette import CassetteMissError, CassetteMode
from miniagents.testing import Answer, Failure, ProtocolServer, Thinking, start_protocol_server

KEY = "sk-abcdefghijklmnopqrst"
NO_SERVER = "http://127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as started:
        yield started


@miniagent
async def translator(ctx: InteractionContext, model: MiniAgent) -> None:
    ctx.reply(model.inquire(ctx.message_promises, system=f"Translate. The key is {KEY}."))


async def talk(path: Path, mode: CassetteMode, url: str, questions: list[str]) -> list[Any]:
    """Ask two models, and give all that one sees of their answers."""
    models = [
        OpenAIAgent.fork(model="gpt-x", base_url=f"{url}/v1", api_key=KEY, max_retries=0),
        AnthropicAgent.fork(model="claude-x", base_url=url, api_key=KEY, max_retries=0),
    ]
    seen: list[Any] = []
    async with MiniAgents(journal=path, mode=mode):
        for model in models:
            for question in questions:
                try:
                    async for promise in translator.inquire(question, model=model):
                        seen.append([token async for token in promise])
                        seen.append((await promise).hash_key)
                except AuthenticationError as error:
                    seen.append((str(error), error.status_code, error.provider))
    return seen


async def test_models_that_were_recorded_answer_byte_for_byte_without_a_server(
    tmp_path: Path, server: ProtocolServer
) -> None:
    path = tmp_path / "talk.jsonl"
    server.script(
        *(Answer(["Bon", "jour"]), Answer(["Sal", "ut"]), Failure(401)),
        *(Answer([Thinking("Hm."), "Ad", "ieu"]), Failure(401), Answer(["Ça", " va?"])),
    )
    recorded = await talk(path, "record", server.url, ["hi", "hi", "bye"])

    replayed = await talk(path, "replay", NO_SERVER, ["hi", "hi", "bye"])

    assert len(server.requests) == 6
    assert replayed == recorded
    assert [tokens for tokens in replayed if isinstance(tokens, list)][:2] == [["Bon", "jour"], ["Sal", "ut"]]
    assert len([failure for failure in replayed if len(failure) == 3]) == 2
    assert not any(part in content(path) for part in (KEY[:9], "127.0.0.1"))


async def test_a_model_that_is_asked_something_new_is_never_reached_in_replay(
    tmp_path: Path, server: ProtocolServer
) -> None:
    path = tmp_path / "talk.jsonl"
    server.answer_with(lambda request: "Bonjour")
    await talk(path, "record", server.url, ["hi"])
    before = len(server.requests)

    with pytest.raises(CassetteMissError, match=r'\+    content: "hello"'):
        await talk(path, "replay", server.url, ["hello"])

    assert len(server.requests) == before == 2


def content(path: Path) -> str:
    return path.read_text(encoding="utf-8")
