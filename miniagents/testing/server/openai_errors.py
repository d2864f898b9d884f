"""The errors of OpenAI's protocols: the body of each status."""

from typing import Any

from miniagents.testing.server.replies import Failure

# (type, code) of each status.
_KINDS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("request_forbidden", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("timeout", None),
    409: ("conflict", None),
    413: ("invalid_request_error", "request_too_large"),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("service_unavailable", None),
    504: ("timeout", None),
    529: ("server_error", "overloaded"),
}


def error_body(failure: Failure) -> dict[str, Any]:
    """Return the body that tells of this error."""
    kind, code = _KINDS.get(failure.status, ("server_error", None))
    error = {
        "message": failure.message,
        "type": failure.type or kind,
        "param": failure.param,
        "code": failure.code or (code if failure.type is None else None),
    }
    return {"error": error}
