"""The tokens that a message came in, in few bytes: a replay streams the same ones."""

import json
from collections.abc import Sequence
from typing import Any, cast

_LENGTHS = b"\x01"
"""Followed by the length of each token in characters, 7 bits a byte, the lowest first: mostly one byte a token."""
_TEXTS = b"\x02"
"""Followed by the tokens as JSON, for a message whose text is not what its tokens make together."""


def encode_tokens(tokens: Sequence[str] | None, text: str) -> bytes | None:
    """Give `tokens` in the stored form; None for a text that came as one token."""
    if tokens is None or (len(tokens) == 1 and tokens[0] == text):
        return None
    if "".join(tokens) != text:
        return _TEXTS + json.dumps(list(tokens), ensure_ascii=True).encode()
    encoded = bytearray(_LENGTHS)
    for token in tokens:
        length = len(token)
        while length > 0x7F:
            encoded.append(length & 0x7F | 0x80)
            length >>= 7
        encoded.append(length)
    return bytes(encoded)


def decode_tokens(stored: bytes | None, text: str) -> tuple[str, ...]:
    """Give the tokens of which `encode_tokens` made `stored`.

    Raises:
        ValueError: they do not make up `text`, or are no tokens.
    """
    if stored is None:
        return (text,)
    kind, rest = stored[:1], stored[1:]
    if kind == _TEXTS:
        texts: Any = json.loads(rest)
        if not isinstance(texts, list):
            raise ValueError("the tokens are no list")
        return tuple(map(str, cast("list[Any]", texts)))
    if kind != _LENGTHS:
        raise ValueError(f"the tokens are stored in an unknown form {kind!r}")
    tokens: list[str] = []
    position = length = shift = 0
    for byte in rest:
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            tokens.append(text[position : position + length])
            position += length
            length = shift = 0
    if position != len(text) or shift:
        raise ValueError(f"the tokens have {position} characters, the text has {len(text)}")
    return tuple(tokens)
