"""A server of Postgres that says nothing any more, without any error of the network."""

import asyncio
import time

import pytest

from miniagents.journal import Journal, JournalError, _postgres_connections
from miniagents.journal._silence import Silence
from tests.unit.journal.conftest import call, record
from tests.unit.journal.network import Network


async def test_a_server_that_says_nothing_is_told_of_and_the_journal_can_be_closed(
    network: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, url = network
    journal = await Journal.open(url, busy_timeout_s=0.1)
    run = await journal.begin_run("r")
    await record(run, call("k"), "done")
    monkeypatch.setattr(_postgres_connections, "SILENT_S", 0.1)
    monkeypatch.setattr(_postgres_connections, "RECONNECT_S", 0.2)
    wire.speaks.clear()

    async with asyncio.timeout(10):
        with pytest.raises(JournalError, match="The server does not answer"):
            await run.remember("what", 1)
        with pytest.raises(JournalError, match="The server"):
            await journal.close()


async def test_a_busy_event_loop_is_not_taken_for_a_silent_server() -> None:
    cuts: list[str] = []

    with Silence(lambda: cuts.append("cut"), 0.01, late_s=0.02) as silence:
        busy_until = time.monotonic() + 0.05
        while time.monotonic() < busy_until:
            pass
        await asyncio.sleep(0)
        assert not silence.was_cut
        async with asyncio.timeout(5):
            while not cuts:  # noqa: ASYNC110 - who cuts sets no event
                await asyncio.sleep(0)

    assert silence.was_cut
