"""The SDKs' clients: loaded and built when first needed, one per event loop, key, server and environment."""

import asyncio
import importlib
import os
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from miniagents.ext.llms.errors import MissingSDKError

_SDK_TIMEOUT_S: Final = 600.0
_CONNECT_TIMEOUT_S: Final = 30.0


class ClosableClient(Protocol):
    """What both SDKs' asynchronous clients are."""

    async def close(self) -> None:
        """Close its connections."""
        ...


_Client = TypeVar("_Client", bound=ClosableClient)


class ClientPool(Generic[_Client]):
    """One client per running event loop, since connections cannot be used on another loop than their own.

    Building one (and importing the SDK, which takes up to a second) happens in a thread: other agents go on meanwhile.
    There is one for each set of arguments (such as key and base URL), and it is built anew when one of `variables` has
    changed. A client is closed when its loop ends, by `asyncio.run()` and all that work as it does.
    """

    def __init__(self, build: Callable[..., _Client], variables: tuple[str, ...]) -> None:
        self._build = build
        self._variables = variables
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Slot[_Client]]] = (
            WeakKeyDictionary()
        )

    async def client(self, *arguments: Hashable) -> _Client:
        """The running loop's client for these arguments of `build`.

        An error while building it is raised here, and the next call tries again.
        """
        loop = asyncio.get_running_loop()
        # A client refers to its loop, so that the entry of a loop that ended without ceremony would stay for ever.
        for ended in [known for known in self._by_loop if known.is_closed()]:
            del self._by_loop[ended]
        slots = self._by_loop.setdefault(loop, {})
        key = (arguments, tuple(os.environ.get(name) for name in self._variables))
        slot = slots.get(key)
        if slot is None:
            slot = slots[key] = _Slot(loop.run_in_executor(None, self._build, *arguments))
        try:
            # Shielded: whoever asked first may be cancelled while others wait for the same client.
            client = await asyncio.shield(slot.building)
        except Exception:
            if slots.get(key) is slot:
                del slots[key]
            raise
        await slot.close_with_the_loop(client)
        return client


class _Slot(Generic[_Client]):
    """A client that is being built, or is there."""

    def __init__(self, building: "asyncio.Future[_Client]") -> None:
        self.building = building
        # Else asyncio complains about an error that nobody fetched, when all who asked were cancelled.
        building.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._closer: AsyncGenerator[None, None] | None = None

    async def close_with_the_loop(self, client: _Client) -> None:
        if self._closer is None:
            self._closer = _close_at_loop_shutdown(client)
            # Returns at the first `yield`, without a task switch.
            await anext(self._closer)


async def _close_at_loop_shutdown(client: ClosableClient) -> AsyncGenerator[None, None]:
    # The one hook that asyncio has for the end of a loop: `loop.shutdown_asyncgens()` closes generators left open.
    try:
        yield
    finally:
        await client.close()


def load_sdk(package: str, agent_alias: str) -> Any:
    """Import a provider's SDK.

    Raises:
        MissingSDKError: it is not installed; names the command that installs it.
    """
    try:
        return cast("Any", importlib.import_module(package))
    except ModuleNotFoundError as error:
        if error.name != package:
            # The SDK is there, and something that it needs is not: its own message says what.
            raise
        raise MissingSDKError(agent_alias, package) from error


def patient_timeout() -> Any:
    """Give the SDKs' own timeout, but for connecting: where many begin at once on a busy loop, 5 s are not enough."""
    return importlib.import_module("httpx2").Timeout(_SDK_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
