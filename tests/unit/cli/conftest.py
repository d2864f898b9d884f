"""A model server of one answer on a loopback port, and an environment without the developer's own keys."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from miniagents.cli.local_servers import Address


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


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    """Where answers are remembered, if the environment of the test names it as XDG_STATE_HOME."""
    return tmp_path / "state"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, state_folder: Path) -> dict[str, str]:
    """The environment of a user who has set nothing up, for this process (changes are undone) and for others."""
    for name in list(os.environ):
        if name == "CI" or name.startswith(("OPENAI_", "ANTHROPIC_", "OLLAMA_", "MINIAGENTS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(state_folder))
    # What runs on the machine of the developer must not change the outcome of a test.
    monkeypatch.setenv("MINIAGENTS_OFFLINE", "1")
    # The package is found from here, also by a process that is started in another folder.
    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    return dict(os.environ)
