"""Cassettes: what becomes of a full one where the program that records it again fails midway."""

from pathlib import Path
from typing import Literal

import pytest

from miniagents import Message, MiniAgents
from miniagents.journal.cassette import Cassette
from tests.unit.journal.conftest import call
from tests.unit.journal.test_cassette import content, made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "greeting.jsonl"


async def half_recorded(path: Path, state: Literal["failed", "interrupted"]) -> None:
    run = await Cassette(path, "record").begin_run()
    await made(run, call("1", "one"), lambda: Message("new"))
    await run.end(state)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
async def test_a_program_that_fails_while_it_records_again_leaves_the_cassette_as_it_was(
    path: Path, state: Literal["failed", "interrupted"], caplog: pytest.LogCaptureFixture
) -> None:
    run = await Cassette(path, "record").begin_run()
    for text in ("one", "two"):
        await made(run, call(text, text), lambda: Message("old"))
    await run.end()
    whole = content(path)

    await half_recorded(path, state)

    assert content(path) == whole
    beside = path.with_name(f"{path.stem}.failed.jsonl")
    assert await made(await Cassette(beside, "replay").begin_run(), call("1", "one")) == "new"
    assert f"{path} stays as it was; what was recorded until then is in {beside}" in caplog.text


async def test_a_program_that_fails_while_it_records_for_the_first_time_is_recorded(path: Path) -> None:
    await half_recorded(path, "failed")

    assert await made(await Cassette(path, "replay").begin_run(), call("1", "one")) == "new"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


async def test_a_cassette_that_has_replaced_its_file_goes_on_doing_so_where_a_later_run_fails(path: Path) -> None:
    await half_recorded(path, "failed")
    shared = Cassette(path, "record")
    for text, state in (("a", "finished"), ("b", "failed")):
        run = await shared.begin_run()
        await made(run, call(text, text), lambda: Message("new"))
        await run.end(state)

    replayed = await Cassette(path, "replay").begin_run()
    assert [await made(replayed, call(text, text)) for text in ("a", "b")] == ["new", "new"]


async def test_the_context_of_a_program_that_fails_keeps_the_cassette(path: Path) -> None:
    await half_recorded(path, "failed")
    before = content(path)

    with pytest.raises(RuntimeError, match="in the middle"):
        async with MiniAgents(journal=str(path), mode="record"):
            raise RuntimeError("in the middle")

    assert content(path) == before
