"""What counts as a model server on this machine, and what is never connected to."""

import asyncio

import pytest

from miniagents.ext.llms.local_servers import (
    Address,
    NotOnThisMachineError,
    address_of_url,
    find_local_servers,
    likely_addresses,
    loopback_host,
    probing_is_off,
)
from tests.support.model_servers import model_server

__all__ = ["model_server"]


async def test_a_server_that_lists_its_models_is_found_with_their_names(model_server) -> None:
    server = model_server(["llama3:8b", "nomic-embed-text"])

    [found] = await find_local_servers([server.address])

    assert found.address == server.address
    assert found.models == ("llama3:8b", "nomic-embed-text")
    assert server.requests == ["/v1/models"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"body": b"<html>hello</html>"}, id="not JSON"),
        pytest.param({"body": b"[1, 2]"}, id="a list instead of an object"),
        pytest.param({"body": b'{"models": []}'}, id="no data"),
        pytest.param({"body": b'{"data": "none"}'}, id="data that is no list"),
        pytest.param({"body": b"\xff\xfe"}, id="not text"),
        pytest.param({"models": ["gpt"], "status": 404}, id="another status"),
        pytest.param({"models": ["gpt"], "status": 302}, id="a redirect"),
    ],
)
async def test_whatever_does_not_speak_the_protocol_is_no_model_server(model_server, answer) -> None:
    server = model_server(**answer)

    assert await find_local_servers([server.address]) == []
    assert len(server.requests) == 1


async def test_a_refused_connection_and_a_server_that_talks_something_else_are_passed_over(model_server) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    model = model_server(["mistral"])
    async with await asyncio.start_server(babble, "127.0.0.1", 0) as mail:
        mail_port = mail.sockets[0].getsockname()[1]
        with_nobody = Address("nobody", "127.0.0.1", 1)

        found = await find_local_servers([with_nobody, Address("mail", "127.0.0.1", mail_port), model.address])

    assert [server.address for server in found] == [model.address]


async def test_a_server_that_accepts_and_never_answers_costs_no_more_than_the_time_allowed(model_server) -> None:
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # returns when the other side hangs up
        left.set()
        writer.close()

    quick = model_server(["mistral"])
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        silent_port = silent.sockets[0].getsockname()[1]
        started = asyncio.get_running_loop().time()

        found = await find_local_servers([Address("silent", "127.0.0.1", silent_port), quick.address], timeout_s=0.2)

        assert asyncio.get_running_loop().time() - started < 2
        async with asyncio.timeout(5):
            await left.wait()
    assert [server.address for server in found] == [quick.address]


async def test_the_answers_come_in_the_order_of_the_addresses(model_server) -> None:
    servers = [model_server([name]) for name in ("a", "b", "c")]

    found = await find_local_servers([server.address for server in servers])

    assert [server.models for server in found] == [("a",), ("b",), ("c",)]


async def test_no_address_means_no_server() -> None:
    assert await find_local_servers([]) == []


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("localhost", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.1.2.3", "127.1.2.3"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::1", "::1"),
        ("192.168.1.7", None),
        ("example.com", None),
        ("localhost.example.com", None),
        ("127.0.0.1.example.com", None),
        ("", None),
    ],
)
def test_only_loopback_is_this_machine(host: str, reached_at: str | None) -> None:
    assert loopback_host(host) == reached_at


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://localhost:1234/v1", "http://127.0.0.1:1234/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:8000/api/", "http://[::1]:8000/api"),
        ("http://localhost", "http://127.0.0.1:80/v1"),
    ],
)
def test_a_url_of_this_machine_names_an_address(url: str, base_url: str) -> None:
    assert address_of_url(url).base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1",
        "https://localhost/v1",
        "http://user@example.com",
        "http://localhost:none",
        "http://[::1",
    ],
)
def test_a_url_of_another_machine_is_refused_with_the_way_to_reach_it(url: str) -> None:
    with pytest.raises(NotOnThisMachineError, match=r"OPENAI_BASE_URL and OPENAI_API_KEY") as refusal:
        address_of_url(url)

    assert repr(url) in str(refusal.value)


def test_the_usual_ports_are_looked_at_in_the_order_of_likelihood() -> None:
    assert [(address.server, address.base_url) for address in likely_addresses({})] == [
        ("Ollama", "http://127.0.0.1:11434/v1"),
        ("LM Studio", "http://127.0.0.1:1234/v1"),
        ("llama.cpp", "http://127.0.0.1:8080/v1"),
        ("vLLM", "http://127.0.0.1:8000/v1"),
    ]


@pytest.mark.parametrize(
    ("setting", "base_url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("127.0.0.1:9999", "http://127.0.0.1:9999/v1"),
        (":9999", "http://127.0.0.1:9999/v1"),
        ("http://localhost:9999", "http://127.0.0.1:9999/v1"),
        ("http://localhost", "http://127.0.0.1:80/v1"),
        ("[::1]:9999", "http://[::1]:9999/v1"),
    ],
)
def test_ollama_is_looked_for_where_its_own_variable_says(setting: str, base_url: str) -> None:
    [ollama] = [address for address in likely_addresses({"OLLAMA_HOST": setting}) if address.server == "Ollama"]

    assert ollama.base_url == base_url


@pytest.mark.parametrize("setting", ["gpu-box:11434", "https://localhost", "192.168.0.2", "127.0.0.1:none"])
def test_an_ollama_on_another_machine_is_not_looked_for(setting: str) -> None:
    assert "Ollama" not in [address.server for address in likely_addresses({"OLLAMA_HOST": setting})]


def test_the_base_url_of_the_environment_comes_first_and_its_port_is_asked_once() -> None:
    addresses = likely_addresses({"OPENAI_BASE_URL": "http://localhost:8000/v1"})

    assert addresses[0].server == "server of OPENAI_BASE_URL"
    assert [address.port for address in addresses] == [8000, 11434, 1234, 8080]


def test_a_base_url_of_another_machine_is_not_looked_at() -> None:
    hosts = {address.host for address in likely_addresses({"OPENAI_BASE_URL": "https://api.example.com/v1"})}

    assert hosts == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, None),
        ({"CI": "true"}, "CI is set"),
        ({"CI": "1"}, "CI is set"),
        ({"CI": "false"}, None),
        ({"CI": ""}, None),
        ({"MINIAGENTS_OFFLINE": "1"}, "MINIAGENTS_OFFLINE is set"),
        ({"MINIAGENTS_OFFLINE": "0"}, None),
    ],
)
def test_ci_and_the_offline_switch_forbid_looking(environ: dict[str, str], reason: str | None) -> None:
    assert probing_is_off(environ) == reason
