"""Which handler gets which event, how often, and in which order."""

import asyncio
import functools
from dataclasses import dataclass
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import NotAMessageError
from miniagents.events import DeadLetter, Event, EventBus, RegistrationError
from tests.unit.events.some_events import Analysis, LongText, Number, Summary, Text, errors_of, kinds


async def seen_by(bus: EventBus, *events: Event) -> list[str]:
    """The names of all events that a handler of everything gets."""
    seen: list[str] = []

    @bus.on(Event)
    async def everything(ctx: Any, event: Event) -> None:
        seen.append(type(event).__name__)

    for event in events:
        await bus.emit(event)
    return seen


async def test_a_handler_gets_events_of_its_class_and_of_subclasses(mini_agents: MiniAgents) -> None:
    got: list[Event] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            got.append(event)

        bus.emit(Text(text="a"))
        bus.emit(LongText(text="b"))
        bus.on(Analysis)(handler_of_nothing)
        bus.emit(Analysis())

    assert got == [Text(text="a"), LongText(text="b")]


async def test_a_handler_of_the_base_class_gets_everything_dead_letters_included(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError

        assert await seen_by(bus, Text(), Number()) == ["Text", "DeadLetter", "Number"]


async def test_a_handler_gets_an_event_once_however_many_of_its_classes_fit(mini_agents: MiniAgents) -> None:
    got: list[Event] = []

    async def handler(ctx: Any, event: Event) -> None:
        got.append(event)

    async with EventBus() as bus:
        bus.on(Text, LongText)(handler)
        bus.on(Event)(handler)
        bus.on(LongText, when=lambda event: True)(handler)
        await bus.emit(LongText())

    assert len(got) == 1


async def test_a_second_registration_counts_where_the_condition_of_the_first_does_not_hold(
    mini_agents: MiniAgents,
) -> None:
    got: list[Event] = []

    async def handler(ctx: Any, event: Event) -> None:
        got.append(event)

    async with EventBus() as bus:
        bus.on(Number, when=lambda event: event.n > 5)(handler)
        bus.on(Number, when=lambda event: event.n < 9)(handler)
        for n in (1, 7, 10):
            await bus.emit(Number(n=n))

    assert [event.n for event in got] == [1, 7, 10]


async def test_a_predicate_decides_who_gets_an_event(mini_agents: MiniAgents) -> None:
    got: list[int] = []
    async with EventBus() as bus:

        @bus.on(Number, when=lambda event: event.n % 2)
        async def odd(ctx: Any, event: Number) -> None:
            got.append(event.n)

        for n in range(5):
            bus.emit(Number(n=n))

    assert got == [1, 3]


async def test_a_predicate_that_fails_makes_a_dead_letter_and_the_other_handlers_get_the_event(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus() as bus:
        bus.on(Number, when=lambda event: 1 / event.n)(handler_of_nothing)

        @bus.on(Number)
        async def other(ctx: Any, event: Number) -> None:
            ctx.reply(Text())

        flow = bus.emit(Number(n=0))
        assert "Text" in await kinds(flow)

    (letter,) = flow.errors
    assert isinstance(letter.error, ZeroDivisionError)
    assert (letter.handler, letter.attempt) == ("handler_of_nothing", 0)


async def test_handlers_begin_in_the_order_of_registration_and_of_events(mini_agents: MiniAgents) -> None:
    began: list[str] = []
    async with EventBus() as bus:
        for name in "ab":

            @bus.on(Number)
            async def handler(ctx: Any, event: Number, name: str = name) -> None:
                began.append(f"{name}{event.n}")
                await asyncio.sleep(0)

        for n in range(3):
            bus.emit(Number(n=n))

    assert began == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_a_handler_that_was_taken_off_gets_nothing_more(mini_agents: MiniAgents) -> None:
    got: list[int] = []

    async def handler(ctx: Any, event: Number) -> None:
        got.append(event.n)

    async with EventBus() as bus:
        bus.on(Number)(handler)
        bus.on(Event)(handler_of_nothing)
        await bus.emit(Number(n=1))
        bus.off(handler)
        await bus.emit(Number(n=2))

        with pytest.raises(RegistrationError, match="not registered"):
            bus.off(handler)

    assert got == [1]


async def test_a_bound_method_and_an_agent_can_be_taken_off(mini_agents: MiniAgents) -> None:
    class Service:
        count = 0

        async def handle(self, ctx: Any, event: Number) -> None:
            self.count += 1

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Text())

    service = Service()
    async with EventBus() as bus:
        bus.on(Number)(service.handle)
        bus.on(Number)(agent)
        bus.on(Text)(handler_of_nothing)
        bus.off(service.handle)
        bus.off(agent)
        bus.on(Number)(handler_of_nothing)

        assert await kinds(bus.emit(Number())) == ["Number"]

    assert service.count == 0


async def test_a_handler_that_is_registered_later_gets_later_events(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        bus.on(Number)(handler_of_nothing)
        await bus.emit(Number())

        @bus.on(Number)
        async def late(ctx: Any, event: Number) -> None:
            ctx.reply("here")

        assert await kinds(bus.emit(Number())) == ["Number", "Message"]


async def test_registering_gives_the_handler_back(mini_agents: MiniAgents) -> None:
    bus = EventBus()

    assert bus.on(Text)(handler_of_nothing) is handler_of_nothing
    assert bus.join(Text, Analysis)(handler_of_two) is handler_of_two


# -- what is refused -----------------------------------------------------------------------------------------------------


async def no_event(ctx: Any) -> None: ...


def not_async(ctx: Any, event: Event) -> None: ...


async def async_predicate(event: Event) -> bool:
    return True


@pytest.mark.parametrize(
    ("register", "says"),
    [
        (lambda bus: bus.on(Text)(no_event), "takes no event"),
        (lambda bus: bus.on(Text)(not_async), "not async"),
        (lambda bus: bus.on(Text)(Text), "not async"),
        (lambda bus: bus.on(Text)(None), "not async"),
        (lambda bus: bus.on()(handler_of_nothing), "needs a class of events"),
        (lambda bus: bus.on(str), "classes of events, and <class 'str'> is none"),
        (lambda bus: bus.on("Text"), "'Text' is none"),
        (lambda bus: bus.on(Text()), "classes of events"),
        (lambda bus: bus.on(Text, when=Analysis)(handler_of_nothing), "not the class `Analysis`"),
        (lambda bus: bus.on(Text, when="n > 3")(handler_of_nothing), "`when` of `handler_of_nothing`"),
        (lambda bus: bus.on(Text, when=async_predicate)(handler_of_nothing), "not async"),
        (lambda bus: bus.on(Text, when=lambda: True)(handler_of_nothing), "called with the event"),
        (lambda bus: bus.on(Text, key=3)(handler_of_nothing), "`key`"),
        (lambda bus: bus.on(Text, concurrency=0)(handler_of_nothing), "at least 1, not 0"),
        (lambda bus: bus.on(Text, concurrency=True)(handler_of_nothing), "`concurrency`"),
        (lambda bus: bus.on(Text, retries=-1)(handler_of_nothing), "at least 0, not -1"),
        (lambda bus: bus.on(Text, timeout=0)(handler_of_nothing), "more than zero, not 0"),
        (lambda bus: bus.on(Text, backoff_s=-1)(handler_of_nothing), "`backoff_s`"),
        (lambda bus: bus.join(Text, Analysis)(handler_of_nothing), "not the 2 events of this join"),
        (lambda bus: bus.join()(handler_of_nothing), "needs a class of events"),
        (lambda bus: bus.join(Text, Text), "each class once"),
        (lambda bus: bus.join(Text, duplicates="all"), "'first', 'last' or 'list', not 'all'"),
        (lambda bus: bus.join(Text, count=0), "`count`"),
        (lambda bus: bus.on(Text | Analysis), "is none: `@bus.on(Text, Analysis)`"),
        (lambda bus: bus.on([Text, Analysis]), "is none: `@bus.on(Text, Analysis)`"),
        (lambda bus: bus.on((Text, Analysis)), "is none: `@bus.on(Text, Analysis)`"),
        (lambda bus: bus.join((Text, Analysis)), "is none: `@bus.join(Text, Analysis)`"),
        (lambda bus: bus.set_types(handler_of_nothing, Text()), "Give its class: `bus.set_types(handler, Text)`"),
        (lambda bus: bus.join(Text, timeout=-1), "`timeout`"),
        (lambda bus: bus.join(Text, on_timeout=not_async), "not async"),
        (lambda _: EventBus(max_concurrency=0), "`max_concurrency` of `EventBus`"),
        (lambda _: EventBus(max_pending=0), "`max_pending`"),
        (lambda _: EventBus(drain_timeout_s=-1), "`drain_timeout_s`"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_the_fix(register: Any, says: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        register(EventBus())

    assert says in str(caught.value)


def test_a_partial_and_a_callable_object_can_be_handlers() -> None:
    class Callable:
        async def __call__(self, ctx: Any, event: Event) -> None: ...

    async def with_option(ctx: Any, event: Event, option: int) -> None: ...

    bus = EventBus()
    bus.on(Text)(Callable())
    bus.on(Text)(functools.partial(with_option, option=3))


async def test_what_is_no_event_cannot_be_emitted(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        with pytest.raises(TypeError, match="'hello' is none"):
            bus.emit("hello")
        with pytest.raises(TypeError, match="is none"):
            await bus.publish(DeadLetter)
        with pytest.raises(RegistrationError, match="is none"):
            await bus.ask(Text(), str)


async def test_a_reply_that_can_be_no_message_fails_the_handler_and_nothing_is_sent(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            ctx.reply([Analysis(), 3])

        flow = bus.emit(Text())
        assert await kinds(flow) == ["Text", "DeadLetter"]

    assert [type(error) for error in errors_of(flow)] == [NotAMessageError]


async def handler_of_nothing(ctx: Any, event: Event) -> None: ...


async def handler_of_two(ctx: Any, text: Text, analysis: Summary) -> None: ...


@pytest.mark.parametrize("wanted", [(Text, Analysis), Text | Analysis], ids=["tuple", "union"])
async def test_asking_for_several_classes_says_how_to_ask_for_either(mini_agents: MiniAgents, wanted: Any) -> None:
    async with EventBus() as bus:
        with pytest.raises(RegistrationError, match=r"are several \(Text, Analysis\).*`bus.ask\(event, Outcome\)`"):
            await bus.ask(Text(), wanted)


async def test_equal_handlers_that_are_two_are_both_called(mini_agents: MiniAgents) -> None:
    @dataclass
    class Handler:
        n: int

        async def __call__(self, ctx: Any, event: Text) -> None:
            called.append(self)

    called: list[Handler] = []
    one, two = Handler(1), Handler(1)
    async with EventBus() as bus:
        bus.on(Text)(one)
        bus.on(Event)(one)
        bus.on(Text)(two)
        await bus.emit(Text())

    assert [id(handler) for handler in called] == [id(one), id(two)]
