"""Claude as Google Vertex and Amazon Bedrock serve it: other URLs and errors, Bedrock also another stream."""

import base64
from typing import Any

from typing_extensions import override

from miniagents.testing.server import google_errors
from miniagents.testing.server._amazon import error_body, error_headers, event_message, exception_message
from miniagents.testing.server._rendering import JSON, dumps
from miniagents.testing.server.anthropic import Anthropic, MessageRendering, refusal_of_dialog
from miniagents.testing.server.parts import BadJSON, ErrorInside, Event, KeepAlive, Ping, Raw, Said
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Failure


class VertexClaude(Anthropic):
    """`:rawPredict` and `:streamRawPredict` below `publishers/anthropic`."""

    name = "vertex-anthropic"

    @override
    def error_body(self, failure: Failure) -> JSON:
        # What is wrong with the messages is said by the model's own server, all else by Google.
        own = failure.status in {400, 413, 422, 529}
        return super().error_body(failure) if own else google_errors.error_body(failure)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        if "anthropic_version" not in request.body:
            return Failure(400, "anthropic_version: Field required")
        return refusal_of_dialog(request.body)


class BedrockMessageRendering(MessageRendering):
    """The events of a message, each in a frame of Amazon's event stream."""

    @override
    def event(self, kind: str, **data: Any) -> bytes:
        metrics = {"amazon-bedrock-invocationMetrics": {"invocationLatency": 1}} if kind == "message_stop" else {}
        return _framed(dumps({"type": kind, **data, **metrics}))

    @override
    def start(self) -> list[bytes]:
        # Bedrock sends no `ping`.
        return super().start()[:1]

    @override
    def render(self, part: Said) -> list[bytes]:
        if not isinstance(part, str):
            return super().render(part)
        # A token is in Base64 and under a checksum here, so it cannot be filled into a rendered event.
        return [*self.open_block("text", text=""), self.delta("text_delta", text=part)]

    @override
    def error(self, error: ErrorInside) -> bytes:
        return exception_message(error)

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw):
            return part.data
        if isinstance(part, KeepAlive | Ping):
            return b""
        return _framed(part.data.encode()) if isinstance(part, BadJSON) else super().event_of(part)


def _framed(data: bytes) -> bytes:
    return event_message("chunk", {"bytes": base64.b64encode(data).decode()})


class BedrockClaude(Anthropic):
    """`invoke` and `invoke-with-response-stream` of Bedrock, for Claude."""

    name = "bedrock-anthropic"
    stream_type = "application/vnd.amazon.eventstream"
    rendering = BedrockMessageRendering

    @override
    def error_body(self, failure: Failure) -> JSON:
        return error_body(failure)

    @override
    def error_headers(self, failure: Failure) -> dict[str, str]:
        return error_headers(failure)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        if "anthropic_version" not in request.body:
            return Failure(400, "anthropic_version: Field required")
        return refusal_of_dialog(request.body)
