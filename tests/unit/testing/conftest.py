from collections.abc import Iterator

import httpx2
import pytest

from miniagents.testing import ProtocolServer, start_protocol_server
from tests.unit.testing.wire_requests import HEADERS


@pytest.fixture(scope="session")
def running_server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as server:
        yield server


@pytest.fixture
def server(running_server: ProtocolServer) -> Iterator[ProtocolServer]:
    """The protocol server, with nothing scripted."""
    running_server.reset()
    yield running_server
    running_server.open_gates()


@pytest.fixture
def http(server: ProtocolServer):
    with httpx2.Client(base_url=server.url, headers=HEADERS, timeout=20) as client:
        yield client
