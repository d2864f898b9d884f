from collections.abc import Iterator

import pytest

from miniagents.testing.server import ProtocolServer, start_protocol_server


@pytest.fixture(scope="session")
def running_server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as server:
        yield server


@pytest.fixture
def server(running_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    """The protocol server, with nothing scripted; the environment points both SDKs at it."""
    for name, value in running_server.environment.items():
        monkeypatch.setenv(name, value)
    running_server.reset()
    yield running_server
    running_server.open_gates()
