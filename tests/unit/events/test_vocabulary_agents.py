"""Aggregators, agents with models, and the broker that these ask."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import DeadlockError
from miniagents.events import (
    AsyncAggregatorAgent,
    AsyncDispatcher,
    BaseAggregatingAgent,
    BaseAsyncLLMAgent,
    BaseAsyncLLMAgentWithMemory,
    BaseLLMAgent,
    BusStoppedError,
    Event,
    JoinIncompleteError,
    LLMBroker,
    RegistrationError,
    Router,
    SharedWorkingMemory,
)
from miniagents.ext.llms import Script, ScriptedAgent, register_provider, tool_call
from miniagents.promising.errors import LoopIsRunningError
from tests.unit.events.some_agents import Aggregator, Answer, Asker, CountedModel, Recorder, broker, router_of, until
from tests.unit.events.some_events import Analysis, LongText, Number, Summary, Text, errors_of, task_switches

# -- aggregators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "text"),
    [
        (None, "must know which events it collects"),
        ([], "must know which events it collects"),
        ([Text, int], "no class of events"),
        ([Text, Text], "a class twice"),
    ],
    ids=["nothing", "an empty list", "no events", "twice"],
)
def test_an_aggregator_without_classes_of_events_is_an_error(types: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=f"`Aggregator`.*{text}|{text}"):
        Aggregator(types)


@pytest.mark.virtual_clock
async def test_a_set_that_takes_too_long_is_a_dead_letter_and_whoever_waits_for_it_is_told() -> None:
    agent = Aggregator([Text, Summary], timeout=5)
    async with AsyncDispatcher(router_of((Text, agent), (Summary, agent))) as dispatcher:
        dispatcher.dispatch(Text(correlation_id="x"))
        with pytest.raises(JoinIncompleteError, match=r"`timeout` of 5 s is over.*misses `Summary`"):
            await agent.wait_for_events("x")

        (letter,) = dispatcher.dead_letters
        assert isinstance(letter.error, JoinIncompleteError)
        assert letter.error.have == (Text(),)
        dispatcher.dispatch(Summary(correlation_id="x"))

    assert asyncio.get_running_loop().time() == pytest.approx(5)
    assert agent.sets == []


async def test_sets_of_ids_from_outside_stay_until_the_stop_and_are_dead_letters_then() -> None:
    agent = Aggregator([Text, Summary])
    async with AsyncDispatcher(router_of((Event, agent))) as dispatcher:
        for name in ("x", "y"):
            dispatcher.dispatch(Text(correlation_id=name))
        await dispatcher.wait_for_empty_queue()
        assert dispatcher.dead_letters == ()
        dispatcher.dispatch(Summary(correlation_id="y"))
        waiting = asyncio.create_task(agent.wait_for_events("z"))
        await task_switches()

    assert agent.sets == [[Text(), Summary()]]
    assert [letter.error.missing for letter in dispatcher.dead_letters] == [(Summary,)]
    assert dispatcher.stats.received == dispatcher.stats.handled + dispatcher.stats.dead
    with pytest.raises(BusStoppedError):
        await waiting


async def test_an_aggregator_takes_a_subclass_for_its_base_and_rather_the_very_class() -> None:
    agent = Aggregator([Text, LongText])
    async with AsyncDispatcher(router_of((Event, agent))) as dispatcher:
        for event in (LongText(text="long"), LongText(text="as a text")):
            dispatcher.dispatch(event.model_copy(update={"correlation_id": "x"}))

    assert agent.sets == [[LongText(text="as a text"), LongText(text="long")]]


async def test_an_aggregator_that_waits_for_itself_is_told_so() -> None:
    class SelfWaiting(Aggregator):
        async def receive_event_async(self, event: Event) -> Any:
            return await self.wait_for_events("x")

    async with AsyncDispatcher(router_of((Text, SelfWaiting([Text])))) as dispatcher:
        flow = dispatcher.dispatch(Text())

    assert [type(error) for error in errors_of(flow)] == [DeadlockError]


@pytest.mark.virtual_clock
async def test_an_agent_may_wait_for_the_events_of_an_aggregator_with_a_batch_size_of_one() -> None:
    aggregator = Aggregator([Summary, Analysis])

    class Waiting(Recorder):
        async def receive_event_async(self, event: Event) -> None:
            self.got.append(await aggregator.wait_for_events("x", timeout=60))

    waiting = Waiting()
    routes = router_of((Text, waiting), (Summary, aggregator), (Analysis, aggregator))
    async with AsyncDispatcher(routes, batch_size=1) as dispatcher:
        for event in (Text(), Summary(), Analysis()):
            dispatcher.dispatch(event.model_copy(update={"correlation_id": "x"}))

    assert waiting.got == [[Summary(), Analysis()]]


async def test_an_aggregator_that_blocks_processes_its_sets_in_a_thread() -> None:
    class Blocking(BaseAggregatingAgent):
        def process_events(self, events: list[Any]) -> Event:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return Number(n=len(events))

    agent, after = Blocking([Text, Summary]), Recorder()
    routes = router_of((Text, agent), (Summary, agent), (Number, after))
    async with AsyncDispatcher(routes) as dispatcher:
        for event in (Text(), Summary(), Text()):
            dispatcher.dispatch(event.model_copy(update={"correlation_id": "x"}))

    assert after.got == [Number(n=2)]
    assert [type(letter.error) for letter in dispatcher.dead_letters] == [JoinIncompleteError]


# -- the broker --------------------------------------------------------------------------------------------------------


def test_a_plain_program_gets_texts_and_objects() -> None:
    llm = broker("well", '{"text": "fine"}', '{"text": "again"}')

    assert llm.generate([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]) == "well"
    assert llm.generate_object("Hi", object_model=Answer) == Answer(text="fine")
    assert llm.generate_object(messages="Hi", object_model=Answer, temperature=1.0).text == "again"


async def test_in_a_coroutine_the_blocking_calls_say_what_to_write() -> None:
    with pytest.raises(LoopIsRunningError, match=r"await llm\.agenerate\(\.\.\.\)"):
        broker("well").generate("Hi")
    with pytest.raises(LoopIsRunningError, match=r"await llm\.agenerate_object\(\.\.\.\)"):
        broker("well").generate_object("Hi", Answer)

    assert await broker("well").agenerate("Hi") == "well"
    assert await broker('{"text": "fine"}').agenerate_object("Hi", Answer) == Answer(text="fine")


async def test_options_that_somebody_chose_reach_the_agent_and_the_others_are_left_to_the_provider() -> None:
    seen: list[dict[str, Any]] = []

    @miniagent
    async def gateway(ctx: InteractionContext, model: str, **options: Any) -> None:
        seen.append({"model": model, **options})
        ctx.reply("well")

    llm = LLMBroker("my model", gateway=gateway)
    await llm.agenerate("Hi")
    await llm.agenerate("Hi", temperature=0.1, max_tokens=7, num_ctx=1)
    await llm.agenerate("Hi", num_predict=9)

    assert seen == [
        {"model": "my model"},
        {"model": "my model", "temperature": 0.1, "max_tokens": 7},
        {"model": "my model", "max_tokens": 9},
    ]


async def test_a_name_of_a_model_is_looked_up_as_model_agent_does() -> None:
    register_provider("rehearsed", ScriptedAgent.fork(script=Script("registered", when_exhausted="repeat_last")))

    assert await LLMBroker(model="rehearsed:any").agenerate("Hi") == "registered"


def test_a_gateway_that_is_no_agent_and_a_model_that_is_none_are_refused() -> None:
    with pytest.raises(RegistrationError, match="`gateway` is an agent"):
        LLMBroker("a model", gateway=object())
    with pytest.raises(RegistrationError, match=r"`tracer` of `LLMBroker` is a `Tracer` \(a tokenizer is not needed"):
        LLMBroker("a model", None, object())
    with pytest.raises(RegistrationError, match="`llm` is an `LLMBroker`"):
        BaseAsyncLLMAgent("a model")


async def test_what_a_model_says_before_it_calls_a_tool_is_no_part_of_the_answer() -> None:
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"rain in {city}"

    llm = broker(["Let me see. ", tool_call("weather", {"city": "Rome"})], "It rains.")

    assert await llm.agenerate("How is it?", tools=[weather]) == "It rains."


# -- agents with models ------------------------------------------------------------------------------------------------


async def test_an_agent_asks_with_its_behaviour_and_may_have_tools_and_a_response_model_together() -> None:
    asked: list[str] = []

    def look_up(word: str) -> str:
        """Look a word up."""
        asked.append(word)
        return "found"

    script = Script([tool_call("look_up", {"word": "moon"})], '{"text": "fine"}')
    llm = LLMBroker("rehearsal", gateway=ScriptedAgent.fork(script=script))
    agent = Asker(llm, behaviour="Be brief.", response_model=Answer)
    agent.add_tool(look_up)
    async with AsyncDispatcher(router_of((Text, agent))) as dispatcher:
        dispatcher.dispatch(Text(text="question"))

    assert agent.answers == [Answer(text="fine")]
    assert asked == ["moon"]
    assert (script.prompts[0].system, script.prompts[0].last_text) == ("Be brief.", "Asked: question")


async def test_without_a_response_model_the_answer_is_a_text_and_llm_may_be_an_agent() -> None:
    agent = BaseAsyncLLMAgent(ScriptedAgent.fork(script="a text"))

    assert await agent.generate_response("Hi") == "a text"
    async with MiniAgents():
        assert await agent.generate_response("Hi") == "a text"


async def test_agents_with_memory_tell_the_model_what_is_known_and_lose_nothing_of_each_others() -> None:
    class Reply(BaseModel):
        text: str

    async def learn(prompt: Any) -> Any:
        await asyncio.sleep(0)
        number = prompt.last_text[-1]
        yield json.dumps({"text": "ok", "memory": {"facts": {number: f"fact {number}"}}})

    script = Script(learn, when_exhausted="repeat_last")
    memory = SharedWorkingMemory({"facts": {"0": "fact 0"}})
    llm = LLMBroker("rehearsal", gateway=ScriptedAgent.fork(script=script))
    agents = [BaseAsyncLLMAgentWithMemory(llm, memory, "Be brief.", "Learn.", Reply) for _ in range(3)]

    answers = await asyncio.gather(*(agent.generate_response(f"Learn {n}") for n, agent in enumerate(agents, 1)))

    assert memory.get_working_memory() == {"facts": {str(n): f"fact {n}" for n in range(4)}}
    assert all(isinstance(answer, Reply) for answer in answers)
    assert '"fact 0"' in script.prompts[0].last_text
    assert "Learn." in script.prompts[0].last_text


@pytest.mark.parametrize("dispatched", [False, True], ids=["alone", "in a dispatcher"])
def test_a_blocking_agent_asks_its_model(dispatched: bool) -> None:
    class Blocking(BaseLLMAgent):
        def receive_event(self, event: Event) -> list[Event]:
            return [Summary(text=self.generate_response("Hi").text)]

    agent, after = Blocking(broker('{"text": "fine"}'), response_model=Answer), Recorder()

    async def main() -> None:
        async with AsyncDispatcher(router_of((Text, agent), (Summary, after))) as dispatcher:
            dispatcher.dispatch(Text())

    if dispatched:
        asyncio.run(main())
        assert after.got == [Summary(text="fine")]
    else:
        assert agent.receive_event(Text()) == [Summary(text="fine")]


@pytest.mark.virtual_clock
async def test_cancelling_a_blocking_agent_ends_the_model_call_that_its_thread_waits_for() -> None:
    model = CountedModel(seconds=60)

    class Blocking(BaseLLMAgent):
        def receive_event(self, event: Event) -> None:
            self.generate_response("Hi")

    async with AsyncDispatcher(router_of((Text, Blocking(model.broker())))) as dispatcher:
        flow = dispatcher.dispatch(Text())
        await until(lambda: model.running)
        flow.cancel()
        await dispatcher.wait_for_empty_queue()
        await until(lambda: not model.running)

    assert model.given_up == 1


@pytest.mark.parametrize("timeout", [-1, "x", float("nan")])
async def test_an_aggregator_is_waited_for_as_long_as_a_number_says(timeout: Any) -> None:
    with pytest.raises(RegistrationError, match="`timeout` of `wait_for_events` is a number of seconds, zero or more"):
        await Aggregator([Text, Summary]).wait_for_events("an id", timeout)


async def test_nobody_waits_for_a_set_of_a_dispatcher_that_was_stopped() -> None:
    class Both(AsyncAggregatorAgent):
        async def process_events(self, events: list[Event]) -> list[Event]:
            return []

    both = Both([Text, Number])
    router = Router({Text: [both], Number: [both]})
    async with AsyncDispatcher(router) as dispatcher:
        dispatcher.dispatch(Text(correlation_id="whole"))
        dispatcher.dispatch(Number(correlation_id="whole"))
        dispatcher.dispatch(Text(correlation_id="half"))
        await dispatcher.wait_for_empty_queue()

    with pytest.raises(BusStoppedError, match="'half': the dispatcher was stopped"):
        await both.wait_for_events("half")
    assert len(await both.wait_for_events("whole")) == 2
    async with AsyncDispatcher(router) as dispatcher:
        waiting = asyncio.create_task(both.wait_for_events("again"))
        await task_switches()
        dispatcher.dispatch(Text(correlation_id="again"))
        dispatcher.dispatch(Number(correlation_id="again"))
        assert len(await waiting) == 2
