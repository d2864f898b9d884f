"""What has the name of a secret is in no cassette, and what only looks a little like one stays readable."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents._secret_texts import may_be_a_key, names_a_secret

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "OPENAI_KEY", "GITHUB_TOKEN", "PGPASSWORD", "GOOGLE_CREDENTIALS"),
        *("aws_secret_access_key", "session_token", "api_key", "apiKey", "X-Api-Key", "clientSecret", "key", "token"),
    ],
)
def test_a_name_with_the_word_of_a_secret_in_it_stands_for_one(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "monkey",
        "MONKEY_MODE",
        "keyboard",
        "KEYBOARD_LAYOUT",
        "maxTokens",
        "tokenizer",
        "secretary",
        "PWD",
    ],
)
def test_a_name_with_another_word_does_not(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        *("true", "1234567", "production", "Password", "/etc/ssh/id_rsa", "~/.aws/credentials", "./keys/a.pem"),
        *("/run/secrets/openai", "certs/server.key", r"C:\keys\mine.txt", "/Library/keys/a"),
    ],
)
def test_short_and_common_values_and_paths_are_no_secrets(value: str) -> None:
    assert not may_be_a_key(value)


@pytest.mark.parametrize("value", [SECRET, "hunter2hunter2", "/K7MDENG/bPxRfiCYEXAMPLEKEYwJalrXUtnFEMI", "a/b+c/d=="])
def test_other_values_may_be(value: str) -> None:
    assert may_be_a_key(value)


@miniagent(durable=True)
async def leaf(ctx: InteractionContext, said: str = "", **settings: Any) -> None:
    await ctx.message_promises
    ctx.reply(said)


async def recorded(path: Path, said: str, *messages: str | Message, **settings: Any) -> str:
    for mode in ("record", "replay"):
        async with MiniAgents(journal=str(path), mode=mode):
            await leaf.inquire(list(messages) or "q", said=said, **settings)
    return await asyncio.to_thread(path.read_text)


async def test_keys_of_the_environment_are_hidden_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "DB_PASSWORD": "hunter2hunter2",
        "OPENAI_KEY": "abcdefabcdef1234",
        "GITHUB_TOKEN": "0123456789abcdef",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    told = await recorded(tmp_path / "c.jsonl", " ".join(secrets.values()), f"use {SECRET}")

    assert not any(value in told for value in secrets.values())
    assert "*** *** *** ***" in told


async def test_values_of_the_environment_that_are_in_every_text_mask_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_TOKEN", "true")
    monkeypatch.setenv("KEY", "a")
    monkeypatch.setenv("KEY_STAGE", "production")
    monkeypatch.setenv("SSH_KEY", "/etc/ssh/id_rsa")
    monkeypatch.setenv("MAX_TOKENS", "answer to everything")

    told = await recorded(tmp_path / "c.jsonl", "true, in production: the answer to everything is a")

    assert "true, in production: the answer to everything is a" in told


async def test_settings_with_the_name_of_a_secret_are_hidden(tmp_path: Path) -> None:
    settings = {
        "aws_secret_access_key": SECRET,
        "session_token": "tok12345678",
        "db_password": "short",
        "credentials": {"user": "ann", "words": ["open", "sesame"]},
        "inner": {"api_key": "plain-words"},
    }

    told = await recorded(tmp_path / "c.jsonl", "done", max_tokens=7, monkey="business", sort_key="name", **settings)

    for secret in (SECRET, "tok12345678", "short", "ann", "open", "sesame", "plain-words"):
        assert f'"{secret}"' not in told
    for plain in ('"max_tokens": 7', '"monkey": "business"', '"sort_key": "name"'):
        assert plain in told


async def test_a_field_that_is_called_key_and_nothing_else_is_kept_in_a_message(tmp_path: Path) -> None:
    message = Message("q", key="approve-the-release", token="wordpiece", session_token="tok12345678")

    told = await recorded(tmp_path / "c.jsonl", "done", message)

    assert '"key": "approve-the-release"' in told
    assert '"token": "wordpiece"' in told
    assert "tok12345678" not in told
