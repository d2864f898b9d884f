"""A setting that means nothing with the journal that is given says so, and is not silently left aside."""

from pathlib import Path
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.errors import UnknownSettingError
from miniagents.journal import Journal
from miniagents.journal.cassette import Cassette


@pytest.mark.parametrize("fsync", [True, False])
async def test_fsync_belongs_to_where_the_journal_is_opened(journal: Journal, fsync: bool) -> None:
    with pytest.raises(UnknownSettingError, match=rf"`fsync={fsync}` .*Journal\.open\(\.\.\., fsync={fsync}\)"):
        MiniAgents(journal=journal, fsync=fsync)

    MiniAgents(journal=journal, durability="lazy", on_busy_run="fence")


@pytest.mark.parametrize(
    ("name", "value"), [("fsync", True), ("durability", "lazy"), ("durability", "step"), ("on_busy_run", "fence")]
)
@pytest.mark.parametrize("is_object", [False, True], ids=["path", "Cassette"])
def test_what_is_for_databases_is_refused_with_a_cassette(
    tmp_path: Path, name: str, value: Any, is_object: bool
) -> None:
    path = tmp_path / "c.jsonl"
    cassette = Cassette(path) if is_object else str(path)

    with pytest.raises(
        UnknownSettingError, match=rf"`{name}={value!r}` is for .* database, .*c\.jsonl.*Leave `{name}`"
    ):
        MiniAgents(journal=cassette, **{name: value})

    MiniAgents(journal=cassette, run_id="r", on_store_error="raise")
