"""The server in a process of its own: what a test tells it goes through a pipe, pickled."""

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any, cast

from typing_extensions import override

from miniagents.testing.server.control import ProtocolServer
from miniagents.testing.server.local import LocalServer
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Reply


class ServerProcess(ProtocolServer):
    """The server as seen from the process that started it."""

    def __init__(self, *, port: int, delay_s: float) -> None:
        command = [sys.executable, "-m", "miniagents.testing.server", "--controlled"]
        # The child must be able to import the functions that a script names.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._child = subprocess.Popen(
            [*command, "--port", str(port), "--delay", str(delay_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        try:
            super().__init__(cast(int, self._received()))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        # The end of its input tells it to end.
        self._child.stdin.close()
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def _told(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            message = pickle.dumps((name, arguments, keywords))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise TypeError(
                f"`{name}()` of a server in a process of its own takes only what can be pickled: no `Gate`, no lambda, "
                "no function that is defined inside of another one. Define functions at the top of a module, or start "
                "the server without `process=True`."
            ) from error
        assert self._child.stdin is not None
        _write(self._child.stdin, message)
        return self._received()

    def _received(self) -> Any:
        assert self._child.stdout is not None
        message = _read(self._child.stdout)
        if message is None:
            raise RuntimeError(f"the process of the protocol server has ended with exit code {self._child.wait()}")
        worked, value = pickle.loads(message)
        if not worked:
            raise value
        return value

    @property
    @override
    def requests(self) -> list[RecordedRequest]:
        """Every request so far."""
        return self._told("requests")

    @property
    @override
    def errors(self) -> list[Exception]:
        """What went wrong with the script itself."""
        return self._told("errors")

    @override
    def script(self, *replies: Reply, key: str | None = None) -> None:
        self._told("script", *replies, key=key)

    @override
    def answer_with(self, reply: Reply) -> None:
        self._told("answer_with", reply)

    @override
    def key_by(self, function: Callable[[RecordedRequest], str]) -> None:
        self._told("key_by", function)

    @override
    def reset(self) -> None:
        self._told("reset")

    @override
    def open_gates(self) -> None:
        self._told("open_gates")

    @override
    def wait_for_ends(self, *, timeout_s: float = 30.0) -> None:
        self._told("wait_for_ends", timeout_s=timeout_s)

    @override
    def stop_listening(self) -> None:
        self._told("stop_listening")

    @override
    def listen_again(self) -> None:
        self._told("listen_again")


def obey(port: int, delay_s: float) -> None:
    """Be the process: serve, and do what arrives on the standard input, until that ends."""
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    # What a function of the script prints must not get between the answers.
    sys.stdout = sys.stderr
    try:
        server = LocalServer(port, delay_s=delay_s)
    except OSError as error:
        _write(answers, pickle.dumps((False, error)))
        return
    server.start()
    _write(answers, pickle.dumps((True, int(server.url.rpartition(":")[2]))))
    while (message := _read(orders)) is not None:
        _write(answers, _obeyed(server, message))
    server.stop()


def _obeyed(server: LocalServer, message: bytes) -> bytes:
    try:
        name, arguments, keywords = pickle.loads(message)
        found = getattr(server, name)
        return pickle.dumps((True, found(*arguments, **keywords) if callable(found) else found))
    except TimeoutError as error:
        return pickle.dumps((False, error))
    except Exception as error:  # noqa: BLE001 - it is for the other process to raise
        return pickle.dumps((False, RuntimeError(f"the process of the protocol server says: {error!r}")))


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(struct.pack(">Q", len(message)) + message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """The next message, `None` when there will be none."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    return pipe.read(struct.unpack(">Q", head)[0])
