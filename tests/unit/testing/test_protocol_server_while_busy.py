"""A server that is not given the processor for a while: nobody who connects meanwhile is lost, and it catches up."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from miniagents.testing import Answer, Endless, ProtocolServer, start_protocol_server
from tests.unit.testing.wire_requests import HEADERS, STREAMED, ask

# More than asyncio's own queue of a hundred, and less than any system allows.
BURST = 120
LONGEST_CONNECTING_S = 2.5


@contextmanager
def held_up(server: ProtocolServer) -> Iterator[None]:
    """Inside of the block the server's event loop does nothing."""
    is_held, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> str:
        is_held.set()
        assert go_on.wait(20)
        return "Later."

    server.script(hold)
    with ThreadPoolExecutor(1) as thread, httpx2.Client(base_url=server.url, headers=HEADERS, timeout=20) as client:
        asking = thread.submit(ask, client, "chat")
        assert is_held.wait(20)
        try:
            yield
        finally:
            go_on.set()
            assert "Later." in asking.result(20).text


def test_a_burst_of_connections_waits_for_a_server_that_is_busy(server: ProtocolServer):
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))

    with ExitStack() as connections, held_up(server):
        for _ in range(BURST):
            # What the system's queue has no place for gets no answer.
            connections.enter_context(socket.create_connection(address, timeout=LONGEST_CONNECTING_S))


def test_the_ends_of_requests_can_be_waited_for_as_the_server_learns_of_them_later(
    server: ProtocolServer, http: httpx2.Client
):
    path, body = STREAMED["chat"]
    server.script(Answer(["Hi", Endless()]))

    with ExitStack() as reading:
        response = reading.enter_context(http.stream("POST", path, json=body))
        pieces = response.iter_raw()
        assert next(pieces)
        with held_up(server):
            reading.close()
            http.close()

            assert server.requests[0].how_ended is None
            with pytest.raises(TimeoutError, match=r"2 of 2 .* in 0 s, .* `POST /v1/chat/completions`: close its"):
                server.wait_for_ends(timeout_s=0)
    server.wait_for_ends()

    assert [request.how_ended for request in server.requests] == ["closed by the client", "complete"]


def test_the_ends_of_requests_can_be_waited_for_across_processes():
    path, body = STREAMED["chat"]
    with start_protocol_server(process=True) as server:
        server.script(Answer(["Hi", Endless()]))

        with httpx2.Client(base_url=server.url, headers=HEADERS, timeout=20) as client:
            with client.stream("POST", path, json=body) as response:
                pieces = response.iter_raw()
                assert next(pieces)
                with pytest.raises(TimeoutError, match="1 of 1 requests have not ended"):
                    server.wait_for_ends(timeout_s=0)
        server.wait_for_ends()

        assert [request.how_ended for request in server.requests] == ["closed by the client"]
