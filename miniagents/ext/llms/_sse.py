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
    """Turns chunks of bytes, cut anywhere, into events. `id` and `retry` are not used by any provider and dropped."""

    def __init__(self) -> None:
        self._unfinished_line = b""
        self._name = b""
        self._data: list[bytes] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes."""
        if self._unfinished_line:
            chunk = self._unfinished_line + chunk
        if self._at_start:
            if len(chunk) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(chunk):
                self._unfinished_line = chunk
                return []
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        lines = chunk.splitlines(keepends=True)
        # A line is over when its end is there; a lone "\r" may be the first half of "\r\n".
        if lines and not lines[-1].endswith(b"\n"):
            self._unfinished_line = lines.pop()
        else:
            self._unfinished_line = b""
        events: list[ServerSentEvent] = []
        for line in lines:
            event = self._line(line.rstrip(b"\r\n"))
            if event is not None:
                events.append(event)
        return events

    def finish(self) -> list[ServerSentEvent]:
        """What is left at the end of the body: an event whose blank line is missing, maybe cut off in its middle."""
        last = [event for event in (self._line(self._unfinished_line.rstrip(b"\r\n")), self._line(b"")) if event]
        self._unfinished_line = b""
        return last

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            if not self._data:
                self._name = b""
                return None
            event = ServerSentEvent(self._name, b"\n".join(self._data))
            self._name = b""
            self._data.clear()
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None
