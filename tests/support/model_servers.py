"""A model server of one answer on a loopback port."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from miniagents.ext.llms.local_servers import Address


@dataclass
class FakeServer:
    address: Address
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def model_server() -> Iterator[Callable[..., FakeServer]]:
    """Starts servers that answer every GET alike; they end with the test."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(models: list[str] | None = None, *, body: bytes | None = None, status: int = 200) -> FakeServer:
        answer = body
        if answer is None:
            answer = json.dumps({"object": "list", "data": [{"id": model} for model in models or []]}).encode()
        requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/v1/models")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return FakeServer(Address("Ollama", "127.0.0.1", server.server_port), requests)

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()
