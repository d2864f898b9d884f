"""How google-genai is talked to: its clients, and its streams, made readable and closed when nobody wants the rest."""

import importlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from pydantic_core import from_json

from miniagents.ext.llms._adapters.clients import ClientPool
from miniagents.ext.llms._adapters.sse import SSEDecoder

KEY_VARIABLES: Final = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
_VARIABLES: Final = (
    *KEY_VARIABLES, "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GENAI_API_VERSION", "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_VERTEX_BASE_URL",
)  # fmt: skip
# The SDK waits for ever by default.
_TIMEOUT_MS: Final = 600_000


class _Opened:
    """What one request has opened: responses, more than one where the SDK goes on by itself."""

    def __init__(self) -> None:
        self.responses: list[Any] = []
        self.is_closing = False


_opened: ContextVar[_Opened | None] = ContextVar("what the running request has opened", default=None)


class _Closing(BaseException):
    """Ends the SDK's generators from within; it stops at no `except Exception`."""


class NotGeminiError(Exception):
    """Not what Gemini sends."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data.decode(errors="replace"))


class ErrorInsideError(Exception):
    """An error in place of the rest of the answer."""

    def __init__(self, body: Any) -> None:
        super().__init__(str(body))
        self.body = body


async def responses_of(models: Any, arguments: dict[str, Any], *, stream: bool) -> AsyncGenerator[Any, None]:
    """Send the request and yield the SDK's responses; the connection is closed when this generator is."""
    if not stream:
        yield await models.generate_content(**arguments)
        return
    opened = _Opened()
    responses = await models.generate_content_stream(**arguments)
    try:
        while True:
            token = _opened.set(opened)
            try:
                response = await anext(responses)
            except StopAsyncIteration:
                return
            finally:
                _opened.reset(token)
            yield response
    finally:
        await _close(responses, opened)


async def _close(responses: AsyncGenerator[Any, None], opened: _Opened) -> None:
    """Close the connection now.

    The SDK's generators stand one in the other, and only the outermost can be closed from here. The others would be
    closed at some later time, by tasks that nobody owns; so they are ended by the innermost, which is ours.
    """
    opened.is_closing = True
    for response in opened.responses:
        await response.aclose()
    if opened.responses:
        with suppress(Exception, _Closing):
            await anext(responses)
    await responses.aclose()


async def _take_over(response: Any) -> None:
    """Note the response, and let the SDK see nothing but events that it can read."""
    opened = _opened.get()
    if opened is None or response.status_code != 200:
        return
    opened.responses.append(response)
    response.aiter_bytes = partial(_data_lines, response.aiter_bytes, opened)


async def _data_lines(read: Callable[[], AsyncGenerator[bytes, None]], opened: _Opened) -> AsyncGenerator[bytes, None]:
    """The events of a stream, nothing but their data: the SDK takes comments and names of events for broken JSON.

    A body that is one JSON object counts as one event: some gateways do not stream.
    """
    decoder = SSEDecoder()
    start: bytes | None = b""
    async with aclosing(read()) as chunks:
        async for chunk in chunks:
            start = None if start is None else start + chunk
            for event in decoder.feed(chunk):
                start = None
                yield _data_line(event.data)
                if opened.is_closing:
                    raise _Closing
    for event in decoder.finish():
        # Cut off in the middle of an event is cut off, not unreadable.
        with suppress(NotGeminiError):
            yield _data_line(event.data)
            start = None
    if start and start.strip():
        yield _data_line(start)


def _data_line(data: bytes) -> bytes:
    try:
        found: Any = from_json(data)
    except ValueError:
        raise NotGeminiError(data) from None
    if isinstance(found, dict) and "error" in found:
        raise ErrorInsideError(cast("dict[str, Any]", found))
    return b"data: " + b" ".join(data.splitlines()) + b"\n\n"


@dataclass(frozen=True)
class GeminiAccess:
    """How to get at the models; None for what the environment says."""

    api_key: str | None = field(repr=False)
    base_url: str | None
    vertexai: bool | None
    project: str | None
    location: str | None
    credentials: object

    @property
    def goes_to_vertex(self) -> bool:
        if self.vertexai is not None:
            return self.vertexai
        names = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
        return any(os.environ.get(name, "").lower() in ("true", "1") for name in names)

    def build(self) -> "_OwnedClient":
        """Make a client; blocks, as the SDK is imported and certificates are read."""
        genai = importlib.import_module("google.genai")
        http_client = importlib.import_module("httpx2").AsyncClient(
            timeout=None, follow_redirects=True, event_hooks={"response": [_take_over]}
        )
        options: dict[str, Any] = {"httpx_async_client": http_client, "timeout": _TIMEOUT_MS}
        if self.base_url is not None:
            options["base_url"] = self.base_url
        client = genai.Client(
            vertexai=self.goes_to_vertex,
            api_key=self.api_key,
            project=self.project,
            location=self.location,
            credentials=self.credentials,
            http_options=options,
        )
        return _OwnedClient(client, http_client)


class _OwnedClient:
    """A client of ours, with what is below it."""

    def __init__(self, client: Any, http_client: Any) -> None:
        self.client = client
        self._http_client = http_client

    async def close(self) -> None:
        """Close its connections."""
        await self._http_client.aclose()
        self.client.close()


def _build_client(access: GeminiAccess) -> _OwnedClient:
    return access.build()


clients = ClientPool(_build_client, _VARIABLES)
