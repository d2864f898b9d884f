"""What Amazon's protocols have in common: the frames of its event stream, and its errors."""

import binascii
import struct
from typing import Any

from miniagents.testing.server._rendering import dumps
from miniagents.testing.server.parts import ErrorInside
from miniagents.testing.server.replies import Failure

_ERROR_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    413: "ValidationException",
    422: "ValidationException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_TEXT_VALUE = 7


def event_message(kind: str, payload: dict[str, Any] | bytes) -> bytes:
    """Return one frame with an event, in the binary form of `application/vnd.amazon.eventstream`."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return _frame(headers, payload if isinstance(payload, bytes) else dumps(payload))


def exception_message(error: ErrorInside) -> bytes:
    """Return one frame with an exception of the service."""
    kind = error.type or "serviceUnavailableException"
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return _frame(headers, dumps({"message": error.message}))


def _frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Lengths and their checksum, the headers, the payload, and a checksum over all of it; numbers are big-endian."""
    encoded = b"".join(map(_header, headers.items()))
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    body = prelude + struct.pack(">I", binascii.crc32(prelude)) + encoded + payload
    return body + struct.pack(">I", binascii.crc32(body))


def _header(pair: tuple[str, str]) -> bytes:
    name, value = (text.encode() for text in pair)
    return bytes([len(name)]) + name + bytes([_TEXT_VALUE]) + struct.pack(">H", len(value)) + value


def error_body(failure: Failure) -> dict[str, Any]:
    """Return the body that tells of this error; its type stands in a header."""
    return {"message": failure.message}


def error_headers(failure: Failure) -> dict[str, str]:
    """Return the headers that tell of this error."""
    kind = failure.type or _ERROR_TYPES.get(failure.status, "InternalServerException")
    return {"x-amzn-errortype": kind, **failure.all_headers}
