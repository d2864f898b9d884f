"""The file of a cassette: readable, the same for the same calls, safe to edit, never damaged, without secrets."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message
from miniagents.ext.llms import AssistantMessage, UserMessage
from miniagents.journal import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    StartedCall,
    UnstorableValueError,
    journal,
)
from miniagents.journal._cassette_forms import masked_text, masked_tokens, message_form, restored_message
from miniagents.journal.cassette import Cassette, CassetteModeError, cassette_of
from miniagents.promising.ext.frozen import Frozen
from tests.unit.journal.conftest import call
from tests.unit.journal.test_cassette import content, made, recorded

HEAD = '{"format": "miniagents cassette", "version": 1}\n'
KEY = "sk-abcdefghijklmnopqrst"


class PricedMessage(Message):
    price: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.jsonl"


def put(path: Path, *lines: str) -> None:
    put_text(path, HEAD + "".join(f"{line}\n" for line in lines))


def put_text(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))


def make_folder(path: Path) -> None:
    path.mkdir()


def identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def all_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def replayed(path: Path, started: StartedCall) -> tuple[str, tuple[str, ...]]:
    found = await (await Cassette(path, "replay").begin_run()).find_equal_call(started)
    (reply,) = found.replies
    return str(reply.message), reply.tokens


# ---------------------------------------------------------------------------------------------------- what it holds


async def test_the_file_has_a_line_for_each_thing_and_reads_well(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    asked = call(
        "k", UserMessage("Grüße?"), Message("two\u2028lines"), settings=Frozen(model="m", base_url="http://h:1")
    )
    await run.find_equal_call(asked)
    await run.call_started(asked)
    await run.call_finished("k", [(AssistantMessage("Grüß Gott", parts=(Message("x"),)), ["Grüß", " Gott"])])
    await run.remember("/lunch", "noon")
    await run.end()

    assert content(path).splitlines() == [
        '{"format": "miniagents cassette", "version": 1}',
        '{"call": "model", "settings": {"model": "m"}}',
        '{"input": {"class_": "UserMessage", "content": "Grüße?", "role": "user"}}',
        '{"input": {"content": "two\\u2028lines"}}',
        '{"reply": {"class_": "AssistantMessage", "content": "Grüß Gott", "parts": [{"$message": {"content": "x"}}], '
        '"role": "assistant"}, "tokens": ["Grüß", " Gott"]}',
        '{"once": "lunch", "value": "noon"}',
    ]


NAMES = st.sampled_from(["a", "b", "$message", "$bytes", "$frozen", "role", "content", "class"])
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)),
    *(
        st.binary(max_size=3),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.uuids(),
        st.dates(),
        st.datetimes(),
    ),
    *(st.timedeltas(), st.frozensets(st.integers(), max_size=2), st.just(Path("a/b"))),
)
MESSAGES = st.recursive(
    st.builds(Message, st.none() | st.text(max_size=3)),
    lambda inner: st.builds(
        lambda content, fields, kind: kind(content if isinstance(content, str) else None, **fields),
        st.text(max_size=3),
        st.dictionaries(
            st.sampled_from(["a", "b", "$message", "$bytes", "d__"]),
            LEAVES | inner | st.lists(LEAVES | inner | st.lists(inner, max_size=2), max_size=3)
            | st.dictionaries(NAMES, LEAVES | inner | st.lists(inner, max_size=2), max_size=2),
            max_size=3,
        ),
        st.sampled_from([Message, UserMessage]),
    ),
    max_leaves=6,
)  # fmt: skip


@given(MESSAGES)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    line = json.dumps(message_form(message), ensure_ascii=False)

    again = restored_message(json.loads(line))

    assert again == message
    assert (type(again), again.hash_key) == (type(message), message.hash_key)
    assert json.dumps(message_form(again), ensure_ascii=False) == line


async def test_a_message_that_is_nested_too_deep_for_a_line_is_refused(path: Path) -> None:
    deep = Message("the first")
    for _ in range(2000):
        deep = Message("more", before=deep)
    run = await Cassette(path).begin_run()

    with pytest.raises(UnstorableValueError, match=re.escape("`inputs[0]` cannot be stored: it is nested too deep")):
        await run.find_equal_call(call("k", deep))


async def test_recording_twice_gives_the_same_file(path: Path) -> None:
    texts = []
    for prefix in ("a", "b"):
        started = [call(f"{prefix}{text}", text, parent=prefix, settings=Frozen(port=1)) for text in ("x", "y")]
        await recorded(path, *[(one, one.key[1:]) for one in started])
        texts.append(content(path))

    assert texts[0] == texts[1]


async def test_nothing_is_written_where_nothing_has_changed(path: Path) -> None:
    await recorded(path, (call("1", "one"), "1"))
    # As somebody has formatted it, with a line at its end that is not ended.
    put_text(path, content(path).replace('", "', '" ,  "').rstrip())
    before = identity(path)

    run = await Cassette(path).begin_run()
    assert await made(run, call("1", "one")) == "1"
    await run.end()
    replay = await Cassette(path, "replay").begin_run()
    await replay.end()

    assert identity(path) == before
    run = await Cassette(path).begin_run()
    await made(run, call("2", "two"), lambda: Message("2"))
    await run.end()
    assert [line["call"] for line in map(json.loads, content(path).splitlines()) if "call" in line] == ["model"] * 2
    assert all_in(path.parent) == [path.name]


async def test_a_program_that_asks_nothing_leaves_a_cassette_that_can_be_replayed(path: Path) -> None:
    await (await Cassette(path).begin_run()).end()

    await (await Cassette(path, "replay").begin_run()).end()

    assert content(path) == HEAD


# ------------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"reply": {"content": "new"}, "tokens": ["ol", "d"]}', ("new", ("new",))),
        ('{"reply": {"content": "new"}, "tokens": ["n", "ew"]}', ("new", ("n", "ew"))),
        ('{"reply": {"content": "new"}, "streamed": ["ol", "d"]}', ("new", ("ol", "d"))),
        ('{"reply": {"class_": "NobodyKnows", "content": "new", "x": {"$decimal": "1"}}}', ("new", ("new",))),
        ('{"reply": {"content_template": "<{n}>", "n": 7}}', ("<7>", ("<7>",))),
    ],
    ids=["tokens of the former text", "tokens of this text", "tokens of another text", "class", "template"],
)
async def test_a_reply_may_be_written_by_hand(path: Path, reply: str, expected: tuple[str, tuple[str, ...]]) -> None:
    put(path, '{"call": "model"}', '{"input": {"content": "Hi"}}', "", reply)

    assert await replayed(path, call("k", "Hi")) == expected


async def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(path: Path) -> None:
    put(path, '{"call": "model"}', '{"reply": {"content": "yes"}}')
    put_text(path, content(path).replace("\n", "\r\n"), encoding="utf-8-sig")

    assert await replayed(path, call("k")) == ("yes", ("yes",))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("<<<<<<< HEAD", "is a mark of a merge"),
        ("[]", "it is no JSON object"),
        ('{"reply": {"content": "x"}}', "`reply` stands behind no `call`"),
        ('{"cal": "x"}', "it has `cal`, where `call`, `input`"),
        ('{"call": 7}', "`call` is 7, not a str"),
        ('{"once": "x"}', "`value` is missing"),
        ('{"question": "x", "text": "?"}', "`answer` is missing"),
        ('{"once": "x", "value": NaN}', "JSON has no NaN"),
        ("[" * 100_000, "it is nested too deep"),
    ],
    ids=["merge", "list", "no call", "typo", "type", "no value", "no answer", "nan", "deep"],
)
async def test_a_line_that_cannot_be_read_is_named(path: Path, line: str, why: str) -> None:
    put(path, "", line)

    with pytest.raises(JournalCorruptError, match=re.escape(why)) as refused:
        await Cassette(path).begin_run()

    assert str(refused.value).startswith("Line 3 of the cassette cannot be read: ")
    assert str(path) in str(refused.value)
    assert refused.value.row == "line 3"


@pytest.mark.parametrize(
    "reply",
    [
        '{"class_": "PricedMessage"}',
        '{"class_": "Frozen", "content": "x"}',
        '{"content": "x", "at": {"$datetime": "noon"}}',
        '{"content": "\\ud800"}',
        '{"content_template": "{missing}"}',
    ],
    ids=["field", "class", "date", "surrogate", "template"],
)
async def test_a_reply_that_fits_no_class_is_named(path: Path, reply: str) -> None:
    put(path, '{"call": "model"}', f'{{"reply": {reply}}}')
    run = await Cassette(path).begin_run()

    with pytest.raises(JournalCorruptError, match="line 3 of the cassette cannot be used"):
        await run.find_equal_call(call("k"))


async def test_a_name_in_a_file_makes_nothing_load(path: Path) -> None:
    put(path, '{"call": "model"}', '{"reply": {"class_": "antigravity.Message", "content": "x"}}')

    assert await replayed(path, call("k")) == ("x", ("x",))


@pytest.mark.parametrize("mode", ["record", "auto", "replay"])
@pytest.mark.parametrize("text", ['{"name": "Ann"}\n{"name": "Bob"}\n', "# Diary\n", "[]", "1\n"])
async def test_a_file_of_something_else_is_left_alone(path: Path, mode: str, text: str) -> None:
    put_text(path, text)

    with pytest.raises(JournalVersionError, match="The file is no cassette: its first line is"):
        await Cassette(path, mode).begin_run()

    assert content(path) == text


async def test_another_version_is_refused_and_may_be_recorded_again(path: Path) -> None:
    put_text(path, HEAD.replace("1", "2") + "whatever\n")
    for mode in ("auto", "replay"):
        with pytest.raises(JournalVersionError, match="has version 2, and this miniagents reads version 1"):
            await Cassette(path, mode).begin_run()

    await recorded(path, (call("k", "Hi"), "yes"))

    assert await replayed(path, call("k", "Hi")) == ("yes", ("yes",))


async def test_a_file_that_cannot_be_written_says_so_and_leaves_what_was_there(path: Path) -> None:
    await recorded(path, (call("1", "one"), "1"))
    run = await Cassette(path, "record").begin_run()
    await made(run, call("2", "two"), lambda: Message("2"))
    before = content(path)
    make_folder(path.with_name(f".{path.name}.{os.getpid()}.tmp"))

    with pytest.raises(JournalError, match="The cassette cannot be written: .*Is a directory"):
        await run.end()

    assert content(path) == before


async def test_a_path_that_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="The cassette cannot be read: .*Is a directory"):
        await Cassette(tmp_path).begin_run()


# -------------------------------------------------------------------------------------------------------- secrets


async def test_no_secret_gets_into_the_file_and_calls_with_one_are_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_OWN_API_KEY", "correct horse")
    fields = {"password": "hunter22", "note": f"use {KEY}", "inner": Message("correct horse", url="http://u:pass@h/")}

    def asked() -> StartedCall:
        return call("k", Message("correct horse battery", **fields), settings=Frozen(system=f"Key: {KEY}"))

    run = await Cassette(path, "record").begin_run()
    await run.find_equal_call(asked())
    await run.call_started(asked())
    tokens = ["It is ", "sk-abcd", "efghijklmnop", "qrst or corre", "ct horse", "", ". ", "Fine", "."]
    await run.call_finished("k", [(Message("".join(tokens)), tokens)])
    await run.find_equal_call(call("f"))
    await run.call_failed("f", JournalError(f"Bearer {KEY} is wrong", place="x"), [])
    assert await run.remember("/lunch", {"token": KEY}) == {"token": KEY}
    await run.ask("q", f"Is {KEY} right?")
    await run.answer("q", f"no, {KEY}")
    assert (await run.wait_for_answer("q")).answer == f"no, {KEY}"
    await run.end()

    text = content(path)
    assert not re.search("abcd|mnop|qrst|horse|hunter|u:pass", text)
    assert "***" in text
    assert await replayed(path, asked()) == ("It is *** or ***. Fine.", ("It is ", "*** or ***", "", ". ", "Fine", "."))


@given(
    st.lists(st.sampled_from(["a", " ", KEY[:7], KEY[7:], "horse", "hor", "se", "token=", "abcdefgh", "***", ""])),
)
def test_masked_tokens_make_up_the_masked_text_and_none_is_lost_where_nothing_is_masked(tokens: list[str]) -> None:
    text = "".join(tokens)

    shown = masked_tokens(tokens, ["horse"])

    assert "".join(shown) == masked_text(text, ["horse"])
    assert "horse" not in "".join(shown)
    assert shown == tokens or "".join(shown) != text


# ------------------------------------------------------------------------------------------- what is a cassette


def test_a_path_that_ends_in_jsonl_is_a_cassette_and_nothing_else(tmp_path: Path) -> None:
    made_by_hand = Cassette(tmp_path / "x.jsonl", "replay")

    assert (cassette_of("a/b.jsonl").path, cassette_of("a/b.jsonl").mode) == (Path("a/b.jsonl"), "auto")
    assert cassette_of(tmp_path / "x.jsonl", "record").mode == "record"
    assert cassette_of(made_by_hand) is cassette_of(made_by_hand, "replay") is made_by_hand
    assert [cassette_of(other) for other in ("sqlite:///x.jsonl", "memory://", journal, None)] == [None] * 4


def test_a_mode_that_is_none_or_is_for_nothing_is_refused() -> None:
    with pytest.raises(
        CassetteModeError, match="`mode='rewind'` is no mode of a cassette. It is one of 'record', 'replay'"
    ):
        cassette_of("x.jsonl", "rewind")
    with pytest.raises(
        CassetteModeError, match="`mode='record'` is for cassettes, and 'postgresql://.*h/db' is a"
    ) as bad:
        cassette_of("postgresql://me:hunter22@h/db", "record")
    with pytest.raises(CassetteModeError, match="The mode is 'record' here, and 'auto' in Cassette"):
        cassette_of(Cassette("x.jsonl"), "record")
    assert "hunter22" not in str(bad.value)
