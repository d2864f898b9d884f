"""What is stored of a message is enough to make it again, of the same class, without running any of its code."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import model_validator

from miniagents import Message, MiniAgents
from miniagents.ext.llms import ImageMessage
from miniagents.journal import Journal, JournalError, _classes
from miniagents.promising.ext.frozen import Frozen
from tests.unit.journal.conftest import call, record


class Colour(Enum):
    RED = "red"


class Priced(Message):
    price: Decimal
    colour: Colour
    colours: tuple[Colour, ...] = ()


class Loud(Message):
    made: int = 0

    @model_validator(mode="before")
    @classmethod
    def _shout(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("run"):
            raise SystemExit("code was run")
        return values


@pytest.fixture
def url() -> str:
    return "memory://"


async def stored_and_restored(journal: Journal, message: Message) -> Any:
    run = await journal.begin_run("r")
    await record(run, call("k"), message)
    await run.end()
    return await journal.show(message.hash_key)


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff", Decimal("1.50"), uuid.UUID(int=5), datetime(2026, 1, 2, 3, 4, 5, 6, UTC), date(2026, 1, 2),
        time(3, 4), timedelta(days=-1, microseconds=5), Path("a/b"), frozenset({"x", "y"}), 1.0, 1, True, None, "1",
        (1, (b"x", {"deep": Decimal(2)})),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_a_value_keeps_its_type(journal: Journal, value: object) -> None:
    message = Message("x", value=value, listed=[value, {"inside": value}])

    restored = await stored_and_restored(journal, message)

    assert restored == message
    assert type(restored.value) is type(message.value)
    assert type(restored.listed[1].inside) is type(message.value)


async def test_a_class_of_the_program_is_restored_by_its_name_with_its_enums(journal: Journal) -> None:
    message = Priced("p", price=Decimal("9.99"), colour=Colour.RED, colours=[Colour.RED])

    restored = await stored_and_restored(journal, message)

    assert type(restored) is Priced
    assert restored == message
    assert restored.colours == (Colour.RED,)


async def test_a_class_that_is_not_known_becomes_a_plain_message_with_the_same_hash(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_classes, "_RELOOK_S", -1.0)
    kind = type("Passing", (Message,), {"__module__": __name__})
    message = kind("text", extra=kind("inner"))
    key = message.hash_key
    run = await journal.begin_run("r")
    await record(run, call("k"), message)
    kind.__name__ = "RenamedMeanwhile"

    restored = await journal.show(key)

    assert type(restored) is type(restored.extra) is Message
    assert (str(restored), restored.hash_key, str(restored.extra)) == ("text", key, "inner")
    assert restored.extra.hash_key == message.extra.hash_key


async def test_no_code_of_a_class_is_run_for_a_row_that_somebody_has_made_up(journal: Journal, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    made_up = Loud.model_construct(class_="Loud", content="x", run=True)
    file_reader = ImageMessage.model_construct(
        class_="ImageMessage", media_type="image/png", path=str(secret), role="u"
    )

    run = await journal.begin_run("r")
    await record(run, call("k"), made_up, file_reader)

    assert (await journal.show(made_up.hash_key)).run is True
    assert (await journal.show(file_reader.hash_key)).data is None


async def test_two_classes_of_one_name_are_an_error_that_names_both(journal: Journal) -> None:
    message = Message("fine", inside=Frozen(x=1))
    kind = type("Doubled", (Message,), {"__module__": "here"})
    doubled = kind("x")
    run = await journal.begin_run("r")
    await record(run, call("k"), doubled, message)
    other = type("Doubled", (Message,), {"__module__": "there"})

    with pytest.raises(JournalError, match="two classes are called `Doubled`: `here.Doubled` and `there.Doubled`"):
        async with MiniAgents():
            await record(run, call("k2"), other("y"))
    with pytest.raises(JournalError, match="`here.Doubled` and `there.Doubled`"):
        await journal.show(doubled.hash_key)
    kind.__name__ = other.__name__ = "NoMoreDoubled"


async def test_longer_hash_keys_are_stored_and_checked_as_they_are(journal: Journal) -> None:
    async with MiniAgents(longer_hash_keys=True):
        message = Message("x", inside=Message("y"))
        key = message.hash_key
        run = await journal.begin_run("r")
        await record(run, call("k"), message)

    restored = await journal.show(key[:20])

    assert len(key) == 64
    assert restored == message


def test_the_package_has_no_two_classes_of_one_name() -> None:
    import miniagents.ext.llms
    from miniagents.journal._classes import class_named

    for name in miniagents.ext.llms.__all__:
        kind = getattr(miniagents.ext.llms, name)
        if isinstance(kind, type) and issubclass(kind, Frozen):
            assert class_named(name) is kind
