"""What a program gets when its journal fails, or is not what it should be."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.journal import (
    Journal,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    RunBusyError,
    UnstorableValueError,
)
from tests.unit.journal.conftest import Kept, OpenJournal, collected
from tests.unit.journal.programs import asking, leaf, texts


async def test_a_run_that_another_one_holds_is_refused_before_anything_runs(
    kept: Kept, shared_journal: OpenJournal
) -> None:
    did: list[str] = []
    other = await shared_journal()
    await other.begin_run("r")

    async def main() -> None:
        did.append("main")

    with pytest.raises(RunBusyError, match="'r' is being worked on by process"):
        await kept.mini_agents().arun(main())
    with pytest.raises(RunBusyError):
        async with kept.mini_agents():
            did.append("block")

    assert did == []


async def test_a_run_that_is_taken_over_fails_the_next_call_of_who_had_it_and_nothing_is_interleaved(
    kept: Kept, shared_journal: OpenJournal, caplog: pytest.LogCaptureFixture
) -> None:
    await shared_journal()
    did: list[str] = []
    began, taken_over = asyncio.Event(), asyncio.Event()

    @miniagent
    async def first(ctx: InteractionContext) -> None:
        ctx.reply(await leaf(did, "BEFORE").inquire("x"))
        began.set()
        await taken_over.wait()
        ctx.reply(await leaf(did, "AFTER").inquire("x"))

    with pytest.raises(RunBusyError, match="taken over"):
        async with kept.mini_agents():
            fenced = first.inquire("go")
            await began.wait()
            async with kept.mini_agents(on_busy_run="fence"):
                await leaf(did, "SECOND").inquire("x")
            taken_over.set()
            await fenced

    assert await kept.states() == {"FIRST": "started", "BEFORE": "finished", "SECOND": "finished"}
    assert (await kept.run()).state == "finished"
    assert "The journal failed: The run 'r' was taken over" in caplog.text
    assert "goes on" not in caplog.text


async def test_a_locked_file_is_waited_for_and_then_an_error(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, busy_timeout_s=0.05) as journal:
        connection = sqlite3.connect(tmp_path / "runs.db")
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLockedError, match=r"runs\.db"):
            async with MiniAgents(journal=journal):
                pass
        connection.close()


async def test_a_journal_that_is_for_reading_only_records_nothing(tmp_path: Path, sqlite_url: str) -> None:
    await (await Journal.open(sqlite_url)).close()
    async with await Journal.open(sqlite_url, read_only=True) as journal:
        with pytest.raises(JournalError, match="reading only"):
            async with MiniAgents(journal=journal):
                pass


@miniagent(durable=True)
async def large(ctx: InteractionContext) -> None:
    told = str(await ctx.message_promises.as_single_promise())
    ctx.reply(told * 300_000)


async def test_the_result_is_not_lost_where_the_disk_is_full_and_the_log_says_so_once(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Journal.open(sqlite_url, max_bytes=200_000) as journal:
        async with MiniAgents(journal=journal, run_id="r", on_store_error="report"):
            for letter in "abc":
                assert await texts(asking(large).inquire(letter)) == [letter * 300_000]
        recorded = await collected(journal.log("r"))
        told = [[str(await journal.show(one)) for one in call.inputs or ()] for call in recorded]
        # What is there fits together: a reply that had no room is not half there.
        assert [(call.agent, call.state, call.replies) for call in recorded] == [
            ("BOSS", "started", ()), ("LARGE", "started", ()),
        ] * 3  # fmt: skip
        assert told == [["a"], ["a"], ["b"], ["b"], ["c"], ["c"]]
        with pytest.raises(JournalError, match="There is no message"):
            await journal.show(Message("a" * 300_000).hash_key)
    lines = [line for line in caplog.text.splitlines() if "no room left" in line]
    assert len(lines) == 1
    assert "the program goes on" in lines[0]


async def test_a_full_disk_is_raised_where_that_is_wanted(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with await Journal.open(sqlite_url, max_bytes=200_000) as journal:
        with pytest.raises(JournalError, match="no room left"):
            async with MiniAgents(journal=journal, run_id="r", on_store_error="raise"):
                await large.inquire("a")

    assert "Traceback" not in caplog.text


async def test_a_connection_that_is_lost_in_the_middle_of_a_run_is_made_again(postgres_url: str) -> None:
    import asyncpg

    url = f"{postgres_url}&application_name={postgres_url.partition('search_path=')[2]}"
    did: list[str] = []
    async with MiniAgents(journal=url, run_id="r"):
        await leaf(did).inquire("before")
        server = await asyncpg.connect(postgres_url)
        ended = await server.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND application_name = current_schema()"
        )
        await server.close()
        assert ended
        await leaf(did).inquire("after")

    async with await Journal.open(postgres_url) as journal:
        assert [one.state for one in await collected(journal.log("r"))] == ["finished", "finished"]


@pytest.mark.parametrize("column", ["body", "kinds"])
async def test_a_doctored_row_executes_nothing(tmp_path: Path, sqlite_url: str, column: str) -> None:
    did: list[str] = []

    @miniagent(durable=True)
    async def worker(ctx: InteractionContext) -> None:
        did.append("worked")
        ctx.reply(Message("the answer is 42", number=42))

    async with MiniAgents(journal=sqlite_url, run_id="r"):
        (answer,) = await worker.inquire("x")
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute(
        "UPDATE journal_messages SET body = replace(body, '42', '43') WHERE hash = ?"
        if column == "body"
        else "DELETE FROM journal_messages WHERE hash = ?",
        (answer.hash_key,),
    )
    connection.commit()
    connection.close()

    async with MiniAgents(journal=sqlite_url, run_id="r"):
        with pytest.raises(JournalCorruptError, match=answer.hash_key) as raised:
            await worker.inquire("x")

    assert raised.value.row == f"message {answer.hash_key}"
    assert did == ["worked"]


@pytest.fixture
def unstorable() -> Iterator[Message]:
    """A message of whose class one could not tell later which it was, as another one has its name."""

    class Twice(Message):
        pass

    first = Twice

    class Twice(Message):
        __qualname__ = "elsewhere.Twice"

    yield first("it")
    assert Twice is not first


@pytest.mark.parametrize("is_leaf", [True, False], ids=["leaf", "no leaf"])
async def test_input_that_cannot_be_stored_fails_the_call_and_names_the_field(
    kept: Kept, unstorable: Message, is_leaf: bool
) -> None:
    did: list[str] = []

    async with kept.mini_agents():
        with pytest.raises(UnstorableValueError, match=r"`inputs\[1\]` cannot be stored: two classes"):
            await leaf(did, durable=is_leaf).inquire(["fine", unstorable])

    assert did == []


@pytest.mark.parametrize("durability", ["step", "lazy", "end"])
async def test_a_reply_that_cannot_be_stored_fails_the_call_that_made_it(
    kept: Kept, unstorable: Message, durability: str
) -> None:
    @miniagent(durable=True)
    async def broken(ctx: InteractionContext) -> None:
        ctx.reply(["fine", unstorable])

    async with kept.mini_agents(durability=durability):
        with pytest.raises(UnstorableValueError, match=r"`replies\[1\]` cannot be stored: two classes"):
            await broken.inquire("x")

    assert (await kept.call("BROKEN")).state != "finished"


async def test_what_nobody_waits_for_and_cannot_be_stored_is_raised_at_the_end(
    kept: Kept, unstorable: Message, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent
    async def broken(ctx: InteractionContext) -> None:
        ctx.reply(["fine", unstorable])

    with pytest.raises(UnstorableValueError, match=r"`replies\[1\]` cannot be stored: two classes"):
        async with kept.mini_agents():
            assert await texts(broken.inquire("x")) == ["fine", "it"]

    assert caplog.text.count("`replies[1]` cannot be stored") == 1
    assert (await kept.call("BROKEN")).state == "started"


async def test_an_error_of_the_store_is_told_in_each_run(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with await Journal.open(sqlite_url, max_bytes=200_000) as journal:
        context = MiniAgents(journal=journal)
        for letter in "ab":
            async with context:
                assert await texts(large.inquire(letter)) == [letter * 300_000]

    assert caplog.text.count("no room left") == 2


@pytest.mark.parametrize("is_read", [True, False], ids=["only its tokens are read", "kicked off"])
async def test_what_cannot_be_stored_is_raised_at_the_end_where_nobody_has_received_that(
    kept: Kept, unstorable: Message, caplog: pytest.LogCaptureFixture, is_read: bool
) -> None:
    @miniagent(durable=True)
    async def broken(ctx: InteractionContext) -> None:
        ctx.reply(unstorable)

    with pytest.raises(ExceptionGroup) as raised:
        async with kept.mini_agents():
            if is_read:
                assert [[token async for token in promise] async for promise in broken.inquire("x")] == [["it"]]
            else:
                broken.kick_off("x")

    assert [type(error) for error in raised.value.exceptions] == [UnstorableValueError]
    assert caplog.text.count("`replies[0]` cannot be stored") == 1


@pytest.mark.parametrize("durability", ["step", "lazy"])
async def test_what_comes_after_an_error_of_the_store_is_recorded_again(
    tmp_path: Path, sqlite_url: str, durability: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Journal.open(sqlite_url, busy_timeout_s=0.05) as journal:
        async with MiniAgents(journal=journal, run_id="r", durability=durability):
            connection = sqlite3.connect(tmp_path / "runs.db")
            connection.execute("BEGIN IMMEDIATE")
            await leaf([], "LOCKED_OUT").inquire("x")
            with contextlib.suppress(JournalError):
                await journal.flush()
            connection.close()
            await leaf([], "AFTERWARDS").inquire("x")
        found = {one.agent: one.state for one in await collected(journal.log("r"))}

    assert found.get("AFTERWARDS") == "finished"
    assert "locked for too long" in caplog.text
