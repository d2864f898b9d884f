"""A model's answer that is cut off between two turns goes on behind those that were paid for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import ToolCallMessage
from miniagents.ext.llms.scripted import Script, ScriptedAgent, tool_call
from miniagents.journal import Journal

TURNS = {
    "Rome": "Take a hat.",
    "Paris": [tool_call("weather", {"city": "Rome"})],
    "trip": ["Let me ", "see. ", tool_call("weather", {"city": "Paris"})],
}


class Trip:
    """A model that asks for the weather in Paris and in Rome, and what it was asked."""

    def __init__(self, *, cut_off_in: str | None = None, weather: str = "sunny") -> None:
        self.script = Script(self.reply, when_exhausted="repeat_last")
        self.cut_off_in = cut_off_in
        self.weather = weather
        self.is_cut_off = asyncio.Event()
        self.visited: list[str] = []

    def reply(self, prompt: Any) -> Any:
        return next(turn for word, turn in TURNS.items() if word in prompt.last_text)

    async def tell(self, city: str) -> str:
        """Tell the weather."""
        self.visited.append(city)
        if city == self.cut_off_in:
            self.is_cut_off.set()
            await asyncio.Event().wait()
        return f"{self.weather} in {city}"

    def model(self, **settings: Any) -> MiniAgent:
        async def weather(city: str) -> str:
            return await self.tell(city)

        return ScriptedAgent.fork(model="m", script=self.script, tools=[weather], **settings)


async def cut_off(trip: Trip, url: str) -> None:
    """Ask, and end the context in the middle, as Ctrl-C does."""
    async with MiniAgents(journal=url, run_id="trip"):
        replies = trip.model().inquire("a trip")
        await trip.is_cut_off.wait()
        replies.cancel()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


async def test_the_turns_before_the_cut_are_not_asked_for_again(url: str) -> None:
    first, second = Trip(cut_off_in="Rome"), Trip()
    await cut_off(first, url)

    async with MiniAgents(journal=url, run_id="trip") as context:
        replies = second.model().inquire("a trip")
        tokens = [[token async for token in promise] async for promise in replies]
        requests = context.usage.total.requests

    assert len(first.script.prompts) == 2
    assert tokens[0] == ["Let me ", "see. "]
    assert [str(message) for message in await replies if not isinstance(message, ToolCallMessage)] == [
        "Let me see. ",
        "sunny in Paris",
        "sunny in Rome",
        "Take a hat.",
    ]
    assert second.visited == ["Rome"]
    assert len(second.script.prompts) == requests == 1


async def test_a_turn_counts_only_for_what_the_model_was_asked(url: str) -> None:
    await cut_off(Trip(cut_off_in="Rome"), url)
    changed = Trip()

    async with MiniAgents(journal=url, run_id="trip"):
        await changed.model(system="Be brief.").inquire("a trip")

    assert len(changed.script.prompts) == 3


async def test_without_a_journal_nothing_is_kept() -> None:
    for _ in range(2):
        trip = Trip()
        async with MiniAgents():
            await trip.model().inquire("a trip")
        assert len(trip.script.prompts) == 3


async def test_a_turn_that_cannot_be_kept_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from miniagents.journal import Journal, JournalError

    trip = Trip()
    async with await Journal.open(f"sqlite:///{tmp_path / 'runs.db'}") as journal:
        async with MiniAgents(journal=journal, run_id="trip"):
            run = journal._runs["trip"]

            async def remember(key: str, value: Any) -> Any:
                raise JournalError("there is no room left", place="here")

            run.remember = remember  # type: ignore[method-assign]
            replies = await trip.model().inquire("a trip")

    assert str(replies[-1]) == "Take a hat."
    assert "there is no room left" in caplog.text


async def used(url: str) -> tuple[int, int]:
    async with await Journal.open(url) as journal:
        (run,) = [run async for run in journal.runs()]
    return run.usage.requests, run.usage.output_tokens


async def test_what_was_used_before_the_cut_is_part_of_what_the_run_has_used(url: str, tmp_path: Path) -> None:
    whole_url = f"sqlite:///{tmp_path / 'whole.db'}"
    async with MiniAgents(journal=whole_url, run_id="trip"):
        await Trip().model().inquire("a trip")
    await cut_off(Trip(cut_off_in="Paris"), url)
    before_second_cut = await used(url)
    await cut_off(Trip(cut_off_in="Rome"), url)
    async with MiniAgents(journal=url, run_id="trip"):
        await Trip().model().inquire("a trip")

    assert before_second_cut[0] == 1
    assert await used(url) == await used(whole_url)


async def test_a_request_that_failed_counts_beside_the_one_that_took_its_place(url: str) -> None:
    answers = iter([ConnectionError("lost"), "It is well."])
    model = ScriptedAgent.fork(script=lambda _: [next(answers)])

    async with MiniAgents(journal=url, run_id="r"):
        with pytest.raises(ConnectionError):
            await model.inquire("How is it?")
    failed = await used(url)
    async with MiniAgents(journal=url, run_id="r"):
        await model.inquire("How is it?")
    both = await used(url)
    async with MiniAgents(journal=url, run_id="r"):
        await model.inquire("How is it?")

    assert (failed[0], both[0]) == (1, 2)
    assert await used(url) == both
