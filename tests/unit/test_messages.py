"""`Message`, and its references to other messages."""

import hashlib
import json

import pytest
from pydantic import BaseModel, ValidationError

from miniagents import Frozen, Message, MiniAgents
from tests.unit.custom_messages import CustomMessage

# -- messages ------------------------------------------------------------------------------------------------------------


def test_a_message_is_its_content() -> None:
    message = Message("Hello")

    assert (message.content, str(message), message.as_string) == ("Hello", "Hello", "Hello")


def test_content_may_be_named() -> None:
    assert Message(content="Hello") == Message("Hello")


def test_any_further_field_is_kept() -> None:
    message = Message("Hello", mood="good", scores=[1, 2], nested={"a": 1})

    assert message.mood == "good"  # pyright: ignore
    assert message["scores"] == (1, 2)
    assert message["nested"]["a"] == 1


def test_a_subclass_has_typed_fields() -> None:
    message = CustomMessage("Hello", custom_field="Custom Value")

    assert (message.content, message.custom_field, message.class_) == ("Hello", "Custom Value", "CustomMessage")
    with pytest.raises(ValidationError, match="custom_field"):
        CustomMessage("Hello")
    with pytest.raises(ValidationError, match="custom_field"):
        CustomMessage("Hello", custom_field=["no", "text"])


def test_a_template_is_formatted_with_the_messages_own_fields() -> None:
    message = Message(content_template="{greeting}, {name}!", greeting="Hello", name="World")

    assert str(message) == "Hello, World!"
    assert message.content is None


def test_content_wins_over_a_template() -> None:
    assert str(Message("content", content_template="template")) == "content"


def test_empty_content_is_content() -> None:
    assert str(Message("", content_template="template")) == ""
    assert str(Message("")) == ""


def test_without_content_and_template_a_message_shows_as_json_in_a_fenced_block() -> None:
    text = str(Message(answer=42, names=["a", "b"]))

    first, *body, last = text.split("\n")
    assert (first, last) == ("```json", "```")
    shown = json.loads("\n".join(body))
    assert shown["answer"] == 42
    assert shown["names"] == ["a", "b"]


@pytest.mark.parametrize("field", ["content", "mood", "new_field"])
def test_a_message_cannot_be_changed(field: str) -> None:
    message = Message("Hello", mood="good")

    with pytest.raises(ValidationError):
        setattr(message, field, "other")

    assert message == Message("Hello", mood="good")


def test_a_field_that_cannot_be_frozen_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="attachment"):
        Message("Hello", attachment=object())


def test_equal_means_same_class_and_same_content() -> None:
    assert Message("a", x=1, y=2) == Message("a", y=2, x=1)
    assert hash(Message("a", x=1)) == hash(Message("a", x=1))
    assert Message("a") != Message("b")
    assert Message("a", custom_field="x") != CustomMessage("a", custom_field="x")


def test_the_fast_way_of_making_text_messages_makes_the_same_messages() -> None:
    # A plain text that is sent becomes a message without validation, which must not show.
    async def resolve() -> Message:
        return (await _echo_of("Hello"))[0]

    async def _echo_of(text: str) -> tuple[Message, ...]:
        from miniagents import MessageSequence

        return await MessageSequence.turn_into_sequence_promise(text)

    made = MiniAgents().run(resolve())

    assert made == Message("Hello")
    assert made.hash_key == Message("Hello").hash_key
    assert made.full_json == Message("Hello").full_json
    assert repr(made) == repr(Message("Hello"))
    assert made.model_dump() == Message("Hello").model_dump()
    assert made.model_copy(update={"content": "Bye"}).content == "Bye"


# -- references ----------------------------------------------------------------------------------------------------------


def test_a_nested_message_is_serialized_as_its_hash_key() -> None:
    inner = Message("inner")

    assert Message("outer", other=inner).serialize() == {
        "class_": "Message",
        "content": "outer",
        "content_template": None,
        "other__hash_key": inner.hash_key,
    }


def test_a_tuple_of_messages_is_serialized_as_their_hash_keys_and_stays_a_tuple() -> None:
    first, second = Message("1"), Message("2")

    serialized = Message("outer", others=[first, second]).serialize()

    assert serialized["others__hash_keys"] == (first.hash_key, second.hash_key)
    assert "others" not in serialized


def test_other_values_among_nested_messages_stay_as_they_are() -> None:
    inner = Message("inner")

    serialized = Message("outer", mixed=["text", inner, 3, None, ["deeper", inner]]).serialize()

    assert serialized["mixed__hash_keys"] == ("text", inner.hash_key, 3, None, ("deeper", inner.hash_key))


def test_messages_inside_of_nested_objects_are_replaced_too() -> None:
    inner = Message("inner")

    serialized = Message("outer", box={"deeper": {"message": inner, "messages": [inner]}}).serialize()

    assert serialized["box"]["deeper"]["message__hash_key"] == inner.hash_key
    assert serialized["box"]["deeper"]["messages__hash_keys"] == (inner.hash_key,)


def test_sequences_stay_tuples_when_serialized() -> None:
    assert Message(numbers=[1, [2, 3]]).serialize()["numbers"] == (1, (2, 3))


def test_a_message_that_is_not_nested_keeps_its_plain_fields() -> None:
    assert Message("a", x=1).serialize() == {"class_": "Message", "content": "a", "content_template": None, "x": 1}


def test_the_hash_key_of_a_message_follows_from_those_inside_it() -> None:
    def outer(text: str) -> Message:
        return Message("outer", inner=Message("middle", inner=Message(text)))

    assert outer("a").hash_key == outer("a").hash_key
    assert outer("a").hash_key != outer("b").hash_key


@pytest.mark.parametrize("text", ["", 'a "quoted" one', "back\\slash \n\t\x00\x7f", "\u2028 \U0001f600 \u00e9"])
def test_a_plain_text_is_serialized_as_any_other_message_is(text: str) -> None:
    message = Message(text)

    assert message.serialized == json.dumps(message.serialize(), sort_keys=True, ensure_ascii=False)


def test_the_hash_key_is_the_sha256_of_the_sorted_json() -> None:
    message = Message("Grüße", inner=Message("x"), n=1)

    text = json.dumps(message.serialize(), ensure_ascii=False, sort_keys=True)

    assert message.hash_key == hashlib.sha256(text.encode()).hexdigest()[:40]


def test_a_field_that_looks_like_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="other__hash_key"):
        Message("a", other__hash_key="0" * 40)
    with pytest.raises(ValueError, match="others__hash_keys"):
        Message("a", others__hash_keys=[])


def test_sub_messages_are_walked_depth_first() -> None:
    a, b, c = Message("a"), Message("b"), Message("c")
    left = Message("left", first=a, second=b)
    right = Message("right", box={"list": ["text", [c]]})

    assert list(Message("top", left=left, rights=(right, 1)).sub_messages()) == [a, b, left, c, right]
    assert list(Message("alone").sub_messages()) == []


def test_a_message_inside_two_others_is_given_for_each() -> None:
    shared = Message("shared")

    walked = list(Message("top", a=Message("a", x=shared), b=Message("b", x=shared)).sub_messages())

    assert [message.content for message in walked] == ["shared", "a", "shared", "b"]
    assert walked[0] is walked[2] is shared


def test_a_chain_of_messages_may_be_longer_than_the_recursion_limit() -> None:
    message = Message("0")
    for number in range(1, 3000):
        message = Message(str(number), previous=message)
        message.hash_key  # noqa: B018 - as a history does, which names each message as it comes

    assert len(list(message.sub_messages())) == 2999


# -- fields and templates ------------------------------------------------------------------------------------------------


def test_a_pydantic_model_inside_a_message_becomes_a_frozen_object() -> None:
    class Point(BaseModel):
        x: int

    message = Message(point=Point(x=1))

    assert isinstance(message["point"], Frozen)
    assert message["point"]["x"] == 1


@pytest.mark.parametrize("name", ["values", "keys", "get", "cached", "as_promise", "self", "cls"])
def test_a_field_may_be_named_like_a_method(name: str) -> None:
    # What a model or a person puts into a dict is not theirs to rename.
    message = Message(**{name: "text"})

    assert message[name] == message.get(name) == "text"
    assert dict(message)[name] == "text"
    assert str(Message(content_template="<{" + name + "}>", **{name: "text"})) == "<text>"


def test_a_template_that_names_a_missing_field_says_which() -> None:
    with pytest.raises(ValueError, match="missing"):
        str(Message(content_template="{missing}"))
