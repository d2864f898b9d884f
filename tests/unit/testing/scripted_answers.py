"""Functions that a server in another process can import."""

from miniagents.testing import RecordedRequest


def shout(request: RecordedRequest) -> str:
    return request.last_user_text.upper()


def fail(request: RecordedRequest) -> str:
    raise LookupError(f"nothing for {request.last_user_text}")
