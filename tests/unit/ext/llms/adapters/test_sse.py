from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llms._adapters.sse import ServerSentEvent, SSEDecoder


def decoded(body: bytes, cuts: list[int]) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    events = [event for start, end in pairwise(edges) for event in decoder.feed(body[start:end])]
    return events + decoder.finish()


def test_comments_ids_and_retries_are_no_events():
    body = b": keep-alive\n\nid: 7\nretry: 10\n\ndata: one\n\n"

    assert decoded(body, []) == [(b"", b"one")]


def test_an_event_has_a_name_and_all_lines_of_its_data():
    assert decoded(b"event: greeting\ndata: hello\ndata:  world\n\n", []) == [(b"greeting", b"hello\n world")]


def test_a_line_separator_inside_json_ends_no_line():
    body = 'data: {"content": "one\u2028two\x85three"}\n\n'.encode()

    assert decoded(body, []) == [(b"", '{"content": "one\u2028two\x85three"}'.encode())]


def test_an_event_whose_blank_line_is_missing_is_there_at_the_end():
    assert decoded(b"data: one\n\ndata: [DONE]", []) == [(b"", b"one"), (b"", b"[DONE]")]


def test_the_name_of_an_event_without_data_does_not_stick_to_the_next():
    assert decoded(b"event: empty\n\ndata: one\n\n", []) == [(b"", b"one")]


def test_line_ends_may_change_in_the_middle():
    body = b"data: one\n\ndata: two\r\n\r\nevent: x\ndata: three\n\n: comment\ndata: four\r\rdata: five\n\n"

    for size in range(1, len(body)):
        assert [event.data for event in decoded(body, list(range(0, len(body), size)))] == [
            b"one", b"two", b"three", b"four", b"five",
        ]  # fmt: skip


def test_an_event_may_stand_behind_more_empty_lines_than_one():
    body = b"\n\n\ndata: one\n\n\n\n\ndata: two\ndata: more\n\nid: 7\n\nda"

    assert decoded(body, [3, 17, 20]) == [(b"", b"one"), (b"", b"two\nmore")]


@given(
    texts=st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    cuts=st.lists(st.integers(min_value=0), max_size=20),
)
def test_events_are_the_same_wherever_the_network_cuts_the_bytes(
    texts: list[str], line_end: bytes, mark: bytes, cuts: list[int]
):
    events = [(b"message", text.encode()) for text in texts]
    body = mark + b"".join(b"event: message" + line_end + b"data: " + data + line_end + line_end for _, data in events)

    assert decoded(body, cuts) == events
