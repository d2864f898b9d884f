"""Google's errors: the body of each status."""

from typing import Any

from miniagents.testing.server.replies import Failure

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
STATUS_CODES = {name: code for code, name in reversed(_STATUSES.items())}
"""The HTTP status of each of Google's names."""


def error_body(failure: Failure) -> dict[str, Any]:
    """Return the body that tells of this error."""
    status = failure.type or _STATUSES.get(failure.status, "UNKNOWN")
    error: dict[str, Any] = {"code": failure.status, "message": failure.message, "status": status}
    if failure.retry_after_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{failure.retry_after_s:g}s"}]
    return {"error": error}
