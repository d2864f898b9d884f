"""In a context with a journal each run of a handler is recorded as a call, below the call that its event comes from."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, MessagePromise, MiniAgents, miniagent
from miniagents.errors import NoJournalError
from miniagents.events import DeadLetter, EventBus
from miniagents.ext.llms import Prompt, ScriptedAgent
from miniagents.journal import CallRecord, Journal
from tests.unit.events.some_events import Analysis, Event, Number, Summary, Text, errors_of, task_switches


class StillComing(Event):
    text: MessagePromise


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    async with await Journal.open("memory://") as opened:
        yield opened


def run_of(journal: Journal) -> MiniAgents:
    return MiniAgents(journal=journal, run_id="monday")


async def calls_of(journal: Journal) -> list[CallRecord]:
    return [call async for call in journal.log("monday")]


async def tree_of(journal: Journal) -> list[str]:
    """Give each call as its name and those of all above it."""
    calls = {call.key: call for call in await calls_of(journal)}

    def path(call: CallRecord) -> str:
        return call.agent if call.parent is None else f"{path(calls[call.parent])} > {call.agent}"

    return sorted(path(call) for call in calls.values())


async def ask_model(asked: list[str], text: str) -> str:
    def answer(prompt: Prompt) -> str:
        asked.append(prompt.last_text)
        return "an answer"

    return str(await ScriptedAgent.inquire(text, script=answer).as_single_promise())


async def test_the_log_of_a_run_is_the_causal_tree_of_its_flows(journal: Journal) -> None:
    async with run_of(journal), EventBus() as bus:

        @bus.on(Text)
        async def analyze(ctx: Any, event: Text) -> None:
            await ask_model([], event.text)
            ctx.reply(Analysis(text=event.text))
            await ctx.bus.emit(Number())

        @bus.on(Text)
        @miniagent
        async def summarize(ctx: InteractionContext) -> None:
            ctx.reply(Summary())

        @bus.join(Analysis, Summary)
        async def both(ctx: Any, analysis: Analysis, summary: Summary) -> None: ...

        @bus.on(Summary)
        async def fails(ctx: Any, event: Summary) -> None:
            raise ValueError("no")

        @bus.on(DeadLetter)
        async def mourn(ctx: Any, letter: DeadLetter) -> None: ...

        @bus.on(Number)
        async def count(ctx: Any, event: Number) -> None: ...

        await bus.emit(Text(text="a"))

    paths = await tree_of(journal)
    assert [path for path in paths if not path.endswith("both")] == [
        "SUMMARIZE",
        "SUMMARIZE > fails",
        "SUMMARIZE > fails > mourn",
        "analyze",
        "analyze > SCRIPTED_AGENT",
        "analyze > count",
    ]
    # Below the one whose event made it complete.
    assert {"analyze > both", "SUMMARIZE > both"} & set(paths)


async def test_a_call_has_the_event_the_replies_the_error_and_beside_them_the_stamps(journal: Journal) -> None:
    async with run_of(journal), EventBus() as bus:

        @bus.on(Text)
        async def analyze(ctx: Any, event: Text) -> None:
            ctx.reply(Analysis(text="b"))
            ctx.reply("and a text")

        @bus.on(Analysis)
        async def fails(ctx: Any, event: Analysis) -> None:
            raise ValueError("no")

        flow = bus.emit(Text(text="a", source="shop", correlation_id="17"))
        await flow

    text, analysis = flow.events[:2]
    first, second = await calls_of(journal)
    assert (first.agent, first.state, first.inputs) == ("analyze", "finished", (text.hash_key,))
    assert [str(await journal.show(reply)) for reply in first.replies] == [str(analysis), "and a text"]
    assert (second.state, second.error.type, second.error.text) == ("failed", "builtins.ValueError", "no")
    assert second.inputs == (analysis.hash_key,)
    for call, event in ((first, text), (second, analysis)):
        beside = await journal.show(call.settings)
        assert [stamps.as_kwargs() for stamps in beside.stamps] == [event.stamps]
        assert beside.flow_id == flow.id


async def test_a_resumed_run_asks_no_model_again_and_does_nothing_twice_that_is_done_once(journal: Journal) -> None:
    asked: list[str] = []
    done: list[str] = []
    keys: list[list[str]] = [[], []]

    async def program(attempt: int) -> list[Any]:
        async with EventBus() as bus:

            @bus.on(Number)
            async def work(ctx: Any, event: Number) -> None:
                keys[attempt].append(await ctx.call_key())
                await ctx.once("pay", done.append, f"paid {event.n}")
                ctx.reply(Text(text=await ask_model(asked, f"question {event.n}")))

            @bus.on(Text)
            async def check(ctx: Any, event: Text) -> None:
                await ask_model(asked, "is it good?")
                if attempt == 0:
                    raise KeyError("the first attempt ends here")
                ctx.reply(Summary(text="good"))

            # Two of equal content: what is below them must not be mixed up.
            flows = [bus.emit(Number(n=n)) for n in (1, 1, 2)]
            return [[type(message).__name__ for message in await flow] for flow in flows]

    async with run_of(journal):
        assert await program(0) == [["Number", "Text", "DeadLetter"]] * 3
    asked_first, done_first = list(asked), list(done)
    async with run_of(journal):
        assert await program(1) == [["Number", "Text", "Summary"]] * 3

    assert sorted(asked_first) == ["is it good?"] * 3 + ["question 1"] * 2 + ["question 2"]
    assert sorted(done_first) == ["paid 1", "paid 1", "paid 2"]  # the handlers run at the same time
    assert (asked, done) == (asked_first, done_first)
    assert sorted(keys[0]) == sorted(keys[1])
    assert len(set(keys[0])) == 3
    states = [(call.agent, call.state, call.attempts) for call in await calls_of(journal) if "AGENT" not in call.agent]
    assert sorted(states) == [("check", "finished", 2)] * 3 + [("work", "finished", 2)] * 3


async def test_a_run_that_was_abandoned_in_the_middle_of_a_handler_goes_on_there(journal: Journal) -> None:
    asked: list[str] = []
    is_waiting, hours = asyncio.Event(), asyncio.Event()

    async def program() -> str:
        async with EventBus() as bus:

            @bus.on(Text)
            async def work(ctx: Any, event: Text) -> None:
                answer = await ask_model(asked, "first")
                is_waiting.set()
                await hours.wait()
                ctx.reply(Summary(text=answer + await ask_model(asked, "second")))

            return (await bus.ask(Text(), Summary)).text

    async def abandoned() -> None:
        async with run_of(journal):
            await program()

    task = asyncio.create_task(abandoned())
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked == ["first"]
    hours.set()

    async with run_of(journal):
        assert await program() == "an answeran answer"

    assert asked == ["first", "second"]


async def test_equal_calls_of_handlers_that_are_at_work_at_the_same_time_are_each_one_s_own(journal: Journal) -> None:
    def program(order: list[str]) -> Any:
        async def run() -> dict[str, str]:
            got: dict[str, str] = {}
            gates = {name: asyncio.Event() for name in "ab"}
            async with EventBus() as bus:

                @bus.on(Text)
                async def work(ctx: Any, event: Text) -> None:
                    await gates[event.text].wait()
                    got[event.text] = await ctx.once("name", lambda: f"made for {event.text}")
                    same = await ScriptedAgent.inquire(
                        "?", script=lambda _: f"said to {event.text}"
                    ).as_single_promise()
                    got[event.text] += f", {same}"

                for name in "ab":
                    bus.emit(Text(text=name))
                for name in order:
                    gates[name].set()
                    await task_switches(200)
            return got

        return run()

    async with run_of(journal):
        first = await program(["a", "b"])
    async with run_of(journal):
        second = await program(["b", "a"])

    assert first == second == {"a": "made for a, said to a", "b": "made for b, said to b"}


async def test_a_durable_agent_that_is_a_handler_gives_its_events_back_with_stamps_of_their_own(
    journal: Journal,
) -> None:
    executed: list[int] = []

    async def program() -> list[tuple[str | None, str | None]]:
        async with EventBus() as bus:

            @bus.on(Number)
            @miniagent(durable=True)
            async def answer(ctx: InteractionContext) -> None:
                executed.append(1)
                ctx.reply(Text(text="a", correlation_id="mine", source="me"))
                ctx.reply(Text(text="b"))

            flow = bus.emit(Number())
            await flow
            return [(event.correlation_id and event.correlation_id[:4], event.source) for event in flow.events[1:]]

    async with run_of(journal):
        first = await program()
    async with run_of(journal):
        second = await program()

    assert executed == [1]
    assert first[0] == second[0] == ("mine", "me")
    assert first[1][1] == second[1][1] == "ANSWER"


async def test_an_event_whose_field_is_still_coming_is_known_by_the_rest(journal: Journal) -> None:
    asked: list[str] = []

    async def program() -> None:
        async with EventBus() as bus:

            @bus.on(Number)
            async def tell(ctx: Any, event: Number) -> None:
                story = ScriptedAgent.inquire("a story", script=lambda prompt: asked.append("story") or "once")
                ctx.reply(StillComing(text=story.as_single_promise()))

            @bus.on(StillComing)
            async def listen(ctx: Any, event: StillComing) -> None:
                ctx.reply(Summary(text=str(await event.text) + await ask_model(asked, "is it long?")))

            @bus.on(StillComing)
            @miniagent
            async def listen_too(ctx: InteractionContext) -> None:
                [event] = await ctx.message_promises
                ctx.reply(Text(text=str(await event.text)))

            flow = bus.emit(Number())
            await flow
            assert {message.text for message in flow.events[2:]} == {"once", "oncean answer"}

    for _ in range(2):
        async with run_of(journal):
            await program()

    assert sorted(asked) == ["is it long?", "story"]
    assert [(call.agent, call.attempts) for call in await calls_of(journal) if call.agent == "listen"] == [
        ("listen", 2)
    ]


async def test_a_handler_that_waits_for_a_person_takes_no_place(journal: Journal) -> None:
    async with run_of(journal), EventBus(max_concurrency=1) as bus:

        @bus.on(Text)
        async def release(ctx: Any, event: Text) -> None:
            ctx.reply(Summary(text=await ctx.ask("Publish?", key="publish")))

        @bus.on(Number)
        async def count(ctx: Any, event: Number) -> None: ...

        flow = bus.emit(Text())
        await bus.emit(Number())
        await task_switches()
        await journal.answer("monday", "publish", "yes")
        assert (await flow)[-1] == Summary(text="yes")


async def test_without_a_journal_its_methods_say_what_to_do(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            for call in (ctx.call_key(), ctx.ask("?"), ctx.once("a", list)):
                with pytest.raises(NoJournalError, match="needs a journal"):
                    await call

        flow = bus.emit(Text())
        await flow

    assert errors_of(flow) == []
