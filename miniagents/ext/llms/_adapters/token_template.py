"""The shortest way for tokens: most events of a stream differ in the text alone, and need no decoding then.

data: {"id":"1","choices":[{"delta":{"content":" token"}}],"obfuscation":"a8Kx"}
|------------------- before -------------------|     |--- after ------------|  |tail
"""

import re
from typing import Final

# Random letters that OpenAI adds to every event, so that nobody can tell tokens from the lengths of packets.
_PADDING: Final = re.compile(rb'"obfuscation":\s*"[^"\\]*(?=")')
# How often it is tried; where something else differs from event to event, nothing is ever found.
_LESSONS: Final = 16


class TokenTemplate:
    """What stands around the text in a block of server-sent events, once an example has shown it."""

    def __init__(self) -> None:
        self._before: bytes | None = None
        self._start = 0
        self._after = b""
        self._tail = b""
        self._is_padded = False
        self._lessons_left = _LESSONS

    def text_of(self, block: bytes) -> str | None:
        """Give the text if `block` differs from the example in nothing else."""
        before = self._before
        if before is None or not block.startswith(before):
            return None
        start, after = self._start, self._after
        end = block.find(b'"', start)
        if not block.startswith(after, end):
            return None
        rest = end + len(after)
        if self._is_padded:
            rest = block.find(b'"', rest)
        text = block[start:end]
        # An escaped character is for the decoder of JSON, and an empty text is no token.
        if block[rest:] != self._tail or b"\\" in text or not text:
            return None
        try:
            return text.decode()
        except UnicodeDecodeError:
            return None

    def learn(self, block: bytes, text: str) -> None:
        """Take `block`, which tells this text and nothing else, as the example."""
        if not self._lessons_left or self.text_of(block) == text:
            return
        self._lessons_left -= 1
        encoded = text.encode()
        # Where nothing is escaped and it stands only once, it is the text and nothing that looks alike.
        if not encoded or b"\\" in block or b'"' in encoded or block.count(b'"%b"' % encoded) != 1:
            return
        self._start = block.index(b'"%b"' % encoded) + 1
        end = self._start + len(encoded)
        padding = _PADDING.search(block, end)
        self._is_padded = padding is not None
        if padding is None:
            self._after, self._tail = block[end:], b""
        else:
            self._after = block[end : block.rindex(b'"', end, padding.end()) + 1]
            self._tail = block[padding.end() :]
        self._before = block[: self._start]
