"""Where no Postgres answers, the tests start one of their own, and leave nothing of it behind."""

import asyncio
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from miniagents.journal import Journal
from tests.support import postgres_server as servers
from tests.unit.journal.conftest import call, record


@pytest.fixture
def nobody_else_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TEST_POSTGRES_URL", raising=False)
    monkeypatch.setenv("TEST_POSTGRES_OWN", "1")
    monkeypatch.setattr(servers, "_own", [])


async def test_a_server_is_started_once_and_leaves_nothing_behind(
    nobody_else_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []
    make = tempfile.mkdtemp

    def noting_make(**options: str) -> str:
        folders.append(make(**options))
        return folders[-1]

    monkeypatch.setattr(servers.tempfile, "mkdtemp", noting_make)
    to_stop: list[Callable[[], None]] = []
    try:
        url = await asyncio.to_thread(servers.postgres_server, to_stop.append)
    except servers.NoPostgresError as error:
        pytest.skip(f"PostgreSQL is not installed: {error}")
    try:
        assert await asyncio.to_thread(servers.postgres_server, to_stop.append) == url
        async with await Journal.open(url) as journal:
            run = await journal.begin_run("r")
            await record(run, call("k"), "done")
            assert [one.state async for one in journal.log("r")] == ["finished"]
    finally:
        await asyncio.to_thread(to_stop[0])

    assert len(to_stop) == len(folders) == 1
    assert not await asyncio.to_thread(Path(folders[0]).exists)
    with pytest.raises(OSError):
        await asyncio.to_thread(socket.create_connection, ("127.0.0.1", urlsplit(url).port), 1)


def test_without_the_programs_it_says_what_is_missing(
    nobody_else_answers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(servers, "_folders", lambda: [tmp_path])

    with pytest.raises(servers.NoPostgresError, match="set TEST_POSTGRES_URL.*not installed"):
        servers.postgres_server(lambda _: None)


def test_a_server_that_is_named_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_POSTGRES_URL", "postgresql://me@elsewhere/tests")

    assert servers.postgres_server(lambda _: pytest.fail("nothing is started")) == "postgresql://me@elsewhere/tests"
