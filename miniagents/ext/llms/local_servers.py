"""Model servers on this machine: where they may listen, and which of them answer now.

Only loopback addresses are ever connected to, by number, so that no name server and no proxy takes part; redirects are
not followed.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import parse_headers
from io import BytesIO
from ipaddress import ip_address
from typing import Any, Final, cast
from urllib.parse import urlsplit

from miniagents.errors import MiniAgentsError

_OLLAMA_PORT: Final = 11434
# Ports 8080 and 8000 are often something else: what answers there must speak the protocol to count.
_WELL_KNOWN_PORTS: Final = (("LM Studio", 1234), ("llama.cpp", 8080), ("vLLM", 8000))
_LONGEST_ANSWER_BYTES: Final = 1_000_000
_CI_OFF: Final = frozenset({"", "0", "false", "no", "off"})


class NotOnThisMachineError(MiniAgentsError, ValueError):
    """A URL that should name a model server on this machine names something else."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url!r} is no plain-HTTP address of this machine: give one such as `http://127.0.0.1:8080/v1`. For a "
            "server elsewhere, set OPENAI_BASE_URL and OPENAI_API_KEY and use `openai:MODEL`."
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where an OpenAI-compatible server may listen on this machine; `host` is a loopback address in numbers."""

    server: str
    host: str
    port: int
    path: str = "/v1"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its `base_url`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answered, with the names of the models that it offers (none, perhaps)."""

    address: Address
    models: tuple[str, ...]


def address_of_url(url: str, *, server: str = "server") -> Address:
    """The address that a base URL such as `http://localhost:1234/v1` names (`/v1` is added to a URL without a path).

    Raises:
        NotOnThisMachineError: the URL is not of plain HTTP, or its host is not this machine.
    """
    try:
        parts = urlsplit(url)
        host, port = loopback_host(parts.hostname or ""), parts.port or 80
    except ValueError:
        raise NotOnThisMachineError(url) from None
    if parts.scheme != "http" or host is None:
        raise NotOnThisMachineError(url)
    return Address(server, host, port, parts.path.rstrip("/") or "/v1")


def loopback_host(host: str) -> str | None:
    """The loopback address in numbers that `host` stands for, or `None` if it stands for another machine.

    A server told to listen on all addresses (`0.0.0.0`, `::`) is reached through loopback, too.
    """
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address) if address.is_loopback else None


def probing_is_off(environ: Mapping[str, str]) -> str | None:
    """Why this machine must not be searched for servers (`CI is set`), or `None` if it may be."""
    for name in ("CI", "MINIAGENTS_OFFLINE"):
        if environ.get(name, "").strip().lower() not in _CI_OFF:
            return f"{name} is set"
    return None


def likely_addresses(environ: Mapping[str, str]) -> list[Address]:
    """Where servers may listen, the likeliest first: OPENAI_BASE_URL, Ollama (OLLAMA_HOST), and the usual ports.

    Addresses in the environment that are not of this machine are left out.
    """
    found: list[Address] = []
    base_url = environ.get("OPENAI_BASE_URL", "").strip()
    if base_url:
        # Somebody else's machine is not ours to talk to without a key.
        with suppress(NotOnThisMachineError):
            found.append(address_of_url(base_url, server="server of OPENAI_BASE_URL"))
    ollama = _ollama_address(environ.get("OLLAMA_HOST", "").strip())
    if ollama is not None:
        found.append(ollama)
    found += [Address(server, "127.0.0.1", port) for server, port in _WELL_KNOWN_PORTS]
    # A server named by a variable and by its usual port is one server, under the first name.
    distinct: dict[tuple[str, int], Address] = {}
    for address in found:
        distinct.setdefault((address.host, address.port), address)
    return list(distinct.values())


async def find_local_servers(addresses: Sequence[Address], *, timeout_s: float = 0.25) -> list[LocalServer]:
    """Ask all addresses at once for `GET .../models`; those that answered within `timeout_s`, in the order given.

    An answer counts if its status is 200 and its body a JSON object with a list `data`. Whatever else happens at an
    address (refused, late, another protocol) means that no model server is there; it is never an error.
    """
    tasks = [asyncio.create_task(_ask_for_models(address)) for address in addresses]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, timeout=timeout_s)
    finally:
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, LocalServer)]


async def _ask_for_models(address: Address) -> LocalServer | None:
    try:
        body = await _get(address, f"{address.path}/models")
        answer: Any = json.loads(body)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return None
    models = _field(answer, "data")
    if not isinstance(models, list):
        return None
    names = [_field(model, "id") for model in cast("list[Any]", models)]
    return LocalServer(address, tuple(name for name in names if isinstance(name, str) and name))


def _field(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


async def _get(address: Address, path: str) -> bytes:
    """The body of a 200 answer; `ValueError` for any other.

    By hand instead of with an HTTP client, as a plain install has none that can be cancelled. The request is of HTTP
    1.0, so that no answer comes in chunks.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=_LONGEST_ANSWER_BYTES)
    try:
        host = address.base_url.removeprefix("http://").partition("/")[0]
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode("ascii"))
        status_line, _, headers = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        if status_line.split()[1:2] != [b"200"]:
            raise ValueError(f"{address.base_url} answered {status_line!r}")
        length = parse_headers(BytesIO(headers)).get("Content-Length")
        if length is not None:
            return await reader.readexactly(min(int(length), _LONGEST_ANSWER_BYTES))
        body = bytearray()
        while len(body) < _LONGEST_ANSWER_BYTES and (piece := await reader.read(65_536)):
            body += piece
        return bytes(body)
    finally:
        writer.close()


def _ollama_address(setting: str) -> Address | None:
    """What OLLAMA_HOST says (`host`, `:port`, `host:port` or a URL), as Ollama reads it; its usual place if unset."""
    scheme, separator, rest = setting.partition("://")
    if not separator:
        scheme, rest = "http", setting
    try:
        parts = urlsplit(f"//{rest}")
        host = loopback_host(parts.hostname or "127.0.0.1")
        port = parts.port or (80 if separator else _OLLAMA_PORT)
    except ValueError:
        return None
    return None if host is None or scheme != "http" else Address("Ollama", host, port)
