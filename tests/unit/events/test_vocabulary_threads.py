"""The synchronous `Dispatcher`, and how programs end that stop nothing."""

import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from miniagents.errors import DeadlockError
from miniagents.events import (
    BaseAgent,
    BusStoppedError,
    Dispatcher,
    Event,
    QueueFullError,
    RegistrationError,
    Router,
    SharedWorkingMemory,
    TerminateEvent,
    Tracer,
)
from tests.unit.events.some_agents import Failing, Recorder, router_of
from tests.unit.events.some_events import Number, Summary, Text


class Blocking(BaseAgent):
    """Waits for `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.got: list[Event] = []

    def receive_event(self, event: Event) -> None:
        self.begun.set()
        self.gate.wait(timeout=20)
        self.got.append(event)


def test_events_are_handled_in_a_thread_and_what_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    agent, after = Failing(lambda event: event.n == 1), Recorder()
    tracer, memory = Tracer(), SharedWorkingMemory()
    dispatcher = Dispatcher(router_of((Number, agent), (Text, after)), memory, 3, tracer)
    for n in range(12):
        dispatcher.dispatch(Number(n=n))
    dispatcher.dispatch(Text())

    assert dispatcher.wait_for_empty_queue() is True
    dispatcher.stop()

    assert len(agent.got) == 11
    assert len(after.got) == 1
    assert [letter.event for letter in dispatcher.dead_letters] == [Number(n=1)]
    assert (dispatcher.stats.handled, dispatcher.stats.dead) == (12, 1)
    assert "cannot handle" in caplog.text
    assert len(tracer.get_events("handled")) == 12
    assert dispatcher.shared_working_memory is memory


def test_a_stop_ends_the_thread_and_makes_dead_letters_of_what_is_queued() -> None:
    agent = Blocking()
    dispatcher = Dispatcher(router_of((Number, agent)))
    for n in range(5):
        dispatcher.dispatch(Number(n=n))
    agent.begun.wait(timeout=20)
    assert dispatcher.wait_for_empty_queue(timeout=0) is False
    stopping = threading.Thread(target=dispatcher.stop)
    stopping.start()
    agent.gate.set()
    stopping.join(timeout=20)

    assert len(agent.got) + len(dispatcher.dead_letters) == 5
    assert agent.got[0] == Number(n=0)
    assert not any(thread.name == "miniagents dispatcher" for thread in threading.enumerate())
    with pytest.raises(BusStoppedError):
        dispatcher.dispatch(Number())
    dispatcher.stop()
    assert dispatcher.wait_for_empty_queue() is True


def test_a_terminate_event_stops_it_and_a_block_drains_it() -> None:
    with Dispatcher(router_of((Text, Recorder(lambda _: TerminateEvent())))) as dispatcher:
        dispatcher.dispatch(Text())
        dispatcher.wait_for_empty_queue()
        with pytest.raises(BusStoppedError):
            dispatcher.dispatch(Text())

    agent = Recorder()
    with Dispatcher(router_of((Number, agent))) as dispatcher:
        for n in range(50):
            dispatcher.dispatch(Number(n=n))
    assert len(agent.got) == 50


def test_an_agent_that_exits_the_program_is_told_of_by_the_stop() -> None:
    class Exiting(Recorder):
        async def receive_event_async(self, event: Event) -> None:
            raise SystemExit(3)

    after = Recorder()
    dispatcher = Dispatcher(router_of((Text, Exiting()), (Number, after)))
    dispatcher.dispatch(Text())
    dispatcher.dispatch(Number())
    dispatcher.wait_for_empty_queue()

    assert len(after.got) == 1
    with pytest.raises(SystemExit):
        dispatcher.stop()


def test_agents_in_threads_may_dispatch_and_may_not_wait_for_their_own_end() -> None:
    errors: list[Any] = []

    class Agent(BaseAgent):
        def receive_event(self, event: Event) -> None:
            dispatcher.dispatch(Summary())
            for wait in (dispatcher.stop, dispatcher.wait_for_empty_queue):
                try:
                    wait()
                except DeadlockError as error:
                    errors.append(error)

    after = Recorder()
    with Dispatcher(router_of((Text, Agent()), (Summary, after))) as dispatcher:
        dispatcher.dispatch(Text())

    assert len(errors) == 2
    assert len(after.got) == 1


def test_an_agent_on_the_loop_may_dispatch_and_may_not_block_it() -> None:
    errors: list[Any] = []

    class Agent(Recorder):
        async def receive_event_async(self, event: Event) -> None:
            dispatcher.dispatch(Summary())
            for wait in (dispatcher.stop, dispatcher.wait_for_empty_queue):
                with pytest.raises(DeadlockError) as caught:
                    wait()
                errors.append(caught.value)

    after = Recorder()
    with Dispatcher(router_of((Text, Agent()), (Summary, after))) as dispatcher:
        dispatcher.dispatch(Text())

    assert len(errors) == 2
    assert len(after.got) == 1


def test_of_threads_that_dispatch_while_another_one_stops_none_waits_for_ever() -> None:
    agent = Recorder()
    dispatcher = Dispatcher(router_of((Number, agent)))
    taken, refused = [], []

    def dispatch_until_refused() -> None:
        try:
            while True:
                taken.append(dispatcher.dispatch(Number()))
        except BusStoppedError as error:
            refused.append(error)

    threads = [threading.Thread(target=dispatch_until_refused, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(taken) < 50:
        threads[0].join(timeout=0.001)
    dispatcher.stop()
    for thread in threads:
        thread.join(timeout=20)

    assert len(refused) == 4
    assert dispatcher.stats.received == dispatcher.stats.handled + dispatcher.stats.dead == len(taken)


def test_what_cannot_be_is_refused_where_it_is_given() -> None:
    with pytest.raises(RegistrationError, match="`batch_size`"):
        Dispatcher(Router(), batch_size=0)
    agent = Blocking()
    with Dispatcher(router_of((Number, agent)), max_pending=1) as dispatcher:
        dispatcher.dispatch(Number())
        agent.begun.wait(timeout=20)
        dispatcher.dispatch(Number())
        with pytest.raises(QueueFullError):
            for _ in range(3):
                dispatcher.dispatch(Number())
        with pytest.raises(TypeError, match="takes events"):
            dispatcher.dispatch("text")
        agent.gate.set()


PROGRAM_START = """
import asyncio, threading
from miniagents.events import *

class Text(Event): pass
class More(Event): pass

all_handled = asyncio.Event()

class Agent(BaseAsyncAgent):
    async def receive_event_async(self, event):
        # In real time, as threads are at work: the program's last line has been reached by then.
        await asyncio.sleep(0.05)
        print("handled", type(event).__name__, flush=True)
        if isinstance(event, More):
            all_handled.set()
        return [More()] if isinstance(event, Text) else []

class Blocking(BaseAgent):
    def receive_event(self, event):
        print("in a thread", type(event).__name__, flush=True)

class Hanging(BaseAgent):
    def receive_event(self, event):
        threading.Event().wait()

def routed(*agents):
    router = Router()
    for agent in agents:
        router.add_route(Text, agent)
        router.add_route(More, agent)
    return router
"""


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        (
            """
            async def main():
                dispatcher = await AsyncDispatcher(routed(Agent())).start()
                await dispatcher.dispatch(Text())
            asyncio.run(main())
            """,
            ["handled Text", "handled More"],
        ),
        (
            """
            async def main():
                dispatcher = await AsyncDispatcher(routed(Agent(), Hanging())).start()
                dispatcher.dispatch(Text())
                await all_handled.wait()
            asyncio.run(main())
            """,
            ["handled Text", "handled More"],
        ),
        (
            """
            dispatcher = Dispatcher(routed(Agent(), Blocking()))
            dispatcher.dispatch(Text())
            """,
            ["handled Text", "in a thread Text", "handled More", "in a thread More"],
        ),
        (
            """
            def main():
                Dispatcher(routed(Agent(), Blocking())).dispatch(Text())
            main()
            """,
            ["handled Text", "in a thread Text", "handled More", "in a thread More"],
        ),
    ],
    ids=[
        "async, when all is done",
        "async, in the middle of work",
        "in a thread, with everything to do",
        "in a thread, of a dispatcher that nobody holds",
    ],
)
def test_a_program_that_stops_nothing_ends_cleanly(body: str, printed: list[str]) -> None:
    program = PROGRAM_START + textwrap.dedent(body)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=25, check=False
    )

    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == sorted(printed)
    for trace_of_trouble in ("Traceback", "never awaited", "was destroyed", "Exception ignored"):
        assert trace_of_trouble not in done.stderr


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_flow_is_ended_from_the_thread_that_dispatched(end: str) -> None:
    agent, behind = Blocking(), Recorder()
    with Dispatcher(router_of((Number, agent), (Text, behind))) as dispatcher:
        running = dispatcher.dispatch(Number())
        assert agent.begun.wait(timeout=20)
        waiting = dispatcher.dispatch(Number())

        getattr(waiting, end)()
        getattr(waiting, end)()

        assert waiting.is_ended
        assert [letter.event for letter in waiting.errors] == [Number()]
        agent.gate.set()
        assert dispatcher.wait_for_empty_queue()
        assert running.errors == ()
        assert running.cancel() is False
        running.close()


def test_a_stopped_dispatcher_says_so_in_its_own_words() -> None:
    dispatcher = Dispatcher(Router({Text: [Recorder(lambda _: TerminateEvent())]}))
    dispatcher.dispatch(Text())
    dispatcher.wait_for_empty_queue()

    with pytest.raises(BusStoppedError, match=r"an agent returns a `TerminateEvent`, or make another dispatcher\.$"):
        dispatcher.dispatch(Text())
    dispatcher.stop()
