"""The answers of Claude on Bedrock: frames of Amazon's binary event stream, decoded by Anthropic's SDK."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from pydantic_core import to_json

from miniagents.ext.llms._adapters.answers import HTTPResponse, RawResponse
from miniagents.ext.llms._common.faults import sdk_fault
from miniagents.ext.llms.errors import ProviderError

_AMAZON_STREAM: Final = "application/vnd.amazon.eventstream"


def readable(response: RawResponse, *, who: str, provider: str, model: str) -> RawResponse:
    """Give a response whose body is server-sent events if it is Amazon's stream, else the response itself."""
    content_type = response.http_response.headers.get("content-type", "")
    if not content_type.startswith(_AMAZON_STREAM):
        return response
    return _DecodedByTheSDK(response, who=who, provider=provider, model=model)


class _DecodedByTheSDK:
    """A response whose binary body is given as server-sent events; plays the parts of both response classes."""

    def __init__(self, response: RawResponse, *, who: str, provider: str, model: str) -> None:
        self._response: Any = response
        self._who = who
        self._provider = provider
        self._model = model
        self.headers: Mapping[str, str] = {**response.http_response.headers, "content-type": "text/event-stream"}

    @property
    def http_response(self) -> HTTPResponse:
        """This object."""
        return self

    @property
    def is_closed(self) -> bool:
        """Whether it was read to its end, or is not to be read any further."""
        return self._response.http_response.is_closed

    async def aread(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.aiter_bytes()])

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Each event as it arrives."""
        try:
            stream: Any = await self._response.parse()
            async for event in stream:
                # Kinds that the SDK does not know come out as they came in, which it would warn of.
                yield b"data: " + to_json(event.to_dict(mode="json", warnings=False)) + b"\n\n"
        except Exception as error:
            fault = sdk_fault(self._who, error, provider=self._provider, model=self._model)
            raise fault or ProviderError(
                f"{self._who} sent something that is no event stream of Amazon's ({type(error).__name__}: {error}).",
                provider=self._provider,
                model=self._model,
            ) from error
