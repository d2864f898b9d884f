"""How errors are shown on spans and metrics."""

import asyncio
from typing import Any

from miniagents.errors import UsageLimitExceededError
from miniagents.promising._reporting import one_line
from miniagents.tracing import _names
from miniagents.tracing._otel import Span, mark_failed

_LONGEST_TEXT = 1000


def error_type(error: BaseException) -> str:
    """Give the name of the error's class."""
    if isinstance(error, asyncio.CancelledError) and error.args:
        # A crossed limit cancels what is under way with its own error as the message.
        reason: object = error.args[0]
        if isinstance(reason, UsageLimitExceededError):
            return type(reason).__name__
    return type(error).__name__


def show_error(span: Span, error: BaseException, *, with_text: bool) -> None:
    """Put `error` on `span`: its class, its status, and its text only where contents are wanted, as it may quote."""
    span.set_attribute(_names.ERROR_TYPE, error_type(error))
    status_code: Any = getattr(error, "status_code", None)
    if isinstance(status_code, int):
        span.set_attribute(_names.STATUS_CODE, status_code)
    mark_failed(span, one_line(error)[:_LONGEST_TEXT] if with_text else None)
