import pytest

from miniagents.ext.llms._common.yes_or_no import read_yes_or_no


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", (True, None)),
        ("Yes, it is harmless.", (True, "it is harmless.")),
        ("\n**NO**", (False, None)),
        ("**No, it is rude.**", (False, "it is rude.")),
        ("__no__", (False, None)),
        ("No - 'rm' is forbidden!", (False, "'rm' is forbidden!")),
        ("no\n\nIt tells\na secret.\n", (False, "It tells\na secret.")),
    ],
)
def test_the_first_word_is_the_answer_and_the_rest_its_reason(text: str, answer: tuple[bool, str | None]) -> None:
    assert read_yes_or_no(text) == answer


@pytest.mark.parametrize(
    "text", ["", " ", "...", "y", "Nobody knows", "Yesterday", "no_thing", "not sure", "I say yes"]
)
def test_what_begins_with_another_word_is_neither(text: str) -> None:
    assert read_yes_or_no(text) is None


def test_other_words_may_count() -> None:
    assert read_yes_or_no("Passed: fine", yes=("pass", "passed"), no=("fail",)) == (True, "fine")
    assert read_yes_or_no("fail", yes=("pass", "passed"), no=("fail",)) == (False, None)
    assert read_yes_or_no("yes", yes=("pass", "passed"), no=("fail",)) is None
