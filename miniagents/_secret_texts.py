"""Keys, tokens and passwords: in texts what looks like one, and how it is hidden; and which names stand for one."""

import re
from itertools import pairwise

_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"\b(?:sk|pk|rk|gh[pousr]|github_pat|xox[abpr]|AKIA|AIza|ya29)[-_.]?[\w-]{12,}"), "***"),
    # What stands before the name, as in `OPENAI_API_KEY`, is no part of it: looked for at every letter, it would make
    # the time grow with the square of a text's length.
    (
        re.compile(
            r"(?i)((?:(?:api|access|private|secret)[_-]?key|token|secret|passw(?:or)?d|authorization)"
            r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]{4,}"
        ),
        r"\1***",
    ),
    (re.compile(r"://[^/\s:@]*:[^/\s@]+@"), "://***@"),
    (re.compile(r"(?i)([?&](?:key|sig|signature)=)[^\s\"'&,;]{4,}"), r"\1***"),
    # A JWT: two objects of JSON in base64, and the signature.
    (re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]*"), "***"),
    (re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^-]+"), r"\1***"),
    (re.compile(r"(?i)\b((?:set-)?cookie[\"']?\s*:\s*[\"']?)[^\s\"';][^\r\n\"']{3,}"), r"\1***"),
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALWAYS = re.compile(r"(?:secret|password|passwd|passphrase|apikey|credential)s?$|^authorization$")
"""The ends of words, as in `PGPASSWORD`."""
_AS_A_WORD = frozenset({"key", "token"})
"""Whole words: `monkey`, `keyboard` and `max_tokens` have nothing to do with it."""
_SURE_PAIRS = frozenset({("api", "key"), ("api", "keys"), ("access", "token")})
_COMMON_VALUES = frozenset(
    {
        *("anonymous", "changeme", "development", "disabled", "localhost", "optional", "password", "postgres"),
        *("postgresql", "production", "required", "undefined", "username"),
    }
)
_PATH = re.compile(
    r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:\.?[a-z][a-z._-]*|Applications|Library|Users|Volumes)?(?:[/\\]|$)"
    r"|[\w.-]+(?:[/\\][\w.-]+)+\.\w{1,4}$"
)
"""With a first folder of letters, or the name of a file at its end: a key that has slashes in it has neither."""
SHORTEST_KEY = 8
"""What is shorter in a variable of the environment, or behind a name that may mean something else, is no secret."""


def names_a_secret(name: str, *, alone: bool = True) -> bool:
    """Whether a setting, a field or a variable of this name holds a secret; look at its value, too, if it is a key.

    It goes by the words of the name, as in `OPENAI_API_KEY`, `aws_secret_access_key` and `sessionToken`. `alone` is
    whether `key` and `token` say so without another word beside them.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    return names_a_sure_secret(name) or (not _AS_A_WORD.isdisjoint(words) and (alone or len(words) > 1))


def names_a_sure_secret(name: str) -> bool:
    """Whether the name says so whatever the value is: `db_password` is one, and a `key` may be that of a table."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return any(_ALWAYS.search(word) for word in words) or not _SURE_PAIRS.isdisjoint(pairwise(words))


def may_be_a_key(value: str) -> bool:
    """Whether a value may be a secret that is to be hidden wherever it is: not short, not common, not a path."""
    return len(value) >= SHORTEST_KEY and value.lower() not in _COMMON_VALUES and _PATH.match(value) is None


SHORTEST_SECRET = 6
"""What is shorter is found in too many words."""
_MARGIN = 1000
"""So far behind the end of what is shown it is looked for a place to cut."""
_NOT_IN_SECRETS = " \n\t\"',;&"


def without_secrets(text: str, *, longest: int | None = None) -> str:
    """Give `text` without what looks like a key, a token or a password in it, cut to `longest` characters and `...`."""
    given = text if longest is None else _beginning(text, longest)
    for pattern, instead in _SECRETS:
        given = pattern.sub(instead, given)
    return given if longest is None or len(text) <= longest else f"{given[:longest]}..."


def _beginning(text: str, longest: int) -> str:
    """Give at least `longest` characters of a longer text, up to a place that no secret goes across."""
    if len(text) <= longest + _MARGIN:
        return text
    # A piece of a secret would not be seen to be one.
    ends = [text.rfind(mark, longest, longest + _MARGIN) for mark in _NOT_IN_SECRETS]
    return text[: max(ends) if max(ends) > 0 else longest + _MARGIN]
