"""An event is a frozen message with stamps beside its content."""

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, PrivateAttr, ValidationError

from miniagents import Message, MessagePromise, MessageSequencePromise, MiniAgents
from miniagents.events import DeadLetter, Event, EventBus, RegistrationError, RestoredError, UnresolvedEventError
from miniagents.ext.llms import AssistantMessage
from miniagents.message_sequence import MessageSequence
from tests.unit.events.some_events import LongText, Text


class Rich(Event):
    data: bytes = b""
    at: datetime | None = None
    price: Decimal = Decimal(0)
    took: timedelta = timedelta()
    many: tuple[int, ...] = ()
    inner: Event | None = None
    message: Message | None = None
    anything: Any = None


class StreamedNote(Event):
    text: MessagePromise


def streamed(*tokens: str) -> MessagePromise:
    async def give(_: dict[str, Any]) -> AsyncIterator[str]:
        for token in tokens:
            await asyncio.sleep(0)
            yield token

    return Message.promise(message_token_streamer=give)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="txt"):
        Text(txt="typo")


@pytest.mark.parametrize("name", ["text", "id", "correlation_id", "causation_id", "source"])
def test_nothing_of_an_event_can_be_set(name: str) -> None:
    event = Text(text="a")

    with pytest.raises(ValidationError, match="frozen"):
        setattr(event, name, "b")


def test_a_missing_field_and_one_of_the_wrong_type_are_refused() -> None:
    class Strict(Event):
        text: str
        n: int = 0

    with pytest.raises(ValidationError, match="text"):
        Strict()
    with pytest.raises(ValidationError, match="n"):
        Strict(text="a", n="many")


def test_an_event_has_no_stamps_before_a_bus_took_it() -> None:
    event = Text(text="a")

    assert (event.id, event.correlation_id, event.causation_id, event.source) == (None, None, None, None)
    assert event.stamps == {}


def test_the_content_can_be_given_by_position() -> None:
    assert str(Text("hello")) == "hello"


def test_a_class_as_source_is_kept_by_its_qualified_name() -> None:
    assert Text(source=Rich).source == f"{__name__}.Rich"
    assert Text(source="me").source == "me"


def test_events_of_equal_content_are_equal_whatever_their_stamps() -> None:
    one, other = Text(text="a", id="1", source="x"), Text(text="a", correlation_id="2")

    assert one == other
    assert hash(one) == hash(other)
    assert one.hash_key == other.hash_key
    assert one.serialize() == other.serialize()
    assert one != Text(text="b", id="1", source="x")


def test_an_event_of_another_class_is_another_event() -> None:
    assert Text(text="a") != LongText(text="a")


def test_json_gives_an_equal_event_with_equal_stamps() -> None:
    event = Text(text="ä", id="1", correlation_id="2", causation_id="3", source="4")

    again = Text.model_validate_json(event.model_dump_json())

    assert again == event
    assert again.stamps == event.stamps == {"id": "1", "correlation_id": "2", "causation_id": "3", "source": "4"}


def test_json_of_all_kinds_of_values_gives_an_equal_event() -> None:
    event = Rich(
        data=b"\xff\x00",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        price=Decimal("1.10"),
        took=timedelta(seconds=90.5),
        many=[1, 2],
        inner=LongText(text="x", id="7"),
        message=AssistantMessage("hi"),
        anything={"a": [1, {"b": None}]},
    )

    again = Event.model_validate_json(event.model_dump_json(indent=2))

    assert again == event
    assert type(again.inner) is LongText
    assert again.inner.id == "7"
    assert again.hash_key == event.hash_key


def test_a_dead_letter_goes_through_json_with_what_its_error_said() -> None:
    letter = DeadLetter(event=Text(text="a", id="1"), handler="h", error=ValueError("no"), attempt=2)

    again = DeadLetter.model_validate_json(letter.model_dump_json())

    assert again == letter
    assert again.event.id == "1"
    assert isinstance(again.error, RestoredError)
    assert str(again.error) == "ValueError: no"


def test_json_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="object"):
        Text.model_validate_json("[1]")
    with pytest.raises(ValidationError, match="nonsense"):
        Text.model_validate_json('{"nonsense": 1}')


def test_json_is_always_whole() -> None:
    with pytest.raises(TypeError, match="exclude"):
        Text().model_dump_json(exclude={"text"})


def test_a_field_named_like_a_stamp_is_refused() -> None:
    with pytest.raises(RegistrationError, match="`source`"):

        class Bad(Event):
            source: str


def test_a_stamp_is_a_string() -> None:
    with pytest.raises(TypeError, match="`id`"):
        Text(id=3)


def test_copies_keep_the_stamps() -> None:
    event = Text(text="a", id="1")

    assert event.model_copy(update={"text": "b"}).stamps == {"id": "1"}
    assert event.model_copy(update={"id": "2"}).stamps == {"id": "2"}
    assert pickle.loads(pickle.dumps(event)).stamps == {"id": "1"}
    assert copy.deepcopy(event).stamps == {"id": "1"}


async def test_an_event_is_a_whole_pydantic_model_before_and_after_a_bus_took_it(mini_agents: MiniAgents) -> None:
    event = Text(text="a")

    async with EventBus() as bus:
        bus.on(Text)(nothing)
        (delivered,) = await bus.emit(event)

    for one in (event, delivered):
        assert one.model_extra is None
        assert one.model_fields_set == {"class_"}
        assert one.model_dump() == {"class_": "Text", "content": None, "content_template": None, "text": "a"}
        assert repr(one) == "Text(class_='Text', content=None, content_template=None, text='a')"
        assert pickle.loads(pickle.dumps(one)).stamps == one.stamps
    with pytest.raises(AttributeError, match="nonsense"):
        _ = delivered.nonsense


def test_an_event_that_was_constructed_without_validation_has_no_stamps() -> None:
    assert Text.model_construct(text="a").stamps == {}


async def test_what_is_kept_on_an_event_beside_its_fields_goes_with_the_copy(mini_agents: MiniAgents) -> None:
    class Noted(Event):
        _note: str = PrivateAttr(default="nothing yet")

    event = Noted()
    assert event._note == "nothing yet"
    event._note = "seen"

    async with EventBus() as bus:
        bus.on(Noted)(nothing)
        (delivered,) = await bus.emit(event)

    assert delivered._note == "seen"
    assert delivered.id
    assert delivered.hash_key == Noted().hash_key


async def test_the_bus_stamps_a_copy_and_leaves_the_callers_object_as_it_is(mini_agents: MiniAgents) -> None:
    event = Text(text="a", correlation_id="given", source="me")

    async with EventBus() as bus:
        bus.on(Text)(nothing)
        (delivered,) = await bus.emit(event)

    assert delivered == event
    assert event.id is None
    assert delivered.id
    assert delivered.correlation_id == "given"
    assert delivered.source == "me"


async def test_a_reply_is_stamped_with_its_cause_and_who_sent_it(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def shorten(ctx: Any, event: Text) -> None:
            ctx.reply(Rich())

        bus.on(Rich)(nothing)
        text, rich = await bus.emit(Text())

    assert rich.causation_id == text.id
    assert rich.correlation_id == text.correlation_id == text.id
    assert rich.source == "shorten"
    assert rich.id not in (None, text.id)


async def test_an_event_that_is_emitted_again_is_the_cause_of_its_copy(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        bus.on(Text)(nothing)
        (first,) = await bus.emit(Text())
        (second,) = await bus.emit(first)

    assert second.id != first.id
    assert second.causation_id == first.id
    assert second.correlation_id == first.correlation_id


async def test_a_pending_promise_in_a_field_has_no_json_until_it_is_resolved(mini_agents: MiniAgents) -> None:
    event = StreamedNote(text=streamed("a", "b"), id="1")

    assert not event.is_resolved
    for need in (event.model_dump_json, event.serialize, lambda: event.hash_key, lambda: event.full_json):
        with pytest.raises(UnresolvedEventError, match=r"await event\.resolved\(\)"):
            need()
    before = hash(event)

    assert await event.resolved() is event

    assert event == StreamedNote(text="ab")
    assert hash(event) == before == hash(StreamedNote(text="ab"))
    assert event.hash_key == StreamedNote(text="ab").hash_key
    again = StreamedNote.model_validate_json(event.model_dump_json())
    assert again == event
    assert str(await again.text) == "ab"
    assert again.id == "1"


async def test_a_promise_that_failed_raises_its_own_error_when_the_event_is_resolved(mini_agents: MiniAgents) -> None:
    async def fail(_: dict[str, Any]) -> AsyncIterator[str]:
        raise ValueError("no tokens")
        yield ""

    event = StreamedNote(text=Message.promise(message_token_streamer=fail))

    with pytest.raises(ValueError, match="no tokens"):
        await event.resolved()


async def test_a_field_may_be_a_promise_of_a_sequence(mini_agents: MiniAgents) -> None:
    class Many(Event):
        messages: MessageSequencePromise

    event = Many(messages=MessageSequence.turn_into_sequence_promise(["a", streamed("b")]))

    await event.resolved()

    assert event == Many(messages=["a", "b"])
    assert Many.model_validate_json(event.model_dump_json()) == event


async def nothing(ctx: Any, event: Event) -> None:
    pass


def test_the_stamps_of_an_event_inside_of_a_model_go_through_json() -> None:
    class Envelope(BaseModel):
        event: Text

    event = Text(text="a", id="1", correlation_id="2", source="me")

    envelope = Envelope.model_validate_json(Envelope(event=event).model_dump_json())

    assert envelope.event == event
    assert envelope.event.stamps == event.stamps
    assert Text.model_validate(event.model_dump(mode="json")).stamps == event.stamps


def test_an_event_with_bytes_in_a_dict_goes_through_json() -> None:
    class Files(Event):
        contents: dict[str, bytes]

    event = Files(contents={"a": b"\xff"})

    assert Files.model_validate_json(event.model_dump_json()) == event


def test_stamps_can_be_left_out_of_json_as_fields_can_and_are_no_part_of_other_dumps() -> None:
    event = Text(text="a", id="1", source="me")
    rest = {"class_", "content", "content_template"}

    assert event.model_dump(mode="json", include={"text", "id"}) == {"text": "a", "id": "1"}
    assert event.model_dump(mode="json", exclude={"id", *rest}) == {"text": "a", "source": "me"}
    assert event.model_dump(exclude=rest) == {"text": "a"}


@pytest.mark.parametrize("source", [5, object(), ["a"]], ids=["number", "object", "list"])
def test_a_source_is_a_string_or_a_class(source: object) -> None:
    with pytest.raises(TypeError, match="`source` of an event is a string or a class, not"):
        Text(source=source)
