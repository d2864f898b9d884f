# ruff: noqa: W291 - the program is kept as it was printed
"""The text analysis program of the documentation that the vocabulary of `miniagents.events` keeps the promises of.

It is the program as it was printed, with nothing but the names of its imports changed; what is scripted is the model.
"""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from miniagents.events import AsyncDispatcher, BaseAsyncAgent
from miniagents.ext.llms import Prompt, Script, ScriptedAgent, register_provider
from miniagents.testing import run_with_virtual_clock

PROGRAM = """
import asyncio
from typing import List
from pydantic import BaseModel, Field

from miniagents.events import AsyncAggregatorAgent
from miniagents.events import BaseAsyncLLMAgent
from miniagents.events import BaseAsyncAgent
from miniagents.events import AsyncDispatcher
from miniagents.events import Event, TerminateEvent
from miniagents.events import LLMBroker
from miniagents.events import Router

# Define events
class TextEvent(Event):
    text: str

class AnalysisEvent(Event):
    analysis: str

class SummaryEvent(Event):
    summary: str

class CombinedResultEvent(Event):
    text: str
    analysis: str
    summary: str
    combined: str

# Define response models
class AnalysisResponse(BaseModel):
    analysis: str

class SummaryResponse(BaseModel):
    summary: str

class CombinedResponse(BaseModel):
    combined: str

# Define agents
class TextAnalyzerAgent(BaseAsyncLLMAgent):
    def __init__(self, llm: LLMBroker):
        super().__init__(
            llm=llm,
            behaviour="You are a text analysis assistant.",
            response_model=AnalysisResponse
        )

    async def receive_event_async(self, event: Event) -> List[Event]:
        if isinstance(event, TextEvent):
            prompt = f"Analyze this text: {event.text}"
            response = await self.generate_response(prompt)
            return [AnalysisEvent(
                source=type(self), 
                correlation_id=event.correlation_id, 
                analysis=response.analysis
            )]
        return []

class TextSummarizerAgent(BaseAsyncLLMAgent):
    def __init__(self, llm: LLMBroker):
        super().__init__(
            llm=llm,
            behaviour="You are a text summarization assistant.",
            response_model=SummaryResponse
        )

    async def receive_event_async(self, event: Event) -> List[Event]:
        if isinstance(event, TextEvent):
            prompt = f"Summarize this text: {event.text}"
            response = await self.generate_response(prompt)
            return [SummaryEvent(
                source=type(self), 
                correlation_id=event.correlation_id, 
                summary=response.summary
            )]
        return []

class ResultCombinerAgent(AsyncAggregatorAgent):
    def __init__(self, llm: LLMBroker):
        super().__init__(event_types_needed=[TextEvent, AnalysisEvent, SummaryEvent])
        self.llm = llm
        self.response_model = CombinedResponse

    async def process_events(self, events):
        text_event = next((e for e in events if isinstance(e, TextEvent)), None)
        analysis_event = next((e for e in events if isinstance(e, AnalysisEvent)), None)
        summary_event = next((e for e in events if isinstance(e, SummaryEvent)), None)

        if text_event and analysis_event and summary_event:
            # Combine the results
            combined = f"Original text: {text_event.text}\\n\\nAnalysis: {analysis_event.analysis}\\n\\nSummary: {summary_event.summary}"

            return [CombinedResultEvent(
                source=type(self),
                correlation_id=text_event.correlation_id,
                text=text_event.text,
                analysis=analysis_event.analysis,
                summary=summary_event.summary,
                combined=combined
            )]
        return []

class ResultOutputAgent(BaseAsyncAgent):
    async def receive_event_async(self, event: Event) -> List[Event]:
        if isinstance(event, CombinedResultEvent):
            print("\\n=== FINAL RESULT ===")
            print(event.combined)
            print("===================\\n")

            return [TerminateEvent(source=type(self), correlation_id=event.correlation_id)]
        return []

# Main function
async def main():
    # Initialize the LLM broker
    llm = LLMBroker(model="your-model-name")

    # Create a router and register agents
    router = Router()

    # Create agents
    analyzer = TextAnalyzerAgent(llm)
    summarizer = TextSummarizerAgent(llm)
    combiner = ResultCombinerAgent(llm)
    output_agent = ResultOutputAgent()

    # Register agents with the router
    router.add_route(TextEvent, analyzer)
    router.add_route(TextEvent, summarizer)
    router.add_route(TextEvent, combiner)
    router.add_route(AnalysisEvent, combiner)
    router.add_route(SummaryEvent, combiner)
    router.add_route(CombinedResultEvent, output_agent)

    # Create and start the dispatcher
    dispatcher = await AsyncDispatcher(router).start()

    # Create a text event
    text = "Your text to analyze and summarize"
    event = TextEvent(source="ExampleSource", text=text)

    # Dispatch the event
    dispatcher.dispatch(event)

    # Wait for all events to be processed
    await dispatcher.wait_for_empty_queue()

    # Stop the dispatcher
    await dispatcher.stop()

if __name__ == "__main__":
    asyncio.run(main())
"""

PRINTED = """
=== FINAL RESULT ===
Original text: Your text to analyze and summarize

Analysis: it is short

Summary: a text
===================

"""


class Model:
    """Takes half a second for an answer, and keeps the times of its calls."""

    def __init__(self) -> None:
        self.script = Script(self.answer, when_exhausted="repeat_last")
        self.calls: list[tuple[float, float]] = []

    def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        return self._answer(prompt)

    async def _answer(self, prompt: Prompt) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(0.5)
        self.calls.append((began, loop.time()))
        is_analysis = prompt.last_text.startswith("Analyze this text: ")
        yield json.dumps({"analysis": "it is short"} if is_analysis else {"summary": "a text"})


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    # A name without a prefix, as the program has it, is looked up at the provider that the environment names.
    monkeypatch.setenv("MINIAGENTS_PROVIDER", "rehearsal")
    model = Model()
    register_provider("rehearsal", ScriptedAgent.fork(script=model.script))
    return model


def the_program() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "text_analysis"}
    exec(compile(PROGRAM, "text_analysis.py", "exec"), names)
    return names


def test_the_text_analysis_prints_its_result_and_asks_the_model_twice_at_the_same_time(model: Model) -> None:
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        run_with_virtual_clock(the_program()["main"]())

    assert printed.getvalue() == PRINTED
    assert model.calls == [(0.0, 0.5), (0.0, 0.5)]
    assert {(prompt.system, prompt.last_text) for prompt in model.script.prompts} == {
        ("You are a text analysis assistant.", "Analyze this text: Your text to analyze and summarize"),
        ("You are a text summarization assistant.", "Summarize this text: Your text to analyze and summarize"),
    }


def test_the_text_analysis_runs_again_and_again_in_one_process(model: Model) -> None:
    program = the_program()
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        for _ in range(3):
            run_with_virtual_clock(program["main"]())

    assert printed.getvalue() == PRINTED * 3


def test_a_model_that_fails_ends_the_text_analysis_and_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MINIAGENTS_PROVIDER", "rehearsal")
    failing = Script(ConnectionError("no answer"), when_exhausted="repeat_last")
    register_provider("rehearsal", ScriptedAgent.fork(script=failing))
    printed = io.StringIO()
    began = time.monotonic()

    with contextlib.redirect_stdout(printed):
        run_with_virtual_clock(the_program()["main"]())

    assert printed.getvalue() == ""
    assert "ConnectionError" in caplog.text
    # The set of the combiner, which nothing will complete.
    assert "misses `AnalysisEvent`, `SummaryEvent`" in caplog.text
    assert time.monotonic() - began < 20


def test_agents_that_say_so_analyse_many_texts_with_all_model_calls_at_once(model: Model) -> None:
    names = SimpleNamespace(**the_program())

    class Output(BaseAsyncAgent):
        def __init__(self) -> None:
            self.texts: list[str] = []

        async def receive_event_async(self, event: Any) -> None:
            self.texts.append(event.text)

    async def main() -> list[str]:
        llm = names.LLMBroker(model="your-model-name")
        combiner, output = names.ResultCombinerAgent(llm), Output()
        router = names.Router()
        for kind in (names.TextAnalyzerAgent, names.TextSummarizerAgent):
            router.add_route(names.TextEvent, type(kind.__name__, (kind,), {"concurrent_events": None})(llm))
        for event_type in (names.TextEvent, names.AnalysisEvent, names.SummaryEvent):
            router.add_route(event_type, combiner)
        router.add_route(names.CombinedResultEvent, output)
        async with AsyncDispatcher(router, batch_size=20) as dispatcher:
            for number in range(20):
                dispatcher.dispatch(names.TextEvent(source="ExampleSource", text=f"text {number}"))
        assert dispatcher.dead_letters == ()
        return output.texts

    texts = run_with_virtual_clock(main())

    assert sorted(texts) == sorted(f"text {number}" for number in range(20))
    assert model.calls == [(0.0, 0.5)] * 40
