"""Every test that takes `open_journal` or `journal` runs on SQLite, in memory and on Postgres."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from miniagents import Message, MiniAgents
from miniagents.journal import CallRecord, Journal, RunJournal, RunRecord, StartedCall
from tests.support.postgres_server import NoPostgresError, postgres_server
from tests.unit.journal.network import Network

OpenJournal = Callable[..., Awaitable[Journal]]


@pytest.fixture
async def postgres_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A server of Postgres, and a schema there that goes away with the test."""
    url = "none"
    try:
        import asyncpg

        # One that has to be started takes a moment, once.
        url = await asyncio.to_thread(postgres_server, request.config.add_cleanup)
        server = await asyncpg.connect(url, timeout=5)
    except (ImportError, NoPostgresError, OSError, TimeoutError) as error:
        why = f"no Postgres (server: {url}), or no asyncpg: {error!r}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    schema = f"journal_{uuid.uuid4().hex}"
    await server.execute(f"CREATE SCHEMA {schema}")
    yield f"{url}{'&' if '?' in url else '?'}search_path={schema}"
    # A test that failed may have left somebody in there, for whom nobody is to wait for ever.
    await server.execute("SET lock_timeout = '5s'")
    await server.execute(f"DROP SCHEMA {schema} CASCADE")
    await server.close()


@pytest.fixture
async def network(postgres_url: str) -> AsyncIterator[tuple[Network, str]]:
    """What the server is reached through, and the URL that leads there."""
    network = Network(postgres_url)
    yield network, await network.open()
    await network.close()


@pytest.fixture(params=["sqlite", "memory", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else "memory://"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
async def open_journal(url: str) -> AsyncIterator[OpenJournal]:
    """Opens the journal, once more each time; for what is in memory alone that is another, empty one."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Journal:
            return await stack.enter_async_context(await Journal.open(url, **options))

        yield open_one


@pytest.fixture
async def shared_journal(url: str, open_journal: OpenJournal) -> OpenJournal:
    if url == "memory://":
        pytest.skip("nobody else sees what is in this process's memory")
    return open_journal


@pytest.fixture
async def journal(open_journal: OpenJournal) -> Journal:
    return await open_journal()


def call(key: str, *inputs: str | Message, agent: str = "model", **fields: Any) -> StartedCall:
    messages = tuple(Message(one) if isinstance(one, str) else one for one in inputs)
    return StartedCall(key, fields.pop("parent", None), agent, inputs=messages, **fields)


async def record(run: RunJournal, started: StartedCall, *replies: str | Message, **fields: Any) -> None:
    await run.call_started(started)
    messages = [(Message(one) if isinstance(one, str) else one, None) for one in replies]
    await run.call_finished(started.key, messages, **fields)


StartProgram = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start_program() -> AsyncIterator[StartProgram]:
    """Starts a program, given as its source, in a process of its own that does not outlive the test."""
    started: list[asyncio.subprocess.Process] = []

    async def start(source: str, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        started.append(
            await asyncio.create_subprocess_exec(sys.executable, "-c", source, *arguments, stdout=pipe, stderr=pipe)
        )
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def collected(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@pytest.fixture(autouse=True, scope="session")
def a_new_connection_may_look_for_certificates(blocking_call_detector: BlockBuster) -> None:
    """What asyncpg does before it connects: it asks whether the files of a user's passwords and keys are there."""
    for function in blocking_call_detector.functions.values():
        function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_dsn_and_args", "_parse_connect_arguments"})


@pytest.fixture(autouse=True, scope="session")
def a_setting_may_be_looked_up_among_installed_packages(blocking_call_detector: BlockBuster) -> None:
    """What `MiniAgents(journal=...)` does when it is made, as a rule before there is a loop."""
    for function in blocking_call_detector.functions.values():
        function.can_block_in("miniagents/_interception.py", {"load_extensions"})


class Kept:
    """A journal that is there longer than the contexts that it is given to.

    Attributes:
        setting: what `MiniAgents(journal=...)` gets: a URL, or for what is in memory the journal itself.
        journal: to look into it; another connection than that of the contexts, where there can be one.
    """

    def __init__(self, setting: str | Journal, journal: Journal) -> None:
        self.setting = setting
        self.journal = journal

    def mini_agents(self, run_id: str = "r", **settings: Any) -> MiniAgents:
        return MiniAgents(journal=self.setting, run_id=run_id, **settings)

    async def calls(self, run_id: str = "r") -> list[CallRecord]:
        return await collected(self.journal.log(run_id))

    async def call(self, agent: str, run_id: str = "r") -> CallRecord:
        (found,) = [one for one in await self.calls(run_id) if one.agent == agent]
        return found

    async def states(self, run_id: str = "r") -> dict[str, str]:
        return {one.agent: one.state for one in await self.calls(run_id)}

    async def run(self, run_id: str = "r") -> RunRecord:
        (found,) = [one for one in await collected(self.journal.runs()) if one.run_id == run_id]
        return found

    async def texts(self, hashes: Iterable[str] | None) -> list[str]:
        assert hashes is not None
        return [str(await self.journal.show(one)) for one in hashes]


@pytest.fixture
async def kept(url: str, open_journal: OpenJournal) -> Kept:
    journal = await open_journal()
    return Kept(journal if url == "memory://" else url, journal)
