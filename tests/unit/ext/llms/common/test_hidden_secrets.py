"""What looks like a secret is taken out of texts, in a time that grows with their length and no faster."""

import time

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms._common.secrets import without_secrets
from tests.unit.ext.llms.tools.tool_calls import result_of, toolbox

A_MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("my-openai_api_key=abcdefgh&x=1", "my-openai_api_key=***&x=1"),
        ("OPENAI_API_KEY: 'abcdefgh'", "OPENAI_API_KEY: '***'"),
        ('{"access-token": "abcdefgh"}', '{"access-token": "***"}'),
        ("Authorization: Bearer abcdefghijk", "Authorization: *** ***"),
        ("password = hunter22, please", "password = ***, please"),
        ("postgres://me:hunter22@host/db", "postgres://***@host/db"),
        ("sk-abcdefghijklmnop", "***"),
        ("a token and its secret", "a token and its secret"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_what_names_it_stays(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "piece",
    [
        "ab-",
        "api-key-",
        "token ",
        "token" + " " * 1000,
        "sk-",
        "://a:",
        "://",
        "bearer  ",
        "password=\"'",
        "x",
        "-",
        " ",
    ],
)
def test_a_megabyte_of_anything_takes_no_longer_than_its_length_deserves(piece: str) -> None:
    text = (piece * (A_MEGABYTE // len(piece) + 1))[:A_MEGABYTE]

    begun_s = time.process_time()
    without_secrets(text)

    # Some 0.1 s; what grows with the square of the length takes hours.
    assert time.process_time() - begun_s < 5


def test_a_text_is_cut_so_that_no_part_of_a_secret_is_left_at_its_end() -> None:
    for longest in range(1, 200):
        shown = without_secrets("x " * 40 + "sk-abcdefghijklmnopqrstuvwxyz " * 1000, longest=longest)

        assert len(shown) <= longest + len("...")
        assert "abc" not in shown


def test_a_text_of_the_longest_length_is_not_cut() -> None:
    assert without_secrets("x" * 10, longest=10) == "x" * 10
    assert without_secrets("x" * 11, longest=10) == "x" * 10 + "..."


async def test_a_tool_that_fails_with_a_long_text_holds_nobody_up(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def look() -> str:
        raise ValueError("-".join(["ab"] * (A_MEGABYTE // 3)))

    begun_s = time.process_time()
    result = await result_of(toolbox(look), "look")

    assert time.process_time() - begun_s < 5
    assert str(result).startswith("The tool `look` failed: ValueError: ab-ab-")
    assert len(str(result)) < 3000
    assert len(caplog.text) < 150_000
