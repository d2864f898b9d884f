"""From what a provider says to the error of our tree: by status, by the provider's own name for it, by exception.

The names are those of the APIs of OpenAI, Anthropic, Google and Amazon, as their documentation lists them.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    LLMError,
    ModelNotFoundError,
    ModelTimeoutError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitedError,
)

Fault = type[LLMError]

LONGEST_TOLD_WAIT_S: Final = 120.0
"""Where a provider wants to be left alone for longer, it is not asked again: nobody waits in silence for so long.

It is where OpenAI's SDK draws the line.
"""

_SHOWN_CHARACTERS: Final = 500
_QUOTED_CHARACTERS: Final = 200
_REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid")

_OF_STATUS: Final[dict[int, Fault]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ModelTimeoutError,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitedError,
    503: OverloadedError,
    504: ModelTimeoutError,
    529: OverloadedError,
}

_OF_NAME: Final[dict[str, Fault]] = {
    # Anthropic
    "invalid_request_error": BadRequestError,
    "request_too_large": BadRequestError,
    "authentication_error": AuthenticationError,
    "billing_error": PermissionDeniedError,
    "permission_error": PermissionDeniedError,
    "not_found_error": ModelNotFoundError,
    "rate_limit_error": RateLimitedError,
    "timeout_error": ModelTimeoutError,
    "overloaded_error": OverloadedError,
    "api_error": ProviderError,
    # OpenAI
    "invalid_api_key": AuthenticationError,
    "model_not_found": ModelNotFoundError,
    "context_length_exceeded": BadRequestError,
    "invalid_prompt": BadRequestError,
    "insufficient_quota": RateLimitedError,
    "rate_limit_exceeded": RateLimitedError,
    "server_overloaded": OverloadedError,
    "service_unavailable": OverloadedError,
    "server_error": ProviderError,
    "timeout": ModelTimeoutError,
    # Google
    "invalid_argument": BadRequestError,
    "failed_precondition": BadRequestError,
    "out_of_range": BadRequestError,
    "unauthenticated": AuthenticationError,
    "permission_denied": PermissionDeniedError,
    "not_found": ModelNotFoundError,
    "resource_exhausted": RateLimitedError,
    "unavailable": OverloadedError,
    "deadline_exceeded": ModelTimeoutError,
    "internal": ProviderError,
    # Amazon
    "validationexception": BadRequestError,
    "unrecognizedclientexception": AuthenticationError,
    "accessdeniedexception": PermissionDeniedError,
    "resourcenotfoundexception": ModelNotFoundError,
    "throttlingexception": RateLimitedError,
    "servicequotaexceededexception": RateLimitedError,
    "serviceunavailableexception": OverloadedError,
    "modelnotreadyexception": OverloadedError,
    "modeltimeoutexception": ModelTimeoutError,
    "internalserverexception": ProviderError,
    "modelstreamerrorexception": ProviderError,
    "modelerrorexception": ProviderError,
}


def fault_class(status: int | None, *names: object) -> Fault:
    """Give the class of an error with this HTTP status and these names of the provider's (types, codes).

    An error status decides; without one (inside a stream) the first known name does.
    """
    if status is not None and status >= 400:
        found = _OF_STATUS.get(status)
        return found or (ProviderError if status >= 500 or status == 409 else BadRequestError)
    for name in names:
        found = _OF_NAME.get(str(name).lower())
        if found is not None:
            return found
        if isinstance(name, int) or str(name).isdigit():
            return fault_class(int(cast("int", name)))
    return ProviderError


def reported_fault(
    who: str,
    body: Any,
    *,
    provider: str,
    model: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> LLMError:
    """Give the error for what a provider reported: `body` is its `{"error": {...}}`, or what is in there."""
    details: dict[str, Any] = cast("dict[str, Any]", body) if isinstance(body, dict) else {"message": body}
    if isinstance(details.get("error"), dict):
        details = cast("dict[str, Any]", details["error"])
    kind, code = details.get("type"), details.get("code")
    # Google puts its name into `status`, and the HTTP status into `code`.
    name = details.get("status") or code or kind
    fault = fault_class(status, code, details.get("status"), kind)
    words: Any = details.get("message") or details.get("error") or cast("Any", body) or "no further words"
    text = str(words)[:_SHOWN_CHARACTERS]
    told = f" (status {status})" if status else ""
    return fault(
        f"{who} reported an error{told}: {text}" + (f" [{name}]" if name else ""),
        provider=provider,
        model=model,
        status_code=status,
        code=None if name is None else str(name),
        request_id=request_id or request_id_of(headers or {}),
        retry_after_s=retry_after_s(headers or {}),
    )


def sdk_fault(who: str, error: Exception, *, provider: str, model: str) -> LLMError | None:
    """Give the error for what an SDK of OpenAI's or Anthropic's family, or `httpx2` below it, threw; None: unknown."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    if response is not None and isinstance(status, int):
        # A status of 200 is that of the stream in which the error came.
        return reported_fault(
            who,
            getattr(error, "body", None) or str(error),
            provider=provider,
            model=model,
            status=status if status >= 400 else None,
            headers=response.headers,
            request_id=getattr(error, "request_id", None),
        )
    if "Timeout" in kind:
        return ModelTimeoutError(
            f"{who} said nothing for too long ({kind}: {error}). `timeout=` sets how many seconds it may take.",
            provider=provider,
            model=model,
        )
    is_transport = any(base.__name__ in ("TransportError", "APIConnectionError") for base in type(error).__mro__)
    if is_transport or isinstance(error, ConnectionError):
        return ConnectionLostError(
            f"The connection to {who} could not be made, or broke ({kind}: {error or 'no further words'}).",
            provider=provider,
            model=model,
        )
    return None


@contextmanager
def told_as_faults(
    fault_of: Callable[[Exception], LLMError | None], request_id: Callable[[], str | None]
) -> Generator[None]:
    """Raise what goes wrong inside of the block as the error of our tree that it is, with the request's name.

    What breaks a stream does not know whose it was, so `request_id` gives the name that was read before.
    """
    try:
        yield
    except LLMError:
        raise
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        fault.request_id = fault.request_id or request_id()
        raise fault from error


def in_short(text: object) -> str:
    """Give a text on one line, or the beginning of it, as errors quote it."""
    words = " ".join(str(text).split())
    return words if len(words) <= _QUOTED_CHARACTERS else f"{words[:_QUOTED_CHARACTERS]}..."


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Give the provider's name of the request, if the headers of its response have one."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Give how many seconds the provider wants us to wait, if it says so."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            return float(value) * unit_s
        with suppress(ValueError):
            # The other form that HTTP allows.
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
