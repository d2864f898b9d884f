"""A web server whose start-up hook activates the context serves agents from its request handlers, and ends cleanly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import NoActiveContextError


class Served:
    """What the handlers and agents of one server leave behind."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.mini_agents = MiniAgents()
        self.finished: list[str] = []
        self.stopped = asyncio.Event()


@miniagent
async def echo(ctx: InteractionContext) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


@miniagent
async def streaming(ctx: InteractionContext, served: Served) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "first "
        await served.release.wait()
        yield "second"

    ctx.reply(Message.promise(message_token_streamer=tokens))


@miniagent
async def background(ctx: InteractionContext, served: Served) -> None:
    try:
        await served.release.wait()
        served.finished.append("background")
    except asyncio.CancelledError:
        served.stopped.set()
        raise


@miniagent
async def failing(ctx: InteractionContext) -> None:
    raise ValueError("broken")


def application(served: Served) -> Starlette:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(await echo.inquire((await request.body()).decode()).as_single_promise()))

    async def stream(request: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            async for message_promise in streaming.inquire(served=served):
                async for token in message_promise:
                    yield token

        return StreamingResponse(body())

    async def stream_until_the_client_leaves(request: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            async with background.inquire(served=served) as replies:
                yield "begun"
                await replies

        return StreamingResponse(body())

    async def fire(request: Request) -> PlainTextResponse:
        background.kick_off(served=served)
        return PlainTextResponse("fired")

    async def fail(request: Request) -> PlainTextResponse:
        try:
            await failing.inquire()
        except ValueError as error:
            return PlainTextResponse(str(error), status_code=500)
        return PlainTextResponse("no error")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        served.mini_agents.activate()
        yield
        await served.mini_agents.afinalize()

    routes = [
        Route("/answer", answer, methods=["POST"]),
        Route("/stream", stream),
        Route("/leave", stream_until_the_client_leaves),
        Route("/fire", fire),
        Route("/fail", fail),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class Server(uvicorn.Server):
    """Tells when it listens, and leaves the signals of the process alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Running:
    """A server on the loopback interface, and a client of it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        config = uvicorn.Config(application(served), host="127.0.0.1", port=0, log_level="warning", ws="none")
        self.server = Server(config)
        self.client = httpx2.AsyncClient()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.server.serve())
        await self.server.listens.wait()
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client.base_url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        await self.client.aclose()
        self.server.should_exit = True
        assert self._task is not None
        await self._task


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running(Served())
    await running.start()
    try:
        yield running
    finally:
        running.served.release.set()
        await running.stop()


pytestmark = pytest.mark.allow_blocking("the server and the client of the test open sockets and files of their own")


async def test_a_request_handler_calls_an_agent(running: Running) -> None:
    answer = await running.client.post("/answer", content="hi")

    assert (answer.status_code, answer.text) == (200, "Echo: hi")


async def test_many_requests_at_the_same_time_do_not_mix(running: Running) -> None:
    answers = await asyncio.gather(*(running.client.post("/answer", content=str(number)) for number in range(20)))

    assert [answer.text for answer in answers] == [f"Echo: {number}" for number in range(20)]


async def test_tokens_reach_the_client_while_the_agent_goes_on(running: Running) -> None:
    async with running.client.stream("GET", "/stream") as response:
        chunks = response.aiter_text()
        assert await anext(chunks) == "first "

        running.served.release.set()

        assert [chunk async for chunk in chunks] == ["second"]


async def test_a_client_that_leaves_stops_the_agent_that_worked_for_it(running: Running) -> None:
    async with running.client.stream("GET", "/leave") as response:
        assert await anext(response.aiter_text()) == "begun"
        assert not running.served.stopped.is_set()

    await running.served.stopped.wait()
    assert running.served.finished == []


async def test_an_error_of_an_agent_is_the_handlers_to_treat(running: Running) -> None:
    answer = await running.client.get("/fail")

    assert (answer.status_code, answer.text) == (500, "broken")


async def test_what_a_request_fired_goes_on_after_the_answer_and_is_awaited_at_the_end() -> None:
    running = Running(Served())
    await running.start()
    assert (await running.client.get("/fire")).text == "fired"
    assert running.served.finished == []

    stopping = asyncio.create_task(running.stop())
    await asyncio.sleep(0)
    running.served.release.set()
    await stopping

    assert running.served.finished == ["background"]
    assert not running.served.stopped.is_set()
    assert not running.served.mini_agents.is_active


async def test_after_the_end_there_is_no_context_any_more() -> None:
    running = Running(Served())
    await running.start()
    await running.stop()

    with pytest.raises(NoActiveContextError):
        echo.inquire("late")


async def test_a_second_server_may_follow_the_first() -> None:
    for _ in range(2):
        running = Running(Served())
        await running.start()
        assert (await running.client.post("/answer", content="hi")).text == "Echo: hi"
        await running.stop()


async def test_two_servers_may_run_on_one_loop(running: Running) -> None:
    other = Running(Served())
    await other.start()
    try:
        assert (await other.client.post("/answer", content="other")).text == "Echo: other"
        assert (await running.client.post("/answer", content="first")).text == "Echo: first"
    finally:
        await other.stop()

    assert (await running.client.post("/answer", content="first again")).text == "Echo: first again"
