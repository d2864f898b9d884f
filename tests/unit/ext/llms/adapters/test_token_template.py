import json

from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llms._adapters.token_template import TokenTemplate


def block_of(text: str, *, padding: str | None = None, index: int = 0) -> bytes:
    more = {} if padding is None else {"obfuscation": padding}
    chunk = {"id": "c1", "choices": [{"index": index, "delta": {"content": text}}], **more}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode()


def learned_from(block: bytes, text: str) -> TokenTemplate:
    template = TokenTemplate()
    template.learn(block, text)
    return template


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_it_gives_the_very_text_or_leaves_it_to_the_decoder(text: str) -> None:
    found = learned_from(block_of(" one"), " one").text_of(block_of(text))

    is_plain = text != "" and '"' not in text and "\\" not in text
    assert found == (text if is_plain else None)


@given(st.text("abcXYZ0189"))
def test_the_padding_may_have_any_length(padding: str) -> None:
    template = learned_from(block_of(" one", padding="x9"), " one")

    assert template.text_of(block_of(" two", padding=padding)) == " two"


def test_what_differs_in_more_than_the_text_is_for_the_decoder() -> None:
    template = learned_from(block_of(" one", padding="x9"), " one")

    assert template.text_of(block_of(" two", padding="x9", index=1)) is None
    assert template.text_of(block_of(" two")) is None
    assert template.text_of(block_of(" two", padding='x"9')) is None
    assert template.text_of(block_of(" two", padding="x9")[:-1]) is None
    assert template.text_of(block_of(" two", padding="x9") + b"\nevent: other") is None
    assert template.text_of(block_of("", padding="x9").replace(b'""', b'"\xff"')) is None


def test_an_example_in_which_the_text_stands_twice_teaches_nothing() -> None:
    assert learned_from(block_of("c1"), "c1").text_of(block_of(" two")) is None
    assert learned_from(block_of("content"), "content").text_of(block_of(" two")) is None


def test_a_stream_in_which_every_event_differs_is_given_up() -> None:
    template = TokenTemplate()
    for index in range(100):
        template.learn(block_of(f" {index}", index=index), f" {index}")

    assert template.text_of(block_of(" again", index=99)) is None
    assert template.text_of(block_of(" again", index=15)) == " again"
