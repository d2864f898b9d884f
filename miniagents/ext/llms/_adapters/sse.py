"""Server-sent events, decoded from the raw bytes of a response.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines are split
as bytes: `str.splitlines()` would also split at U+2028 and its kin, which may stand inside the JSON of an event.
"""

from typing import Final, NamedTuple

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event; `name` is empty if the server gave none."""

    name: bytes
    data: bytes


class SSEDecoder:
    """Turns chunks of bytes, cut anywhere, into blocks, the lines between two empty ones, and these into events."""

    def __init__(self) -> None:
        self._rest: bytes = b""
        self._at_start = True
        # Most servers end lines with "\n" alone: then nothing needs to be looked at line by line. The first "\r" ends
        # that, and the lines of the next block are gathered here.
        self._lines: list[bytes] | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes."""
        return [event for block in self.blocks(chunk) if (event := event_of(block))]

    def blocks(self, chunk: bytes) -> list[bytes]:
        """The blocks that `chunk` completes; only a line feed stands between the lines of one."""
        if self._rest:
            chunk = self._rest + chunk
        if self._at_start:
            if len(chunk) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(chunk):
                self._rest = chunk
                return []
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        if self._lines is not None or b"\r" in chunk:
            return self._by_lines(chunk)
        blocks = chunk.split(b"\n\n")
        self._rest = blocks.pop()
        return blocks

    def finish(self) -> list[ServerSentEvent]:
        """What is left at the end of the body: an event whose blank line is missing, maybe cut off in its middle."""
        blocks = self._by_lines(self._rest + b"\n\n")
        return [event for block in blocks if (event := event_of(block))]

    def _by_lines(self, chunk: bytes) -> list[bytes]:
        gathered: list[bytes] = [] if self._lines is None else self._lines
        self._lines = gathered
        lines = chunk.splitlines(keepends=True)
        # A line is over when its end is there; a lone "\r" may be the first half of "\r\n".
        is_over = not lines or lines[-1].endswith(b"\n")
        self._rest = b"" if is_over else lines.pop()
        blocks: list[bytes] = []
        for line in lines:
            content = line.rstrip(b"\r\n")
            if content:
                gathered.append(content)
            else:
                blocks.append(b"\n".join(gathered))
                gathered.clear()
        return blocks


def event_of(block: bytes) -> ServerSentEvent | None:
    """Give the event of a block, None if it has no data. `id` and `retry` are used by no provider and dropped."""
    # Written out for the two forms that events have in practice, as this is paid once per token.
    name, data = b"", block
    if block.startswith(b"event: "):
        name, _, data = block[7:].partition(b"\n")
    if data.startswith(b"data: ") and b"\n" not in data:
        return ServerSentEvent(name, data[6:])
    name, lines = b"", list[bytes]()
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    return ServerSentEvent(name, b"\n".join(lines)) if lines else None
