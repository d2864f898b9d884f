"""Looking into a file that belongs to somebody else: nothing is left behind, and nothing needs to be written."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from miniagents.journal import Journal, JournalError, RunJournal
from tests.unit.journal.conftest import StartProgram, call, collected, record


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that anybody may enter, with the journal `runs.db` in it; both may be made read-only."""
    yield tmp_path
    tmp_path.chmod(0o755)


def files_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


async def write(run: RunJournal, key: str) -> None:
    await record(run, call(key), f"reply of {key}")


async def keys_seen(journal: Journal) -> list[str]:
    return [one.key for one in await collected(journal.log("r"))]


async def test_looking_leaves_no_file_behind(folder: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await write(await journal.begin_run("r"), "k")
    assert files_in(folder) == ["runs.db"]

    async with await Journal.open(sqlite_url, read_only=True) as looking:
        assert await keys_seen(looking) == ["k"]
        assert files_in(folder) == ["runs.db"]

    assert files_in(folder) == ["runs.db"]


async def test_who_looks_before_the_owner_writes_sees_what_is_written_and_is_in_nobodys_way(
    folder: Path, sqlite_url: str
) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await write(await journal.begin_run("r"), "before")

    async with await Journal.open(sqlite_url, read_only=True) as looking:
        assert await keys_seen(looking) == ["before"]
        async with await Journal.open(sqlite_url) as journal:
            run = await journal.begin_run("r")
            assert await keys_seen(looking) == ["before"]
            await write(run, "meanwhile")
            assert await keys_seen(looking) == ["before", "meanwhile"]
            await write(run, "last")
        # The owner has cleared away what was his.
        assert files_in(folder) == ["runs.db"]
        assert await keys_seen(looking) == ["before", "meanwhile", "last"]
    assert files_in(folder) == ["runs.db"]


async def test_who_waits_for_an_answer_while_he_only_looks_gets_it(sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await run.ask("approve", "Publish?")
        await run.end()

    async with await Journal.open(sqlite_url, read_only=True) as looking:
        waiting = asyncio.ensure_future(looking.wait_for_answer("r", "approve"))
        async with await Journal.open(sqlite_url) as journal:
            await journal.answer("r", "approve", "yes")
        assert (await waiting).answer == "yes"


async def test_what_was_committed_is_seen_where_the_index_of_the_log_is_missing(folder: Path, sqlite_url: str) -> None:
    copied = folder / "copied"
    copied.mkdir()
    async with await Journal.open(sqlite_url) as journal:
        await write(await journal.begin_run("r"), "k")
        await journal.flush()
        for ending in ("", "-wal"):
            shutil.copyfile(folder / f"runs.db{ending}", copied / f"runs.db{ending}")

    async with await Journal.open(f"sqlite:///{copied}/runs.db", read_only=True) as looking:
        assert await keys_seen(looking) == ["k"]

    assert files_in(copied) == ["runs.db", "runs.db-wal"]


LOOK = """
import asyncio, importlib.metadata, os, sys
from miniagents.journal import Journal
async def look(url):
    async with await Journal.open(url, read_only=True) as journal:
        print(*[run.run_id async for run in journal.runs()])
asyncio.run(look("sqlite:///" + sys.argv[2]))
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
asyncio.run(look("sqlite:///" + sys.argv[1]))
"""
"""Run by root it looks once as root, as others may not be allowed to load the package, and then as nobody."""


@pytest.mark.parametrize("state", ["ended", "going on"])
async def test_what_is_in_a_folder_that_one_may_only_read_is_read(
    tmp_path_factory: pytest.TempPathFactory, start_program: StartProgram, state: str
) -> None:
    folder = tmp_path_factory.mktemp("others")
    warm = tmp_path_factory.mktemp("own") / "warm.db"
    async with await Journal.open(f"sqlite:///{warm}") as journal:
        await journal.begin_run("own")
    # Down to there anybody may go.
    for above in (folder.parent, *folder.parent.parents[:2]):
        if above.stat().st_uid == os.geteuid() and above != Path("/tmp"):
            above.chmod(above.stat().st_mode | 0o011)
    async with await Journal.open(f"sqlite:///{folder}/runs.db") as journal:
        await write(await journal.begin_run("r"), "k")
        if state == "ended":
            await journal.close()
        before = files_in(folder)
        folder.chmod(0o555)
        told = await (await start_program(LOOK, str(folder / "runs.db"), str(warm))).communicate()
        folder.chmod(0o755)
        assert (told[0].decode().split(), told[1].decode()) == (["own", "r"], "")
        assert files_in(folder) == before


async def test_a_new_journal_in_memory_has_nothing_to_look_at() -> None:
    with pytest.raises(JournalError, match="leave out `read_only`"):
        await Journal.open("memory://", read_only=True)
