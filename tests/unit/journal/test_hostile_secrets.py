"""Keys and passwords that come as plain texts, in settings and in errors."""

import json
from pathlib import Path

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents._secret_texts import without_secrets
from miniagents._settings import recorded
from tests.unit.journal.conftest import Kept

_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-plain"
_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


async def test_an_error_is_stored_without_the_secrets_in_its_text_and_traceback(kept: Kept) -> None:
    @miniagent(durable=True)
    async def failing(ctx: InteractionContext) -> None:
        raise ConnectionError("401 for https://u:hunter22@h/v1?api_key=QUERYKEY-11")

    async with kept.mini_agents():
        with pytest.raises(ConnectionError, match="QUERYKEY-11"):
            await failing.inquire()

    error = (await kept.call("FAILING")).error
    assert error is not None
    assert error.text == "401 for https://***@h/v1?api_key=***"
    assert "Traceback" in error.traceback
    assert "hunter22" not in error.traceback
    assert "ConnectionError: 401 for https://***@h" in error.traceback


def test_settings_with_names_of_secrets_are_not_recorded_though_they_are_plain_texts() -> None:
    shown = json.dumps(
        recorded(
            {
                "api_key": "plain-key-12345",
                "aws_secret_access_key": "plain-secret-1",
                "headers": {
                    "Authorization": "Bearer abc",
                    "X-Api-Key": "plain-2",
                    "Cookie": "c=plain-3",
                    "Accept": "*",
                },
                "url": "https://u:plain-4@h/?page=2",
                "model": "gpt",
                "parts": [{"password": "plain-5"}],
            }
        ),
        default=str,
    )

    assert "plain" not in shown
    assert "Bearer" not in shown
    assert "https://***@h/?page=2" in shown
    assert "Accept" in shown
    assert "gpt" in shown


def test_what_may_be_a_secret_or_what_is_asked_for_tells_calls_apart_and_is_not_shown() -> None:
    one, other = recorded({"token": "page-token-0001"}), recorded({"token": "page-token-0002"})

    assert one != other
    assert "page-token" not in str(one)
    assert recorded({"token": "short", "key": "two words here"}) == {"token": "short", "key": "two words here"}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [(f"got {_JWT} here", _JWT), (_PEM, "MIIEpAIBAAKCAQEA"), ("Cookie: id=abcdef; b=c", "abcdef"),
     ("x-api-key: abcdefgh", "abcdefgh"), ('{"Set-Cookie": "id=abcdef"}', "abcdef")],
    ids=["jwt", "pem", "cookie", "x-api-key", "set-cookie"],
)  # fmt: skip
def test_texts_are_masked(text: str, hidden: str) -> None:
    assert hidden in text
    assert hidden not in without_secrets(text)


async def test_a_cassette_has_none_of_the_settings_that_are_secrets(tmp_path: Path) -> None:
    path = tmp_path / "secrets.jsonl"

    @miniagent(durable=True)
    async def model(ctx: InteractionContext, config: object) -> None:
        ctx.reply(_JWT)

    async with MiniAgents(journal=str(path)):
        await model.inquire(config={"api_key": "plain-key-12345", "deep": [{"token": "plain-token-1"}]})

    text = path.read_text()
    assert '"call": "MODEL"' in text
    assert "plain" not in text
