"""Requests in every protocol, for tests that speak HTTP without an SDK."""

import json
import socket
from typing import Any

import httpx2
import pytest

from miniagents.testing import ProtocolServer

MESSAGES = [{"role": "user", "content": "Hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
CLAUDE = {"max_tokens": 9, "messages": MESSAGES}
GOOGLE = "/v1/projects/p/locations/r/publishers"

# (path, body of a request that streams) of every protocol.
STREAMED = {
    "chat": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "stream": True}),
    "responses": ("/v1/responses", {"model": "m", "input": "Hi", "stream": True}),
    "anthropic": ("/v1/messages", {"model": "m", **CLAUDE, "stream": True}),
    "vertex": (f"{GOOGLE}/anthropic/models/m:streamRawPredict", {"anthropic_version": "vertex", **CLAUDE}),
    "bedrock": ("/model/m/invoke-with-response-stream", {"anthropic_version": "bedrock", **CLAUDE}),
    "gemini": ("/v1beta/models/m:streamGenerateContent?alt=sse", {"contents": CONTENTS}),
    "converse": ("/model/m/converse-stream", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
}
HEADERS = {"authorization": "Bearer any", "anthropic-version": "2023-06-01"}
EVERY_PROTOCOL = pytest.mark.parametrize("protocol", STREAMED)
IN_SERVER_SENT_EVENTS = pytest.mark.parametrize(
    "protocol", [name for name in STREAMED if name not in {"bedrock", "converse"}]
)


def ask(http: httpx2.Client, protocol: str, **options: Any) -> httpx2.Response:
    path, body = STREAMED[protocol]
    return http.post(path, json=body, **options)


def read_until_broken(http: httpx2.Client, protocol: str) -> tuple[bytes, Exception | None]:
    """What arrived of a stream, and the error that ended it."""
    path, body = STREAMED[protocol]
    arrived = b""
    try:
        with http.stream("POST", path, json=body) as response:
            for piece in response.iter_raw():
                arrived += piece
    except httpx2.HTTPError as error:
        return arrived, error
    return arrived, None


def talk_by_hand(server: ProtocolServer, protocol: str) -> bytes:
    """Everything that comes back until the server closes the connection."""
    path, body = STREAMED[protocol]
    encoded = json.dumps(body).encode()
    headers = {**HEADERS, "host": "x", "connection": "close", "content-length": str(len(encoded))}
    head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(head.encode() + encoded)
        return b"".join(iter(lambda: connection.recv(65536), b""))
