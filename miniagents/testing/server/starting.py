"""`start_protocol_server()`: the way to a running server."""

import contextlib
from collections.abc import Generator

from miniagents.errors import MissingExtraError
from miniagents.testing.server.control import ProtocolServer


@contextlib.contextmanager
def start_protocol_server(*, port: int = 0, delay_s: float = 0.0, process: bool = False) -> Generator[ProtocolServer]:
    """Serve on the loopback interface until the block is left, from a thread of its own.

    Args:
        port: where to listen; 0 takes a free one.
        delay_s: seconds between two pieces of every stream.
        process: serve from a process of its own, so that its work does not count among that of a client that is
            measured. Replies then cannot hold a `Gate`, functions must be importable ones, and `requests` is a copy
            of what is known when it is read.

    Raises:
        MissingExtraError: uvicorn is not installed.
        OSError: the port is taken.
    """
    try:
        from miniagents.testing.server.local import LocalServer
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in {"uvicorn", "h11"}:
            raise
        raise MissingExtraError(package="uvicorn", extra="testing", purpose="`start_protocol_server()`") from error
    if process:
        from miniagents.testing.server.process import ServerProcess

        server = ServerProcess(port=port, delay_s=delay_s)
    else:
        server = LocalServer(port, delay_s=delay_s)
        server.start()
    try:
        yield server
    finally:
        server.stop()
