"""HTTP for the server: uvicorn's HTTP/1.1 connections, on an event loop in a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

# As many connections may come at one moment, or while the process is not given the processor. What does not fit in is
# dropped: the client's system tries again after a second and more, and may have its connection reset in the end.
_BACKLOG = 2048

Serve = Callable[[Any, Any, Any, asyncio.Transport], Awaitable[None]]


class _Connection(H11Protocol):
    """Gives the application the transport as well, so that it can break the connection in all the ways there are."""

    serve: Serve

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        serve = self.serve

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await serve(scope, receive, send, transport)

        self.app = application


def reset_connection(transport: asyncio.Transport) -> None:
    """End a connection with a reset instead of a regular end."""
    # On, zero seconds: closing throws away what is not sent and tells the other side at once.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class HTTPServer:
    """Listens on the loopback interface from `start()` to `stop()`."""

    def __init__(self, listener: socket.socket, serve: Serve) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        config = uvicorn.Config(
            _no_application, lifespan="off", loop="asyncio", http="h11", ws="none", log_config=None,
            log_level="critical", proxy_headers=False, server_header=False, date_header=False, timeout_keep_alive=75,
        )  # fmt: skip
        config.load()
        self._state = ServerState()
        connection = type("_ServingConnection", (_Connection,), {"serve": staticmethod(serve)})
        self._connection = partial(connection, config=config, server_state=self._state, app_state={})
        self._loop = asyncio.new_event_loop()
        self._accepting: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="protocol-server", daemon=True)

    def start(self) -> None:
        """Accept connections; returns when it does."""
        self._thread.start()
        self._call(self._listen(self._listener))

    def stop(self) -> None:
        """Close everything, also answers that are being given, and end the thread."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def stop_listening(self) -> None:
        """Refuse new connections, and break the open ones."""
        self._call(self._end())

    def listen_again(self) -> None:
        """Accept connections on the same port."""
        self._call(self._listen(listen_on(self.port)))

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        future: concurrent.futures.Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(timeout=10)

    async def _listen(self, listener: socket.socket) -> None:
        # It listens anew, with its own, shorter queue unless it is told.
        self._accepting = await self._loop.create_server(
            partial(self._connection, _loop=self._loop), sock=listener, backlog=_BACKLOG
        )

    async def _end(self) -> None:
        if self._accepting:
            self._accepting.close()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self._state.connections):
            transport: asyncio.Transport | None = getattr(connection, "transport", None)
            if transport:
                transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The ends of the transports are reported in the next round of the loop.
        await asyncio.sleep(0)


def listen_on(port: int) -> socket.socket:
    """Return a listening socket on the loopback interface; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=_BACKLOG))
        # Accepted sockets inherit it. asyncio sets it only on sockets whose protocol number is given.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.pop_all()
        return listener


async def _no_application(scope: Any, receive: Any, send: Any) -> None:
    """Stands where uvicorn wants an application; every connection brings its own."""
